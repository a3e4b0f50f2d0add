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

use super::cpu_meter::{Cost, CpuMeter};
use super::lag::{LagBound, lag_objection};
use super::open_loop::OpenLoop;
use super::recorder::Recorder;
use super::timetable::{Arrivals, Shares, Timetable};
use super::topology::{Shape, Topology};
use super::zipf::Zipf;
use super::{Load, ScenarioError, Target};
use crate::broker::Broker;
use crate::broker::Client;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::Tally;
use crate::watch::{Feed, Slice, Watch};

/// The part of the deliveries that must come within the measured time: with fewer the broker or
/// this program does not keep up with the rate.
pub(crate) const SUSTAINED: f64 = 0.95;

/// Messages on a schedule, in an open loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    /// Number in each channel.
    pub(crate) publishers: u16,
    /// Number in each channel.
    pub(crate) subscribers: usize,
    pub(crate) channels: usize,
    /// Channel k gets messages in proportion to 1 / k^s; `None` when all are alike.
    pub(crate) zipf: Option<f64>,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// Messages a second, all publishers together.
    pub(crate) rate: f64,
    pub(crate) arrivals: Arrivals,
    /// The seed of random arrivals: an equal seed makes an equal schedule.
    pub(crate) seed: u64,
    pub(crate) lag_bound: LagBound,
    /// The client that speaks with the broker.
    pub(crate) client: Client,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            publishers: 1,
            subscribers: 10,
            channels: 1,
            zipf: None,
            payload: 64,
            rate: 1000.0,
            arrivals: Arrivals::Fixed,
            seed: 1,
            lag_bound: LagBound::default(),
            client: Client::Lean,
        }
    }
}

/// How long to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Load before anything is measured.
    pub(crate) warm_up: Duration,
    /// The measured time.
    pub(crate) measured: Duration,
}

/// The result of an open loop.
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
    /// `true` if the user stopped it. Messages that were under way then count as lost.
    pub(crate) partial: bool,
    /// Deliveries, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
    /// Times from when a message was due until a subscriber had it.
    pub(crate) latency: Distribution,
    /// Times from when a message was handed to its socket until a subscriber had it.
    pub(crate) service: Distribution,
    /// Times from when a message was due until it was handed to its socket.
    pub(crate) lag: Distribution,
    /// Latency over time.
    pub(crate) intervals: Vec<Slice>,
}

impl Latency {
    /// Returns this load at `rate`, and its name in reports.
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
        target: &Target,
        phases: Phases,
        interrupt: &Interrupt,
        (watch, label): (&mut Watch, &str),
    ) -> Result<LatencyOutcome, ScenarioError> {
        if self.client == Client::Library {
            return self.run_by_library((broker, target), phases, interrupt, (watch, label));
        }
        let adapter = broker.adapter(self.payload, &target.keyring);
        let mut fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        fleet.spread(&target.others);
        let mut open_loop = OpenLoop::new(Topology::assemble(fleet, self.shape())?);
        self.phase(&mut open_loop, phases.warm_up, self.seed ^ 1, None)?;
        let before = open_loop.topology().tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = CpuMeter::start(target)?;
        let (measured, intervals) = watch.during(label, |feed| {
            self.phase(&mut open_loop, phases.measured, self.seed, Some(feed))
        });
        let mut measured = measured?;
        let cost = meter.stop(measured.recorder.latency.count())?;
        if !measured.interrupted {
            let lingered = ScenarioError::interrupted(open_loop.topology().linger())?;
            measured.interrupted = lingered.is_none();
        }
        let tally = open_loop.topology().tally().since(&before);
        Ok(self.outcome(measured, tally, cost, intervals, phases.measured))
    }

    /// Makes the outcome of a measurement.
    pub(super) fn outcome(
        &self,
        measured: Measured,
        tally: Tally,
        cost: Cost,
        intervals: Vec<Slice>,
        length: Duration,
    ) -> LatencyOutcome {
        let Measured {
            recorder,
            unsent,
            interrupted: partial,
        } = measured;
        let each = (self.subscribers as u64).max(1);
        let seconds = length.as_secs_f64();
        let mut outcome = LatencyOutcome {
            messages: tally.expected / each,
            unsent,
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
        outcome
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            channels: self.channels,
            publishers: self.publishers,
            subscribers: self.subscribers,
            ..Shape::single(self.payload)
        }
    }

    /// Returns when messages of a phase of `length` are due.
    pub(super) fn timetable(&self, length: Duration, seed: u64) -> Timetable {
        let end = nanoseconds(length);
        Timetable::new(self.arrivals, self.rate, &self.shares(), seed, end)
    }

    fn phase(
        &self,
        open_loop: &mut OpenLoop<'_>,
        length: Duration,
        seed: u64,
        feed: Option<Feed>,
    ) -> Result<Measured, ScenarioError> {
        let table = self.timetable(length, seed);
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

    /// Returns the publishers' parts in the rate.
    fn shares(&self) -> Shares {
        let publishers = usize::from(self.publishers);
        match self.zipf {
            None => Shares::Even(self.channels * publishers),
            Some(exponent) => {
                let parts = Zipf::new(self.channels, exponent);
                let each = |part| std::iter::repeat_n(part / publishers as f64, publishers);
                Shares::Each(parts.parts().flat_map(each).collect())
            }
        }
    }

    /// Returns why an outcome does not count.
    fn objections(&self, outcome: &LatencyOutcome) -> Vec<String> {
        let mut objections = Vec::new();
        objections.extend(lag_objection(&outcome.lag, self.lag_bound));
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
pub(super) struct Measured {
    pub(super) recorder: Recorder,
    pub(super) unsent: u64,
    pub(super) interrupted: bool,
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
