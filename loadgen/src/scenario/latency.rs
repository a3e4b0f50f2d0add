//! Latency at a given rate: an open loop, as users are, who do not wait for each other.
//!
//! Messages are due on an absolute schedule, and latency counts from then. Whatever keeps a message
//! from being sent in time, this program included, is in its latency. How much of that is this
//! program's own is recorded as lag, and a run with too much of it does not count.
//!
//! Warm-up and measurement are phases of their own, each with its own schedule and each waited for
//! until everything is delivered, so the broker's CPU time belongs to the messages measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cast::{Cast, Shape};
use super::meter::Meter;
use super::open_loop::OpenLoop;
use super::recorder::Recorder;
use super::timetable::{Arrivals, Timetable};
use super::{Load, ScenarioError, Target};
use crate::adapter::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::Tally;
use crate::watch::{Feed, Slice, Watch};

/// The part of the deliveries that must come within the measured time: with fewer the broker or
/// this program does not keep up with the rate.
pub(crate) const SUSTAINED: f64 = 0.95;

/// The load.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    /// Of each channel.
    pub(crate) publishers: u16,
    /// Of each channel.
    pub(crate) subscribers: usize,
    pub(crate) channels: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// Messages a second, all publishers together.
    pub(crate) rate: f64,
    pub(crate) arrivals: Arrivals,
    /// What random arrivals are made from: the same seed makes the same schedule.
    pub(crate) seed: u64,
    pub(crate) lag_bound: LagBound,
}

/// How late this program may send.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LagBound {
    /// For this percentage of messages …
    pub(crate) percentile: f64,
    /// … so much at most, in nanoseconds.
    pub(crate) nanoseconds: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            publishers: 1,
            subscribers: 10,
            channels: 1,
            payload: 64,
            rate: 1000.0,
            arrivals: Arrivals::Fixed,
            seed: 1,
            lag_bound: LagBound {
                percentile: 99.0,
                nanoseconds: 1_000_000,
            },
        }
    }
}

/// How long to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Before anything is measured.
    pub(crate) warm_up: Duration,
    /// What is measured.
    pub(crate) measured: Duration,
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LatencyOutcome {
    /// Messages sent.
    pub(crate) messages: u64,
    /// Messages that were due but could not be sent in time or soon after.
    pub(crate) unsent: u64,
    /// How long messages were due.
    pub(crate) seconds: f64,
    /// Messages a second that came to all subscribers within that time.
    pub(crate) achieved_rate: f64,
    /// Why these figures do not count; empty when they do.
    pub(crate) invalid: Vec<String>,
    /// Whether the user stopped it. What was under way then counts as lost.
    pub(crate) partial: bool,
    /// Deliveries, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// This program's.
    pub(crate) tool_cpu: CpuTime,
    /// From when a message was due until a subscriber had it.
    pub(crate) latency: Distribution,
    /// From when a message was handed to its socket until a subscriber had it.
    pub(crate) service: Distribution,
    /// From when a message was due until it was handed to its socket.
    pub(crate) lag: Distribution,
    /// Latency over time.
    pub(crate) intervals: Vec<Slice>,
}

impl Latency {
    /// The same at `rate`, and its name in reports.
    pub(crate) fn at(&self, rate: f64) -> (String, Load) {
        let load = Self {
            rate,
            ..self.clone()
        };
        (format!("latency-{rate}"), Load::Latency(load))
    }

