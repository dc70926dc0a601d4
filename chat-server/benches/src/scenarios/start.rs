//! How long a server takes until it can be connected to, how large it is, and what it takes with nobody there.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Scenario;
use crate::bench::{Bench, Outcome, Size};
use crate::metric;
use crate::server::Server;

struct Start;

pub(super) fn scenarios(_size: Size) -> Vec<Box<dyn Scenario>> {
    vec![Box::new(Start)]
}

impl Scenario for Start {
    fn group(&self) -> &'static str {
        "start"
    }

    fn name(&self) -> String {
        "start".to_owned()
    }

    fn what(&self) -> String {
        "From the start of the process, with nothing stored, until it can be connected to.".to_owned()
    }

    fn fits(&self, server: &Server) -> bool {
        server.is_one_of(&[
            "ours-memory",
            "ours-sqlite",
            "socketioxide",
            "socketioxide-sqlite",
            "node",
            "tutorial",
        ])
    }

    fn run(&self, bench: &Bench, server: &Server) -> Result<Outcome> {
        let pair = bench.start(server)?;
        let mut outcome = Outcome::default();
        outcome.value(metric::START, pair.server.start_seconds * 1e3);
        outcome.value(metric::RESIDENT, pair.server.settled_bytes()? as f64 / 1e6);
        if let Some(binary) = bench.place.binary(server) {
            let stripped = bench.place.data.join("stripped");
            let strip = Command::new("strip")
                .arg("-o")
                .arg(&stripped)
                .arg(binary)
                .status()
                .context("strip is not there")?;
            ensure!(strip.success(), "strip ended with {strip}");
            outcome.value(metric::PROGRAM, stripped.metadata()?.len() as f64 / 1e6);
        }
        Ok(outcome)
    }
}
