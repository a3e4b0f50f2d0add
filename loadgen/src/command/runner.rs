//! One load on one broker, once: the same for a broker that runs already and one started here.

use crate::broker::Broker;
use crate::interrupt::Interrupt;
use crate::report::{Run, RunResult};
use crate::scenario::{Load, ScenarioError, Target, Timing};
use crate::watch::Watch;

/// Runs loads on brokers, with the settings that all runs of a command share.
pub(super) struct Runner<'a> {
    timing: Timing,
    pub(super) interrupt: &'a Interrupt,
    watch: &'a mut Watch,
}

impl<'a> Runner<'a> {
    pub(super) fn new(timing: Timing, interrupt: &'a Interrupt, watch: &'a mut Watch) -> Self {
        Self {
            timing,
            interrupt,
            watch,
        }
    }

    /// Does `load`, named `scenario`, over `broker` at `target`, and returns the run `round`.
    ///
    /// # Errors
    /// The load could not be brought to its end, or the user stopped it before anything was
    /// measured.
    pub(super) fn run(
        &mut self,
        (scenario, load): (&str, &Load),
        (broker, target): (Broker, &Target),
        round: usize,
    ) -> Result<Run, ScenarioError> {
        let interrupt = self.interrupt;
        let result = match load {
            Load::Fanout(fanout) => {
                let outcome = fanout.run(broker, target, self.timing, interrupt)?;
                RunResult::Fanout(outcome)
            }
            Load::Idle(idle) => RunResult::Idle(idle.run(broker, target, interrupt)?),
            Load::Latency(latency) => {
                let label = format!("{scenario}/{}/{round}", broker.name());
                let watched = (&mut *self.watch, label.as_str());
                let phases = self.timing.phases();
                let outcome = latency.run(broker, target, phases, interrupt, watched)?;
                RunResult::Latency(Box::new(outcome))
            }
            Load::Storm(storm) => {
                let outcome = storm.run(broker, target, interrupt)?;
                RunResult::Storm(Box::new(outcome))
            }
            Load::History(history) => {
                let outcome = history.run(broker, target, interrupt)?;
                RunResult::History(Box::new(outcome))
            }
            Load::SlowReader(slow) => {
                let outcome = slow.run(broker, target, interrupt)?;
                RunResult::SlowReader(Box::new(outcome))
            }
            Load::Reconnect(storm) => {
                let outcome = storm.run(broker, target, interrupt)?;
                RunResult::Reconnect(Box::new(outcome))
            }
            Load::Publish(publish) => {
                let outcome = publish.run(broker, target, self.timing, interrupt)?;
                RunResult::Publish(Box::new(outcome))
            }
            Load::Seed(seed) => RunResult::Seed(Box::new(seed.run(broker, target, interrupt)?)),
        };
        Ok(Run::new(scenario, broker, round, result))
    }
}
