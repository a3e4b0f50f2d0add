//! Publishers that wait until the broker has confirmed each message: what a publish costs, and how long it takes.
//!
//! Each has a connection that is kept, and so many messages in flight at most: the next is sent when one before it
//! is confirmed. A time counts from before a message is handed to its socket until the answer was read. One subscriber
//! of the channel checks that each message comes once and in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cpu_meter::CpuMeter;
use super::topology::{STALL, Shape, TURN, Topology};
use super::{ScenarioError, Target, Timing};
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally};

/// Connections served before the clock is read for the answers that came.
const TURN_CONNECTIONS: usize = 16;

/// Publishers that have each message confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Publish {
    /// Connections that publish.
    pub(crate) connections: u16,
    /// Messages of each that are not confirmed, at most.
    pub(crate) in_flight: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            connections: 50,
            in_flight: 1,
            payload: 64,
        }
    }
}

/// The result of publishing with confirmation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PublishOutcome {
    /// Messages published.
    pub(crate) messages: u64,
    /// Messages that were not confirmed.
    pub(crate) unconfirmed: u64,
    /// Time from the first message to the last answer or delivery.
    pub(crate) seconds: f64,
    /// Times until messages were confirmed.
    pub(crate) times: Distribution,
    /// The subscriber's deliveries, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
}

impl Publish {
    /// Loads `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection or refuses a message, or something is lost before
    /// anything is measured. Loss while measuring is no error but in the outcome.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        timing: Timing,
        interrupt: &Interrupt,
    ) -> Result<PublishOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload, &target.keyring);
        let mut fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        fleet.limit_turns(TURN_CONNECTIONS);
        let shape = Shape {
            publishers: self.connections,
            is_confirmed: true,
            publishers_at: None,
            ..Shape::single(self.payload)
        };
        let mut publishing = Publishing {
            topology: Topology::assemble(fleet, shape)?,
            under_way: vec![VecDeque::new(); self.connections.into()],
            in_flight: self.in_flight,
            times: Distribution::new(),
        };
        let phases = timing.phases();
        publishing.send(phases.warm_up)?;
        let before = publishing.topology.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        publishing.times = Distribution::new();
        let meter = CpuMeter::start(target)?;
        let seconds = publishing.send(phases.measured)?.as_secs_f64();
        let cost = meter.stop(publishing.times.count())?;
        publishing.topology.linger()?;
        let tally = publishing.topology.tally().since(&before);
        Ok(PublishOutcome {
            messages: tally.expected,
            unconfirmed: tally.expected - publishing.times.count(),
            seconds,
            times: publishing.times,
            tally,
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }
}

struct Publishing<'a> {
    topology: Topology<'a, Stamp>,
    /// When each publisher's messages that are not confirmed were sent, the oldest first.
    under_way: Vec<VecDeque<Instant>>,
    /// Messages of each publisher that are under way at most.
    in_flight: usize,
    times: Distribution,
}

impl Publishing<'_> {
    /// Publishes for `time`, waits until all is confirmed and delivered, and says how long that took. What does not come
    /// within [`STALL`] is given up.
    fn send(&mut self, time: Duration) -> Result<Duration, ScenarioError> {
        let start = Instant::now();
        let mut last = start;
        loop {
            let is_over = start.elapsed() >= time;
            if !is_over {
                self.fill()?;
            }
            let is_done = self.under_way.iter().all(VecDeque::is_empty);
            if is_over && is_done && self.topology.is_idle() {
                return Ok(last - start);
            }
            let mut came = false;
            self.topology.serve(TURN, |_, _| came = true)?;
            if self.confirm() || came {
                last = Instant::now();
            } else if last.elapsed() > STALL {
                return Ok(last - start);
            }
        }
    }

    /// Lets each publisher send what its window has room for.
    fn fill(&mut self) -> Result<(), ScenarioError> {
        let Topology {
            fleet, publishers, ..
        } = &mut self.topology;
        for (publisher, under_way) in publishers.iter_mut().zip(&mut self.under_way) {
            if under_way.len() >= self.in_flight || !fleet.is_flushed(publisher.link) {
                continue;
            }
            let now = Instant::now();
            let outbox = fleet.outbox(publisher.link);
            while under_way.len() < self.in_flight {
                publisher.publish(outbox, |stamp| stamp);
                under_way.push_back(now);
            }
            fleet.flush(publisher.link)?;
        }
        Ok(())
    }

    /// Records the messages that were confirmed since the last call, and says whether any was.
    fn confirm(&mut self) -> bool {
        let now = Instant::now();
        let before = self.times.count();
        let Topology {
            fleet, publishers, ..
        } = &self.topology;
        for (publisher, under_way) in publishers.iter().zip(&mut self.under_way) {
            let confirmed = fleet.confirmed(publisher.link);
            let left = (publisher.probes + publisher.sent).saturating_sub(confirmed);
            while under_way.len() as u64 > left
                && let Some(sent) = under_way.pop_front()
            {
                self.times.record(nanoseconds(now - sent));
            }
        }
        self.times.count() > before
    }
}
