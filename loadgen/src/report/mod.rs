//! Reports: every single run, the machine it ran on, and tables, files and comparisons made of them.
//!
//! The JSON holds the runs as they were, never only their medians, so that a report can be made of it
//! again. `schema` changes when a field is removed or changes its meaning; new fields do not change it,
//! and have a default for files that are older.
//!
//! The figures of [`figure`] are what is shown, compared and exported: a new scenario says its own
//! there.

mod csv;
mod diff;
mod environment;
mod figure;
mod files;
mod group;
mod hgrm;
mod html;
mod judgement;
mod markdown;
mod quantity;
mod read;
mod run;
#[cfg(test)]
mod sample;
mod spread;
mod summary;
mod tables;
mod title;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::process::Provenance;
use crate::scenario::{Load, Timing};
pub(crate) use diff::{Diff, DiffError, Terms};
use environment::Environment;
pub(crate) use files::{Outputs, Paths};
pub(crate) use read::ReadError;
pub(crate) use run::{Knee, Run, RunResult};

/// The version of the JSON's layout.
const SCHEMA: &str = "mles-loadgen/1";

/// Everything one invocation measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: String,
    environment: Environment,
    /// How long fan-out and latency scenarios loaded.
    timing: Timing,
    /// The scenarios by name, as they were run.
    pub(crate) scenarios: BTreeMap<String, Load>,
    /// The brokers that were started here.
    pub(crate) brokers: BTreeMap<Broker, Provenance>,
    /// Name and version of what spoke with each.
    #[serde(default)]
    pub(crate) clients: BTreeMap<Broker, String>,
    /// Brokers that were left out, and why.
    #[serde(default)]
    pub(crate) skipped: BTreeMap<Broker, String>,
    /// Scenarios that were not run over a broker, and why: it has nothing that they are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) omitted: Vec<Omitted>,
    /// All runs in the order they were done.
    pub(crate) runs: Vec<Run>,
    /// The knee that a sweep found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) knee: Option<Knee>,
    /// `true` if the user stopped it before the end.
    #[serde(default)]
    pub(crate) partial: bool,
}

/// A scenario that was not run over a broker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Omitted {
    pub(crate) scenario: String,
    pub(crate) broker: Broker,
    pub(crate) why: String,
}

impl Report {
    /// Returns a report without runs.
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            environment: Environment::here(),
            timing,
            scenarios: BTreeMap::new(),
            brokers: BTreeMap::new(),
            clients: BTreeMap::new(),
            skipped: BTreeMap::new(),
            omitted: Vec::new(),
            runs: Vec::new(),
            knee: None,
            partial: false,
        }
    }

    /// Adds a run. One that was stopped makes the report a part of what it was to be.
    pub(crate) fn push(&mut self, run: Run) {
        self.partial |= run.result.is_partial();
        if let Some(load) = self.scenarios.get(&run.scenario) {
            let client = load.client().describe(run.broker);
            self.clients.insert(run.broker, client);
        }
        self.runs.push(run);
    }

    /// Says that `scenario` is not run over `broker`.
    pub(crate) fn omit(&mut self, scenario: &str, broker: Broker, why: &str) {
        self.omitted.push(Omitted {
            scenario: scenario.to_owned(),
            broker,
            why: why.to_owned(),
        });
    }

    /// Lets runs lose, double or reorder messages without failing for that.
    pub(crate) fn allow_inexact(&mut self) {
        for run in &mut self.runs {
            run.may_be_inexact = true;
        }
    }

    /// Returns how many runs failed, do not count, lost, doubled or reordered messages; those that a sweep
    /// excuses are left out.
    pub(crate) fn failures(&self) -> usize {
        let failed = |run: &&Run| !run.excused && run.trouble().is_some();
        self.runs.iter().filter(failed).count()
    }

    /// Returns what the load of `scenario` is, in words.
    fn title(&self, scenario: &str) -> String {
        let load = self.scenarios.get(scenario);
        load.map_or_else(|| scenario.to_owned(), title::title)
    }

    /// Returns the tables for a document, a table for each scenario, with what they say about mles.
    pub(crate) fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// Returns the tables for a terminal, with a summary and what went wrong below them.
    pub(crate) fn to_text(&self) -> String {
        tables::render(self)
    }
}
