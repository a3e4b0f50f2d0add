//! The subcommands: from arguments to a report.
//!
//! A command starts what has to be started, runs scenarios, and hands back the report; printing,
//! writing and exit codes are `main`'s. A run that fails is a line of the report and does not stop
//! the others; Ctrl-C does, and what was measured until then is kept.

mod compare;
mod diff;
mod drain;
mod launch;
mod runner;
mod single;
mod start;
mod sweep;

use std::io;

use thiserror::Error;

use crate::interrupt::Interrupt;
use crate::process::StartError;
use crate::report::Report;
use crate::scenario::ScenarioError;
use crate::watch::Watch;

pub(crate) use compare::{Compare, Selection};
pub(crate) use diff::DiffCommand;
pub(crate) use drain::DrainCommand;
pub(crate) use single::SingleBroker;
pub(crate) use start::Start;
pub(crate) use sweep::{Steps, Sweep};

/// A command that measures.
pub(crate) trait Measure {
    /// Measures, and tells its progress on standard error.
    ///
    /// # Errors
    /// Nothing could be measured. Runs that fail are in the report where there are others.
    fn run(&self, interrupt: &Interrupt, watch: &mut Watch) -> Result<Report, CommandError>;
}

/// A command could not do anything.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// A broker that was asked for does not run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no address to be had.
    #[error("cannot listen: {0}")]
    Address(#[from] io::Error),
    /// Packages with programs of brokers are missing, by their names.
    #[error("loadgen installs nothing: run `scripts/setup`, which brings {0}")]
    MissingPackages(String),
    /// A scenario on a broker that runs already could not be run.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The one broker there is has nothing that the load is about.
    #[error("this is not for {broker}: {why}")]
    NotFor {
        broker: &'static str,
        /// The feature that it lacks.
        why: &'static str,
    },
    /// No broker is installed.
    #[error("none of the brokers is installed")]
    NoBroker,
}
