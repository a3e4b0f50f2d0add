//! The subcommands: from arguments to a report.
//!
//! A command starts what has to be started, runs scenarios, and hands back the report; printing,
//! writing and exit codes are `main`'s. A run that fails is a line of the report and does not stop
//! the others; Ctrl-C does, and what was measured until then is kept.

mod compare;
mod fanout;

use thiserror::Error;

use crate::adapter::Broker;
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::process::StartError;
use crate::report::{Report, Run, RunResult};
use crate::scenario::{Load, ScenarioError, Target, Timing};

pub(crate) use compare::{Compare, Selection};
pub(crate) use fanout::FanoutOne;

/// A command could not do anything.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// A broker that was asked for does not run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The one scenario there was could not be run.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// No broker is installed.
    #[error("none of the brokers is installed")]
    NoBroker,
}

/// One run of `load` named `scenario`, put into `report`. Says whether to go on.
fn run_once(
    report: &mut Report,
    scenario: &str,
    load: &Load,
    (broker, target): (Broker, Target),
    timing: Timing,
    interrupt: &Interrupt,
) -> bool {
    let round = 1 + report
        .runs
        .iter()
        .filter(|run| run.scenario == scenario && run.broker == broker)
        .count();
    let result = match load {
        Load::Fanout(fanout) => fanout
            .run(broker, target, timing, interrupt)
            .map(RunResult::Fanout),
        Load::Idle(idle) => idle.run(broker, target, interrupt).map(RunResult::Idle),
    };
    let result = match result {
        Err(ScenarioError::Fleet(FleetError::Interrupted)) => {
            report.partial = true;
            return false;
        }
        Err(error) => RunResult::Failed(error.to_string()),
        Ok(result) => result,
    };
    report.runs.push(Run {
        scenario: scenario.to_owned(),
        broker,
        round,
        result,
    });
    true
}
