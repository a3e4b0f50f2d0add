//! `loadgen sweep`: latency at higher and higher rates, until the broker does not keep up.
//!
//! Rates are geometric. The last rate that was sustained and the first that was not are the two
//! sides of the knee. A machine's mood is no knee, so a rate gets several tries. Runs that went wrong
//! are in the report, but are no failures: a rate that is not sustained is what was looked for.

use super::runner::Runner;
use super::{CommandError, Measure};
use crate::broker::Broker;
use crate::interrupt::Interrupt;
use crate::report::{Knee, Report, Run, RunResult};
use crate::scenario::{Latency, ScenarioError, Target, Timing};
use crate::watch::Watch;

/// Which rates, and over what.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) broker: Broker,
    pub(crate) target: Target,
    pub(crate) latency: Latency,
    pub(crate) steps: Steps,
    /// How often a rate is run before it counts as not sustained.
    pub(crate) tries: usize,
    pub(crate) timing: Timing,
}

/// A geometric series of rates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// The first rate, in messages a second.
    pub(crate) from: f64,
    /// The highest rate.
    pub(crate) to: f64,
    /// The factor between two rates, over 1.
    pub(crate) factor: f64,
}

impl Steps {
    /// Returns the rates, rounded to whole messages a second but for the first.
    fn rates(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.from), move |rate| {
            // Rounding must not make a step of none.
            Some((rate * self.factor).round().max(rate + 1.0))
        })
        .take_while(move |&rate| rate <= self.to)
    }
}

impl Measure for Sweep {
    /// Runs the rates in turn.
    ///
    /// # Errors
    /// The broker cannot be reached. A broker that fails under a rate is beyond its knee.
    fn run(&self, interrupt: &Interrupt, watch: &mut Watch) -> Result<Report, CommandError> {
        let mut report = Report::new(self.timing);
        let mut runner = Runner::new(self.timing, interrupt, watch);
        let mut knee = Knee::default();
        for rate in self.steps.rates() {
            let mut tries = Vec::new();
            let is_first = knee.sustained.is_none();
            match self.run_rate(rate, is_first, &mut runner, &mut tries) {
                Err(error) if error.is_interrupt() => report.partial = true,
                outcome => outcome?,
            }
            let (name, load) = self.latency.at(rate);
            report.scenarios.insert(name, load);
            let trouble = tries.last().and_then(Run::trouble);
            for mut run in tries {
                let is_excused = trouble.is_none() || knee.sustained.is_some();
                run.excused = is_excused && run.trouble().is_some();
                report.push(run);
            }
            if report.partial {
                break;
            }
            if trouble.is_some() {
                knee.not_sustained = Some(rate);
                knee.why = trouble;
                break;
            }
            knee.sustained = Some(rate);
        }
        report.knee = Some(knee);
        Ok(report)
    }
}

impl Sweep {
    /// Runs `rate` until it is sustained or was tried often enough. A connection that fails at the
    /// first rate of all is an error.
    fn run_rate(
        &self,
        rate: f64,
        is_first: bool,
        runner: &mut Runner<'_>,
        tries: &mut Vec<Run>,
    ) -> Result<(), ScenarioError> {
        let (name, load) = self.latency.at(rate);
        for number in 1..=self.tries {
            let run = runner.run((&name, &load), (self.broker, &self.target), number);
            let run = match run {
                Err(error @ ScenarioError::Fleet(_)) if is_first || error.is_interrupt() => {
                    return Err(error);
                }
                Err(error) => {
                    let failed = RunResult::Failed(error.to_string());
                    Run::new(&name, self.broker, number, failed)
                }
                Ok(run) => run,
            };
            let is_enough = run.trouble().is_none();
            tries.push(run);
            if is_enough {
                break;
            }
        }
        Ok(())
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
