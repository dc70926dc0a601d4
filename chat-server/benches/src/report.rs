//! Results as text, in Markdown.

use std::fmt::Write as _;

use crate::load::Amiss;
use crate::metric::{self, Better, Metric};
use crate::results::{Results, Run};
use crate::statistics::Spread;

/// What ratios are formed to.
const OURS: &str = "ours-memory";
const OURS_DURABLE: &str = "ours-sqlite";

/// The pictures, and a table for each scenario: servers down, metrics across.
pub(crate) fn markdown(results: &Results, pictures: &[String]) -> String {
    let mut text = String::new();
    let machine = &results.machine;
    writeln!(text, "# Results\n\nGenerated; do not edit. [README](../README.md) says what is measured and how to read it.\n").expect(MEMORY);
    writeln!(
        text,
        "{}, {} cores, {} MB, {}; commit {}; {}. Command: `chat-bench {}`.\n",
        machine.processor,
        machine.cores,
        machine.memory_megabytes,
        machine.system,
        machine.commit,
        machine.versions.values().cloned().collect::<Vec<_>>().join(", "),
        machine.command,
    )
    .expect(MEMORY);
    for picture in pictures {
        writeln!(text, "![{picture}]({picture})\n").expect(MEMORY);
    }
    for scenario in &results.scenarios {
        writeln!(text, "## {}\n\n{}\n", scenario.name, scenario.what).expect(MEMORY);
        text += &table(results, &scenario.name);
        text.push('\n');
    }
    text
}

const MEMORY: &str = "writing to memory does not fail";

fn table(results: &Results, scenario: &str) -> String {
    let metrics: Vec<Metric> =
        metric::ALL.iter().copied().filter(|metric| results.measured(scenario, *metric)).collect();
    let main = results.runs.iter().find(|run| run.scenario == scenario).and_then(|run| run.values.first());
    let main = metrics.iter().copied().find(|metric| main.is_some_and(|(name, _)| name == metric.name));
    let ran = |server: &str| results.of(scenario, server).next().is_some();
    let ours = [OURS, OURS_DURABLE].into_iter().find(|server| ran(server));
    let mut text = "| server |".to_owned();
    for metric in &metrics {
        write!(text, " {}{} |", metric.name, unit(metric)).expect(MEMORY);
    }
    if let (Some(ours), Some(main)) = (ours, main) {
        write!(text, " {} against {ours} |", main.name).expect(MEMORY);
    }
    text += " correctness |\n|---|";
    text += &"---|".repeat(metrics.len() + usize::from(ours.is_some() && main.is_some()) + 1);
    text.push('\n');
    for server in results.servers.iter().filter(|server| ran(&server.name)) {
        write!(text, "| {} |", server.name).expect(MEMORY);
        for metric in &metrics {
            let spread = results.spread(scenario, &server.name, *metric);
            write!(text, " {} |", spread.map_or_else(|| "–".to_owned(), of_spread)).expect(MEMORY);
        }
        if let (Some(ours), Some(main)) = (ours, main) {
            let ratio = results.ratio(scenario, &server.name, ours, main);
            write!(
                text,
                " {} |",
                ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", of_spread(ratio)))
            )
            .expect(MEMORY);
        }
        let amiss = of_amiss(results.amiss(scenario, &server.name));
        let said = results
            .of(scenario, &server.name)
            .filter_map(|run: &Run| run.failed.as_ref().or(run.note.as_ref()))
            .next();
        let said =
            said.map_or_else(String::new, |said| format!("; {}", said.replace('|', "/").replace('\n', " ")));
        writeln!(text, " {amiss}{said} |").expect(MEMORY);
    }
    text
}

fn unit(metric: &Metric) -> String {
    let better = match metric.better {
        Better::Less => "↓",
        Better::More => "↑",
    };
    match metric.unit {
        "" => format!(" {better}"),
        unit => format!(", {unit} {better}"),
    }
}

/// The median, and from where to where the rounds went.
fn of_spread(spread: Spread) -> String {
    match spread.rounds {
        1 => number(spread.median),
        _ => format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most)),
    }
}

/// By three digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = if size < 1.0 {
        3
    } else if size < 10.0 {
        2
    } else if size < 100.0 {
        1
    } else {
        0
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 { thousands(&text) } else { text }
}

fn thousands(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (place, digit) in digits.char_indices() {
        if place != 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn of_amiss(amiss: Amiss) -> String {
    if amiss == Amiss::default() {
        return "all once, in order".to_owned();
    }
    let counts = [
        (amiss.lost, "lost"),
        (amiss.repeated, "repeated"),
        (amiss.reordered, "reordered"),
        (amiss.vanished, "answered but delivered to nobody"),
        (amiss.unanswered, "not answered"),
        (amiss.dropped, "connections dropped"),
    ];
    let counts = counts.into_iter().filter(|&(count, _)| count != 0);
    counts
        .map(|(count, what)| format!("**{} {what}**", thousands(&count.to_string())))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let written: Vec<String> = [0.4567, 3.456, 34.56, 345.6, 3_456_789.0, -1_234.0].map(number).into();
        assert_eq!(written, ["0.457", "3.46", "34.6", "346", "3,456,789", "-1,234"]);
    }

    #[test]
    fn what_is_amiss_is_said() {
        assert_eq!(of_amiss(Amiss::default()), "all once, in order");
        let amiss = Amiss { lost: 1_234, dropped: 1, ..Amiss::default() };
        assert_eq!(of_amiss(amiss), "**1,234 lost**, **1 connections dropped**");
    }
}
