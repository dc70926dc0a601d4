//! Connections that do nothing, all in one room: what each costs in memory, and how fast they come.

use anyhow::Result;

use super::Scenario;
use crate::bench::{Bench, Outcome, Size};
use crate::metric;
use crate::process;
use crate::server::Server;

/// They pay for what is there once.
const FIRST: usize = 100;
/// What is tried where nothing is said: more than this is not asked of anybody.
const MOST: usize = 100_000;
/// Open files that a load process needs for other things.
const OTHER_FILES: usize = 50;

const SERVERS: &[&str] = &[
    "ours-memory",
    "ours-memory-bare",
    "ours-sqlite",
    "bare-singly",
    "bun",
    "socketioxide",
    "node",
    "node-recovery",
];
/// Who is asked for as many as it takes.
const TO_THE_LIMIT: &[&str] = &["ours-memory", "socketioxide", "node"];

struct Idle {
    /// None: as many as the server takes.
    connections: Option<usize>,
}

pub(super) fn scenarios(size: Size) -> Vec<Box<dyn Scenario>> {
    let counts: &[Option<usize>] = match size {
        Size::Quick => &[Some(1_000)],
        Size::Full => &[Some(1_000), Some(10_000), None],
    };
    counts.iter().map(|&connections| Box::new(Idle { connections }) as Box<dyn Scenario>).collect()
}

impl Scenario for Idle {
    fn group(&self) -> &'static str {
        "idle"
    }

    fn name(&self) -> String {
        format!("idle {}", self.connections.map_or_else(|| "most".to_owned(), |count| count.to_string()))
    }

    fn what(&self) -> String {
        match self.connections {
            Some(count) => format!("{count} idle connections in one room."),
            None => format!("As many idle connections in one room as the server takes, up to {MOST}."),
        }
    }

    fn fits(&self, server: &Server) -> bool {
        match self.connections {
            Some(_) => server.is_one_of(SERVERS),
            None => server.is_one_of(TO_THE_LIMIT),
        }
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let mut pair = bench.start(server)?;
        let mut outcome = Outcome::default();
        pair.connect(pair.connection(1, 1, FIRST))?;
        let before = pair.server.settled_bytes()?;
        let used = pair.server.processor_seconds()?;
        let each = usize::try_from(process::files_max()?)?.saturating_sub(OTHER_FILES);
        let mut left = self.connections.unwrap_or(MOST) - FIRST;
        let (mut come, mut seconds) = (0, 0.0);
        let mut more = Vec::new();
        while 0 < left {
            let wanted = left.min(each);
            let connection = pair.connection(1, 1, wanted);
            let load = match more.is_empty() && left + FIRST <= each {
                true => &mut pair.load,
                false => {
                    more.push(bench.load()?);
                    more.last_mut().expect("just pushed")
                }
            };
            let connected = load.connect(connection)?;
            (come, seconds, left) = (come + connected.clients, seconds + connected.seconds, left - wanted);
            if let Some(why) = connected.stopped {
                outcome.note = Some(format!(
                    "{} connections, then: {why} (open files of a process: {})",
                    FIRST + come,
                    process::files_max()?
                ));
                break;
            }
        }
        let connecting = pair.server.processor_seconds()? - used;
        let after = pair.server.settled_bytes()?;
        outcome.amiss = pair.load.check()?;
        outcome.value(metric::CONNECTION_BYTES, (after as f64 - before as f64) / come as f64);
        outcome.value(metric::CONNECTIONS, (FIRST + come) as f64);
        outcome.value(metric::CONNECTS, come as f64 / seconds);
        outcome.value(metric::SERVER_PER_CONNECT, connecting * 1e6 / come as f64);
        Ok(outcome)
    }
}
