//! Where and with what was measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::results::Machine;

pub(crate) fn describe() -> Machine {
    let versions = [
        ("rustc", &["rustc", "--version"][..]),
        ("node", &["node", "--version"]),
        ("redis", &["redis-server", "--version"]),
    ];
    let versions: BTreeMap<String, String> =
        versions.into_iter().map(|(name, command)| (name.to_owned(), said(command))).collect();
    Machine {
        processor: field("/proc/cpuinfo", "model name"),
        cores: thread::available_parallelism().map_or(0, usize::from),
        system: said(&["uname", "-sr"]),
        memory_megabytes: field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0)
            / 1024,
        measured_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        commit: said(&["git", "describe", "--always", "--dirty"]),
        versions,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    }
}

fn said(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.map_or_else(
        |_| "none".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}
