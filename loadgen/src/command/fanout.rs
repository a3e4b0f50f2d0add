//! `loadgen fanout`: one load on one broker that runs already.

use super::CommandError;
use crate::adapter::Broker;
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::report::{Report, Run, RunResult};
use crate::scenario::{Fanout, Load, ScenarioError, Target, Timing};

/// What to load, and how.
#[derive(Debug)]
pub(crate) struct FanoutOne {
    pub(crate) broker: Broker,
    pub(crate) target: Target,
    pub(crate) load: Fanout,
    pub(crate) timing: Timing,
}

impl FanoutOne {
    const SCENARIO: &'static str = "custom";

    /// Runs the load once.
    ///
    /// # Errors
    /// The load could not be brought to its end.
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<Report, CommandError> {
        let Self {
            broker,
            target,
            load,
            timing,
        } = self;
        let mut report = Report::new(timing);
        let scenario = Self::SCENARIO.to_owned();
        report
            .scenarios
            .insert(scenario.clone(), Load::Fanout(load.clone()));
        match load.run(broker, target, timing, interrupt) {
            Err(ScenarioError::Fleet(FleetError::Interrupted)) => report.partial = true,
            outcome => {
                let result = RunResult::Fanout(outcome?);
                report.runs.push(Run {
                    scenario,
                    broker,
                    round: 1,
                    result,
                });
            }
        }
        Ok(report)
    }
}
