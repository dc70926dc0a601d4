//! Measures chat-server beside other servers, on the same work.
//!
//! Two programs in one: the one that gives the orders (`bench.rs`, `scenarios/`, `report.rs`), and the one that makes load and is a process of
//! its own (`load/`). Nothing that is measured is linked in here.

mod bench;
mod build;
mod clock;
mod load;
mod loader;
mod machine;
mod metric;
mod options;
mod plot;
mod process;
mod report;
mod results;
mod scenarios;
mod server;
mod statistics;

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Result, bail};
use clap::Parser as _;

use bench::{Bench, Outcome, Size};
use options::{Options, Task};
use results::{Results, Run, ScenarioDone, ServerDone};
use scenarios::Scenario;
use server::{Place, SERVERS, Server};

fn main() -> Result<()> {
    let options = Options::parse();
    let out = options.out.clone().unwrap_or_else(|| build::here().join("results"));
    match options.command {
        Some(Task::Load { core }) => {
            if let Some(core) = core {
                process::pin(core)?;
            }
            load::run()
        }
        Some(Task::Report) => write_report(&Results::read(&out.join(RESULTS))?, &out),
        None => measure(&options, &out),
    }
}

const RESULTS: &str = "results.json";

fn measure(options: &Options, out: &Path) -> Result<()> {
    let size = if options.quick { Size::Quick } else { Size::Full };
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let scenarios = chosen_scenarios(options, size)?;
    let servers = chosen_servers(options)?;
    let pairs: Vec<(&dyn Scenario, &Server)> = scenarios
        .iter()
        .flat_map(|scenario| servers.iter().map(move |server| (scenario.as_ref(), *server)))
        .filter(|(scenario, server)| fits(*scenario, server))
        .collect();
    if options.list {
        for (scenario, server) in &pairs {
            println!("{:10} {:30} {}", scenario.group(), scenario.name(), server.name);
        }
        return Ok(());
    }

    let built = build::build(options.peers.clone(), options.no_build)?;
    process::raise_files()?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let core = |core| (1 < cores).then_some(core);
    let data = options.data.clone().unwrap_or_else(|| build::here().join("target"));
    let place = Place {
        ours: options.ours.clone().unwrap_or(built.ours),
        peers: built.peers,
        node: built.node,
        // Of its own, whatever else is measured on this machine.
        data: data.join(format!("chat-bench-{}", std::process::id())),
        core: core(options.server_core),
    };
    let bench = Bench { place, load_core: core(options.load_core), size };
    let (there, missing): (Vec<&Server>, Vec<&Server>) =
        servers.into_iter().partition(|server| bench.place.has(server));
    for server in missing {
        eprintln!("── {} is not there and left out", server.name);
    }
    fs::create_dir_all(out)?;

    let mut results = Results {
        machine: machine::describe(),
        scenarios: scenarios.iter().map(|scenario| describe(scenario.as_ref())).collect(),
        servers: there
            .iter()
            .map(|s| ServerDone { name: s.name.to_owned(), what: s.what.to_owned() })
            .collect(),
        runs: Vec::new(),
    };
    let mut steps = Vec::new();
    // Scenario by scenario, and in each round all servers in turn: what is compared is measured close together.
    for scenario in &scenarios {
        for round in 0..rounds {
            let servers = there.iter().filter(|server| fits(scenario.as_ref(), server));
            steps.extend(servers.map(|server| (scenario.as_ref(), *server, round)));
        }
    }
    let begun = clock::now();
    for (done, &(scenario, server, round)) in steps.iter().enumerate() {
        let passed = clock::seconds(clock::now() - begun);
        let left = if done == 0 {
            String::new()
        } else {
            format!(", about {:.0} min left", passed / done as f64 * (steps.len() - done) as f64 / 60.0)
        };
        eprintln!(
            "── {}/{}: {}, {}, round {}{left}",
            done + 1,
            steps.len(),
            scenario.name(),
            server.name,
            round + 1
        );
        let run = run(&bench, scenario, server, round);
        tell(&run);
        results.runs.push(run);
        // What was measured so far stays, whatever happens.
        results.write(&out.join(RESULTS))?;
    }
    fs::remove_dir_all(&bench.place.data)?;
    write_report(&results, out)
}

fn run(bench: &Bench, scenario: &dyn Scenario, server: &Server, round: usize) -> Run {
    let (outcome, failed) = match scenario.run(bench, server) {
        Ok(outcome) => (outcome, None),
        Err(error) => (Outcome::default(), Some(format!("{error:#}"))),
    };
    Run {
        scenario: scenario.name(),
        server: server.name.to_owned(),
        round,
        values: outcome.values.into_iter().map(|(metric, value)| (metric.name.to_owned(), value)).collect(),
        amiss: outcome.amiss,
        note: outcome.note,
        failed,
    }
}

fn tell(run: &Run) {
    if let Some(failed) = &run.failed {
        eprintln!("   failed: {failed}");
        return;
    }
    let values: Vec<String> = run.values.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    eprintln!("   {}; {}", values.join(", "), report::of_amiss(run.amiss));
    if let Some(note) = &run.note {
        eprintln!("   {note}");
    }
}

/// Who measures by itself measures durable posts only.
fn fits(scenario: &dyn Scenario, server: &Server) -> bool {
    scenario.fits(server) && (!server.measures_itself() || scenario.group() == "durable")
}

fn describe(scenario: &dyn Scenario) -> ScenarioDone {
    ScenarioDone { group: scenario.group().to_owned(), name: scenario.name(), what: scenario.what() }
}

fn write_report(results: &Results, out: &Path) -> Result<()> {
    let pictures = plot::all(results)?;
    for (name, drawn) in &pictures {
        fs::write(out.join(name), drawn)?;
    }
    let names: Vec<String> = pictures.into_iter().map(|(name, _)| name).collect();
    let text = report::markdown(results, &names);
    fs::write(out.join("RESULTS.md"), &text)?;
    println!("{text}");
    Ok(())
}

fn chosen_scenarios(options: &Options, size: Size) -> Result<Vec<Box<dyn Scenario>>> {
    let history_messages = options.history_messages.unwrap_or(match size {
        Size::Quick => 20_000,
        Size::Full => 1_000_000,
    });
    let mut scenarios = scenarios::all(size, history_messages);
    if let Some(wrong) =
        options.only.iter().find(|group| !scenarios.iter().any(|scenario| scenario.group() == **group))
    {
        let mut groups: Vec<_> = scenarios.iter().map(|scenario| scenario.group()).collect();
        groups.dedup();
        bail!("there is no {wrong}; there are {}", groups.join(", "));
    }
    scenarios.retain(|scenario| {
        options.only.is_empty() || options.only.iter().any(|group| group == scenario.group())
    });
    Ok(scenarios)
}

fn chosen_servers(options: &Options) -> Result<Vec<&'static Server>> {
    if let Some(wrong) =
        options.servers.iter().find(|name| !SERVERS.iter().any(|server| server.name == **name))
    {
        let names: Vec<_> = SERVERS.iter().map(|server| server.name).collect();
        bail!("there is no {wrong}; there are {}", names.join(", "));
    }
    let chosen = |server: &&Server| {
        options.servers.is_empty() || options.servers.iter().any(|name| name == server.name)
    };
    Ok(SERVERS.iter().filter(chosen).collect())
}
