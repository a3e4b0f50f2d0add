//! One run, and what is wrong with it.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Times};
use crate::adapter::Broker;
use crate::process::CpuTime;
use crate::scenario::{IdleResult, LatencyOutcome, Outcome, SeedOutcome};
use crate::verify::Tally;

/// One scenario over one broker, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) broker: Broker,
    /// Counted from 1.
    pub(crate) round: usize,
    /// A sweep tries a rate again, and goes on until one is not sustained: what went wrong with this
    /// run is no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) excused: bool,
    pub(crate) result: RunResult,
}

/// How a run ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunResult {
    /// Messages were sent.
    Fanout(Outcome),
    /// Subscribers were idle.
    Idle(IdleResult),
    /// Messages were sent on a schedule.
    Latency(Box<LatencyOutcome>),
    /// Messages were sent one at a time.
    Seed(Box<SeedOutcome>),
    /// It could not be brought to its end.
    Failed(String),
}

/// Where a broker stops keeping up, as far as a sweep found it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Knee {
    /// The highest rate that was sustained, in messages a second.
    pub(crate) sustained: Option<f64>,
    /// The first that was not.
    pub(crate) not_sustained: Option<f64>,
    /// What went wrong at that one.
    pub(crate) why: Option<String>,
}

impl Run {
    /// Run `round` of `scenario` over `broker`.
    pub(crate) fn new(scenario: &str, broker: Broker, round: usize, result: RunResult) -> Self {
        Self {
            scenario: scenario.to_owned(),
            broker,
            round,
            excused: false,
            result,
        }
    }

    /// Everything there is to say about it in figures.
    pub(super) fn all_figures(&self) -> Vec<Figure> {
        let mut figures = self.result.figures();
        figures.extend(self.result.times().into_iter().flat_map(Times::figures));
        figures
    }

    /// Whether its figures are those of a whole run with nothing wrong.
    pub(super) fn counts(&self) -> bool {
        !self.result.is_partial() && self.trouble().is_none()
    }

    /// Why this run is no success; `None` when it is one. A run that the user stopped is none
    /// either, but there is nothing to say about it.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.result.is_partial() {
            return None;
        }
        if let RunResult::Failed(why) = &self.result {
            return Some(why.clone());
        }
        let mut troubles = Vec::new();
        if let Some((tally, ..)) = self.result.cost()
            && !tally.is_clean()
        {
            troubles.push(format!(
                "{} of {} delivered; {} lost, {} duplicated, {} reordered, {} foreign",
                tally.delivered,
                tally.expected,
                tally.lost,
                tally.duplicated,
                tally.reordered,
                tally.foreign
            ));
        }
        if let RunResult::Latency(outcome) = &self.result {
            troubles.extend(outcome.invalid.iter().cloned());
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}

impl RunResult {
    /// Whether everything was delivered once and in order.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::Idle(_) => true,
            Self::Failed(_) => false,
            _ => self.cost().is_some_and(|(tally, ..)| tally.is_clean()),
        }
    }

    /// Whether the user stopped it.
    pub(super) fn is_partial(&self) -> bool {
        match self {
            Self::Latency(outcome) => outcome.partial,
            Self::Seed(outcome) => outcome.partial,
            Self::Fanout(_) | Self::Idle(_) | Self::Failed(_) => false,
        }
    }

    /// Deliveries, and the CPU time of broker and program for them; `None` where there were none.
    pub(super) fn cost(&self) -> Option<(&Tally, Option<CpuTime>, CpuTime)> {
        match self {
            Self::Fanout(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Latency(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Seed(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Idle(_) | Self::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::scenario::{Amount, Timing};

    #[test]
    fn what_a_sweep_excuses_is_no_failure() {
        let mut report = Report::new(Timing {
            warm_up_seconds: 0.0,
            measured: Amount::Seconds(1.0),
        });
        let failed = || {
            let result = RunResult::Failed("too much".to_owned());
            Run::new("latency-10", Broker::Mles, 1, result)
        };
        report.push(failed());
        assert_eq!(report.failures(), 1);
        report.push(Run {
            excused: true,
            ..failed()
        });
        assert_eq!(report.failures(), 1);
        let text = report.to_text();
        assert_eq!(text.matches("FAILED latency-10 mles").count(), 1, "{text}");
    }
}