    /// Loads `broker` at `target`; `watch` sees it as `label`.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection, or loses messages before anything is
    /// measured. Loss while measuring is no error but in the outcome's tally. A user's stop is an
    /// error only before the measurement.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: Target,
        phases: Phases,
        interrupt: &Interrupt,
        (watch, label): (&mut Watch, &str),
    ) -> Result<LatencyOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload);
        let fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        let shape = Shape {
            channels: self.channels,
            publishers: self.publishers,
            subscribers: self.subscribers,
            payload: self.payload,
        };
        let mut open_loop = OpenLoop::new(Cast::assemble(fleet, shape)?);
        self.phase(&mut open_loop, phases.warm_up, self.seed ^ 1, None)?;
        let before = open_loop.cast().tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = Meter::start(target)?;
        let (measured, intervals) = watch.during(label, |feed| {
            self.phase(&mut open_loop, phases.measured, self.seed, Some(feed))
        });
        let measured = measured?;
        let recorder = measured.recorder;
        let cost = meter.stop(recorder.latency.count())?;
        let mut partial = measured.interrupted;
        if !partial {
            partial = ScenarioError::interrupted(open_loop.cast().linger())?.is_none();
        }
        let tally = open_loop.cast().tally().since(&before);
        let each = (self.subscribers as u64).max(1);
        let seconds = phases.measured.as_secs_f64();
        let mut outcome = LatencyOutcome {
            messages: tally.expected / each,
            unsent: measured.unsent,
            seconds,
            achieved_rate: recorder.in_time as f64 / each as f64 / seconds,
            invalid: Vec::new(),
            partial,
            tally,
            server_cpu: cost.server,
            tool_cpu: cost.tool,
            latency: recorder.latency,
            service: recorder.service,
            lag: recorder.lag,
            intervals,
        };
        if !partial {
            outcome.invalid = self.objections(&outcome);
        }
        Ok(outcome)
    }

    fn phase(
        &self,
        open_loop: &mut OpenLoop<'_>,
        length: Duration,
        seed: u64,
        feed: Option<Feed>,
    ) -> Result<Measured, ScenarioError> {
        let publishers = self.channels * usize::from(self.publishers);
        let end = nanoseconds(length);
        let table = Timetable::new(self.arrivals, self.rate, publishers, seed, end);
        let is_measured = feed.is_some();
        let mut recorder = Recorder::start(length, feed);
        let outcome = open_loop.run(table, length, &mut recorder);
        recorder.finish();
        let unsent = match outcome {
            outcome if is_measured => ScenarioError::interrupted(outcome)?,
            outcome => Some(outcome?),
        };
        Ok(Measured {
            recorder,
            interrupted: unsent.is_none(),
            unsent: unsent.unwrap_or_default(),
        })
    }

    /// Why an outcome does not count.
    fn objections(&self, outcome: &LatencyOutcome) -> Vec<String> {
        let mut objections = Vec::new();
        let LagBound {
            percentile,
            nanoseconds: bound,
        } = self.lag_bound;
        let lag = outcome.lag.percentile(percentile);
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        if lag > bound {
            objections.push(format!(
                "loadgen was too late: lag p{percentile} is {:.1} µs, over the bound of {:.1} µs",
                micros(lag),
                micros(bound)
            ));
        }
        let asked = (outcome.messages + outcome.unsent) as f64 / outcome.seconds;
        if outcome.achieved_rate < SUSTAINED * asked {
            objections.push(format!(
                "the rate was not met: {:.0} of {asked:.0} messages/s were delivered in time{}",
                outcome.achieved_rate,
                match outcome.unsent {
                    0 => String::new(),
                    unsent => format!(", {unsent} could not be sent"),
                }
            ));
        }
        objections
    }
}

/// A phase that was brought to its end, or stopped by the user while it was measured.
struct Measured {
    recorder: Recorder,
    unsent: u64,
    interrupted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lag: u64, achieved_rate: f64, unsent: u64) -> LatencyOutcome {
        let mut times = Distribution::new();
        times.record(lag);
        LatencyOutcome {
            messages: 1000 - unsent,
            unsent,
            seconds: 1.0,
            achieved_rate,
            invalid: Vec::new(),
            partial: false,
            tally: Tally::default(),
            server_cpu: None,
            tool_cpu: CpuTime {
                nanoseconds: 0,
                user_ticks: 0,
                system_ticks: 0,
            },
            latency: Distribution::new(),
            service: Distribution::new(),
            lag: times,
            intervals: Vec::new(),
        }
    }

    #[test]
    fn a_late_generator_and_a_rate_that_is_not_met_are_told_apart() {
        let latency = Latency::default();
        let objections = |lag, rate, unsent| latency.objections(&outcome(lag, rate, unsent));
        assert!(objections(900_000, 950.0, 0).is_empty());
        let late = objections(1_100_000, 1000.0, 0);
        assert!(late.len() == 1 && late[0].contains("lag p99"), "{late:?}");
        let slow = objections(0, 700.0, 250);
        assert!(
            slow.len() == 1 && slow[0].contains("700 of 1000"),
            "{slow:?}"
        );
        assert!(slow[0].contains("250 could not be sent"), "{slow:?}");
    }
}
