//! One run, and what is wrong with it.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Times};
use crate::broker::Broker;
use crate::process::CpuTime;
use crate::scenario::{
    FanoutOutcome, HistoryOutcome, IdleOutcome, LatencyOutcome, PublishOutcome, ReconnectOutcome,
    SeedOutcome, SlowReaderOutcome, StormOutcome,
};
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
    /// The user allows messages to be lost, doubled or reordered: it is told, and no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) may_be_inexact: bool,
    pub(crate) result: RunResult,
}

/// How a run ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunResult {
    /// Messages were sent.
    Fanout(FanoutOutcome),
    /// Subscribers were idle.
    Idle(IdleOutcome),
    /// Messages were sent on a schedule.
    Latency(Box<LatencyOutcome>),
    /// Messages were sent one at a time.
    Seed(Box<SeedOutcome>),
    /// Connections were made all at once.
    Storm(Box<StormOutcome>),
    /// Channels with a history were joined.
    History(Box<HistoryOutcome>),
    /// A subscriber stopped reading.
    #[serde(rename = "slow-reader")]
    SlowReader(Box<SlowReaderOutcome>),
    /// Messages were published and confirmed.
    Publish(Box<PublishOutcome>),
    /// Clients were cut off and came back.
    Reconnect(Box<ReconnectOutcome>),
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
    /// The reason why that rate was not sustained.
    pub(crate) why: Option<String>,
}

impl Run {
    /// Returns run `round` of `scenario` over `broker`.
    pub(crate) fn new(scenario: &str, broker: Broker, round: usize, result: RunResult) -> Self {
        Self {
            scenario: scenario.to_owned(),
            broker,
            round,
            excused: false,
            may_be_inexact: false,
            result,
        }
    }

    /// Returns all figures of the run.
    pub(super) fn all_figures(&self) -> Vec<Figure> {
        let mut figures = self.result.figures();
        figures.extend(self.result.times().into_iter().flat_map(Times::figures));
        figures
    }

    /// Returns `true` if its figures are those of a whole run with nothing wrong.
    pub(super) fn counts(&self) -> bool {
        !self.result.is_partial() && self.trouble().is_none()
    }

    /// Returns why this run is no success; `None` when it is one. A run that the user stopped is none
    /// either, but there is nothing to say about it.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.result.is_partial() {
            return None;
        }
        if let RunResult::Failed(why) = &self.result {
            return Some(why.clone());
        }
        let mut troubles = Vec::new();
        if !self.may_be_inexact {
            troubles.extend(self.inexact());
        }
        match &self.result {
            RunResult::Latency(outcome) => troubles.extend(outcome.invalid.iter().cloned()),
            RunResult::SlowReader(outcome) => troubles.extend(outcome.invalid.iter().cloned()),
            RunResult::Storm(outcome) if outcome.failed > 0 => {
                let all = outcome.connected + outcome.failed;
                let reasons = outcome.reasons.join(", ");
                let failed = outcome.failed;
                troubles.push(format!("{failed} of {all} connections failed: {reasons}"));
            }
            RunResult::Reconnect(outcome) => troubles.extend(reconnect_troubles(outcome)),
            RunResult::Publish(outcome) if outcome.unconfirmed > 0 => {
                let (unconfirmed, all) = (outcome.unconfirmed, outcome.messages);
                troubles.push(format!(
                    "{unconfirmed} of {all} messages were not confirmed"
                ));
            }
            _ => {}
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}

impl Run {
    /// Describes what was not delivered once and in order; `None` when everything was.
    pub(super) fn inexact(&self) -> Option<String> {
        let tally = self.result.tally()?;
        let is_expected = match &self.result {
            RunResult::Reconnect(it) => !it.resumes && tally.without_losses().is_clean(),
            _ => false,
        };
        (!tally.is_clean() && !is_expected).then(|| what_came(tally))
    }
}

fn what_came(tally: &Tally) -> String {
    format!(
        "{} of {} delivered; {} lost, {} duplicated, {} reordered, {} foreign",
        tally.delivered,
        tally.expected,
        tally.lost,
        tally.duplicated,
        tally.reordered,
        tally.foreign
    )
}

