//! `loadgen sweep`: latency at higher and higher rates, until the broker does not keep up.
//!
//! Rates are geometric. The last rate that was sustained and the first that was not are the two
//! sides of the knee; the run beyond it is in the report, and is no failure: it is what was looked
//! for.

use super::CommandError;
use super::load::Runner;
use crate::adapter::Broker;
use crate::interrupt::Interrupt;
use crate::report::{Knee, Report, Run, RunResult};
use crate::scenario::{Latency, ScenarioError, Target, Timing, is_interrupt};
use crate::watch::Watch;

/// Which rates, and over what.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) broker: Broker,
    pub(crate) target: Target,
    pub(crate) latency: Latency,
    pub(crate) steps: Steps,
    pub(crate) timing: Timing,
}

/// A geometric series of rates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// The first rate, in messages a second.
    pub(crate) from: f64,
    /// No rate is over this one.
    pub(crate) to: f64,
    /// Each rate is so many times the one before, over 1.
    pub(crate) factor: f64,
}

impl Steps {
    /// The rates, rounded to whole messages a second but for the first.
    fn rates(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.from), move |rate| {
            // Rounding must not make a step of none.
            Some((rate * self.factor).round().max(rate + 1.0))
        })
        .take_while(move |&rate| rate <= self.to)
    }
}

impl Sweep {
    /// Runs the rates in turn.
    ///
    /// # Errors
    /// The broker cannot be reached. A broker that fails under a rate is beyond its knee.
    pub(crate) fn run(
        &self,
        interrupt: &Interrupt,
        watch: &mut Watch,
    ) -> Result<Report, CommandError> {
        let mut report = Report::new(self.timing);
        let mut runner = Runner {
            timing: self.timing,
            interrupt,
            watch,
        };
        let mut knee = Knee::default();
        for rate in self.steps.rates() {
            let (name, load) = self.latency.at(rate);
            report.scenarios.insert(name.clone(), load.clone());
            let run = runner.run((&name, &load), (self.broker, self.target), 1);
            if is_interrupt(&run) {
                report.partial = true;
                break;
            }
            let mut run = match run {
                Err(error @ ScenarioError::Fleet(_)) if knee.sustained.is_none() => {
                    return Err(error.into());
                }
                Err(error) => Run::new(&name, self.broker, 1, RunResult::Failed(error.to_string())),
                Ok(run) => run,
            };
            run.beyond_knee = knee.sustained.is_some() && run.trouble().is_some();
            let trouble = run.trouble();
            report.push(run);
            if trouble.is_some() {
                knee.not_sustained = Some(rate);
                knee.why = trouble;
            } else {
                knee.sustained = Some(rate);
            }
            if report.partial || knee.not_sustained.is_some() {
                break;
            }
        }
        report.knee = Some(knee);
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_geometric_and_end_at_the_limit() {
        let rates = |from, to, factor| Steps { from, to, factor }.rates().collect::<Vec<_>>();
        assert_eq!(rates(1000.0, 4000.0, 2.0), [1000.0, 2000.0, 4000.0]);
        assert_eq!(rates(1000.0, 3999.0, 2.0), [1000.0, 2000.0]);
        assert_eq!(
            rates(1.0, 4.0, 1.1),
            [1.0, 2.0, 3.0, 4.0],
            "each is another"
        );
        assert_eq!(rates(10.0, 5.0, 2.0), [0.0; 0]);
    }
}
