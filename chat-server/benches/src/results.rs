//! What was measured, as it is kept in `results.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::load::Amiss;
use crate::metric::Metric;
use crate::statistics::Spread;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// In the order of the tables.
    pub(crate) scenarios: Vec<ScenarioDone>,
    pub(crate) servers: Vec<ServerDone>,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) memory_megabytes: u64,
    /// Seconds since 1970.
    pub(crate) measured_at: u64,
    pub(crate) commit: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) command: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioDone {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) what: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerDone {
    pub(crate) name: String,
    pub(crate) what: String,
}

/// One scenario with one server in one round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) server: String,
    pub(crate) round: usize,
    /// By the metrics' names. The first is the scenario's main one.
    pub(crate) values: Vec<(String, f64)>,
    pub(crate) amiss: Amiss,
    pub(crate) note: Option<String>,
    /// Why there is nothing else.
    pub(crate) failed: Option<String>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    pub(crate) fn of<'a>(&'a self, scenario: &'a str, server: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.scenario == scenario && run.server == server)
    }

    pub(crate) fn measured(&self, scenario: &str, metric: Metric) -> bool {
        self.runs.iter().any(|run| run.scenario == scenario && run.value(metric).is_some())
    }

    /// By round.
    pub(crate) fn values(&self, scenario: &str, server: &str, metric: Metric) -> Vec<(usize, f64)> {
        self.of(scenario, server).filter_map(|run| Some((run.round, run.value(metric)?))).collect()
    }

    pub(crate) fn spread(&self, scenario: &str, server: &str, metric: Metric) -> Option<Spread> {
        Spread::of(self.values(scenario, server, metric).into_iter().map(|(_, value)| value))
    }

    /// How many times this server's value is that of `other`.
    pub(crate) fn ratio(&self, scenario: &str, server: &str, other: &str, metric: Metric) -> Option<Spread> {
        Spread::of_ratios(&self.values(scenario, server, metric), &self.values(scenario, other, metric))
    }

    /// Of all rounds together.
    pub(crate) fn amiss(&self, scenario: &str, server: &str) -> Amiss {
        let mut amiss = Amiss::default();
        for run in self.of(scenario, server) {
            amiss.add(run.amiss);
        }
        amiss
    }
}

impl Run {
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.values.iter().find(|(name, _)| name == metric.name).map(|&(_, value)| value)
    }
}
