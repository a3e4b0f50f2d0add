//! `loadgen throughput`, `latency`, `publish`, `seed`, `connect-storm`, `reconnect-storm`, `history-join`
//! and `slow-reader`: loads on one broker that runs already.

use super::runner::Runner;
use super::{CommandError, Measure};
use crate::broker::Broker;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::scenario::{Load, Target, Timing};
use crate::watch::Watch;

/// Loads on one broker that runs already.
#[derive(Debug)]
pub(crate) struct SingleBroker {
    pub(crate) broker: Broker,
    pub(crate) target: Target,
    /// Names and loads, in their order.
    pub(crate) scenarios: Vec<(String, Load)>,
    pub(crate) timing: Timing,
}

impl Measure for SingleBroker {
    /// Runs each load once.
    ///
    /// # Errors
    /// A load could not be brought to its end.
    fn run(&self, interrupt: &Interrupt, watch: &mut Watch) -> Result<Report, CommandError> {
        let mut report = Report::new(self.timing);
        let mut runner = Runner::new(self.timing, interrupt, watch);
        for (name, load) in &self.scenarios {
            report.scenarios.insert(name.clone(), load.clone());
            if let Some(why) = load.objection(self.broker) {
                return Err(CommandError::NotFor {
                    broker: self.broker.name(),
                    why,
                });
            }
            match runner.run((name, load), (self.broker, &self.target), 1) {
                Err(error) if error.is_interrupt() => report.partial = true,
                run => report.push(run?),
            }
            if report.partial {
                break;
            }
        }
        Ok(report)
    }
}