/// Returns what went wrong when clients were cut off and came back, besides their deliveries.
fn reconnect_troubles(outcome: &ReconnectOutcome) -> Vec<String> {
    let mut troubles = Vec::new();
    if outcome.failed > 0 {
        let (failed, all) = (outcome.failed, outcome.clients);
        let reasons = outcome.reasons.join(", ");
        troubles.push(format!(
            "{failed} of {all} clients did not come back: {reasons}"
        ));
    }
    if outcome.resumes && outcome.recovered < outcome.returned {
        let partly = outcome.returned - outcome.recovered;
        troubles.push(format!("{partly} clients were told that messages are gone"));
    }
    if !outcome.bystander_tally.is_clean() {
        let came = what_came(&outcome.bystander_tally);
        troubles.push(format!("at the bystander {came}"));
    }
    troubles
}

impl RunResult {
    /// Returns `true` if everything was delivered once and in order.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::Idle(_) => true,
            Self::Failed(_) => false,
            _ => self.tally().is_some_and(Tally::is_clean),
        }
    }

    /// Returns `true` if the user stopped it.
    pub(super) fn is_partial(&self) -> bool {
        match self {
            Self::Latency(outcome) => outcome.partial,
            Self::Seed(outcome) => outcome.partial,
            Self::History(outcome) => outcome.partial,
            Self::SlowReader(outcome) => outcome.partial,
            Self::Fanout(_)
            | Self::Idle(_)
            | Self::Storm(_)
            | Self::Publish(_)
            | Self::Reconnect(_)
            | Self::Failed(_) => false,
        }
    }

    /// Deliveries that were due and had; `None` where there were none.
    pub(super) fn tally(&self) -> Option<&Tally> {
        match self {
            Self::Storm(it) => Some(&it.tally),
            Self::SlowReader(it) => Some(&it.tally),
            Self::Publish(it) => Some(&it.tally),
            Self::Reconnect(it) => Some(&it.tally),
            _ => self.cost().map(|(tally, ..)| tally),
        }
    }

    /// Returns deliveries, and the CPU time of broker and program for them; `None` where it was for
    /// something else.
    pub(super) fn cost(&self) -> Option<(&Tally, Option<CpuTime>, CpuTime)> {
        match self {
            Self::Fanout(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Latency(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Seed(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::History(it) => Some((&it.tally, it.server_cpu, it.tool_cpu)),
            Self::Idle(_)
            | Self::Storm(_)
            | Self::SlowReader(_)
            | Self::Publish(_)
            | Self::Reconnect(_)
            | Self::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, sample};
    use crate::scenario::{Amount, Timing};

    #[test]
    fn losses_are_expected_only_where_nobody_resumes() {
        let trouble = |change: fn(&mut ReconnectOutcome)| {
            let mut result = sample::reconnect(1);
            if let RunResult::Reconnect(outcome) = &mut result {
                change(outcome);
            }
            let run = Run::new("reconnect-storm", Broker::Redis, 1, result);
            run.trouble().unwrap_or_default()
        };
        fn lose(outcome: &mut ReconnectOutcome) {
            outcome.tally.delivered -= 10;
            outcome.tally.lost += 10;
        }
        assert_eq!(trouble(|_| {}), "");
        assert!(trouble(lose).contains("10 lost"));
        let unable = |outcome: &mut ReconnectOutcome| {
            (outcome.resumes, outcome.recovered) = (false, 0);
            lose(outcome);
        };
        assert_eq!(trouble(unable), "");
        let doubled = |outcome: &mut ReconnectOutcome| {
            outcome.resumes = false;
            lose(outcome);
            outcome.tally.duplicated = 1;
        };
        assert!(trouble(doubled).contains("1 duplicated"));
        assert!(trouble(|it| it.recovered = 999).starts_with("1 clients were told"));
        let failed = |outcome: &mut ReconnectOutcome| {
            (outcome.returned, outcome.recovered, outcome.failed) = (998, 998, 2);
        };
        assert!(trouble(failed).starts_with("2 of 1000 clients did not come back"));
        let beside = |outcome: &mut ReconnectOutcome| outcome.bystander_tally.lost = 1;
        assert!(trouble(beside).starts_with("at the bystander"));
    }

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
