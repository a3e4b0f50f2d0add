//! What was measured: every single run, the machine it ran on, and the table made of it.
//!
//! The JSON holds the runs as they were, never only their medians. `schema` changes when a field is
//! removed or changes its meaning; new fields do not change it.

mod environment;
mod spread;
mod table;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::adapter::Broker;
use crate::process::Provenance;
use crate::scenario::{IdleResult, Load, Outcome, Timing};
use environment::Environment;

/// The version of the JSON's layout.
const SCHEMA: &str = "mles-loadgen/1";

/// A report could not be written.
#[derive(Debug, Error)]
#[error("cannot write the report to {path}: {source}")]
pub(crate) struct ReportError {
    path: PathBuf,
    source: io::Error,
}

/// Everything one invocation measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    environment: Environment,
    /// How long fan-out scenarios loaded.
    timing: Timing,
    /// The scenarios by name, as they were run.
    pub(crate) scenarios: BTreeMap<String, Load>,
    /// The brokers that were started here.
    pub(crate) brokers: BTreeMap<Broker, Provenance>,
    /// Brokers that were left out, and why.
    pub(crate) skipped: BTreeMap<Broker, String>,
    /// In the order they were done.
    pub(crate) runs: Vec<Run>,
    /// Whether the user stopped it before the end.
    pub(crate) partial: bool,
}

/// One scenario over one broker, once.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) broker: Broker,
    /// Counted from 1.
    pub(crate) round: usize,
    pub(crate) result: RunResult,
}

/// How a run ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunResult {
    /// Messages were sent.
    Fanout(Outcome),
    /// Subscribers were idle.
    Idle(IdleResult),
    /// It could not be brought to its end.
    Failed(String),
}

impl RunResult {
    fn is_clean(&self) -> bool {
        match self {
            Self::Fanout(outcome) => outcome.tally.is_clean(),
            Self::Idle(_) => true,
            Self::Failed(_) => false,
        }
    }
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            schema: SCHEMA,
            environment: Environment::here(),
            timing,
            scenarios: BTreeMap::new(),
            brokers: BTreeMap::new(),
            skipped: BTreeMap::new(),
            runs: Vec::new(),
            partial: false,
        }
    }

    /// How many runs failed, lost, doubled or reordered messages.
    pub(crate) fn failures(&self) -> usize {
        self.runs
            .iter()
            .filter(|run| !run.result.is_clean())
            .count()
    }

    /// The tables for a terminal, with what went wrong below them.
    pub(crate) fn to_text(&self) -> String {
        table::render(self)
    }
}

/// Where the JSON goes: opened before anything is measured, so that a path that cannot be written
/// is told at once.
#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    file: File,
}

impl JsonFile {
    /// Opens `path`; a report that is there is kept until the new one is written.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self, ReportError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        match file {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(source) => Err(ReportError {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Writes `report` in place of what was there.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(self, report: &Report) -> Result<(), ReportError> {
        let Self { path, file } = self;
        let write = || {
            file.set_len(0)?;
            let mut out = BufWriter::new(&file);
            serde_json::to_writer_pretty(&mut out, report)?;
            out.write_all(b"\n")?;
            out.flush()
        };
        write().map_err(|source| ReportError { path, source })
    }
}
