//! Throughput in a windowed closed loop: publishers send as fast as subscribers get.
//!
//! Each publisher has a window: it sends while the slowest subscriber of its channel is less than
//! the window behind. So nothing is lost to a broker's limit on slow consumers, and what is
//! measured is a rate that the broker delivers, not one it accepts. `Unbatched` is a window of one
//! message: the next is sent when all subscribers have the one before, so the broker never finds
//! two messages of a publisher in one read.
//!
//! The measured window begins and ends with nothing under way, so the broker's CPU time in it
//! belongs to the messages in it, all of them.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cpu_meter::CpuMeter;
use super::latency::Phases;
use super::publisher::Publisher;
use super::topology::{STALL, Shape, Subscriber, TURN, Topology, WRITE_LEN};
use super::zipf::{SharedWindow, Zipf};
use super::{ScenarioError, Target};
use crate::broker::Broker;
use crate::broker::Client;
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally};

/// Payload bytes that a pipelined publisher has under way, unless four messages are more.
pub(crate) const DEFAULT_WINDOW: usize = 256 << 10;

/// How publishers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Many messages in a write, as many as the window has room for.
    Pipelined,
    /// One message in a write, the next after all subscribers have it.
    Unbatched,
}

/// Messages to subscribers in a windowed closed loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fanout {
    /// Number in each channel.
    pub(crate) publishers: u16,
    /// Number in each channel.
    pub(crate) subscribers: usize,
    /// `true` if publishers and subscribers are the same clients: each message goes to all others.
    pub(crate) members: bool,
    pub(crate) channels: usize,
    /// Channel k gets messages in proportion to 1 / k^s, with one window for all; `None` when each
    /// channel has its own.
    pub(crate) zipf: Option<f64>,
    /// The seed of the random numbers that draw the channel of each message.
    pub(crate) seed: u64,
    /// Bytes of each message.
    pub(crate) payload: usize,
    pub(crate) mode: Mode,
    /// Payload bytes that a pipelined publisher has under way, at least four messages.
    pub(crate) window: usize,
    /// The client that speaks with the broker.
    pub(crate) client: Client,
}

impl Default for Fanout {
    fn default() -> Self {
        Self {
            publishers: 1,
            subscribers: 10,
            members: false,
            channels: 1,
            zipf: None,
            seed: 1,
            payload: 64,
            mode: Mode::Pipelined,
            window: DEFAULT_WINDOW,
            client: Client::Lean,
        }
    }
}

impl Fanout {
    /// Returns how many deliveries are under way at most.
    pub(super) fn deliveries_under_way(&self) -> usize {
        let messages = match self.mode {
            Mode::Pipelined => (self.window / self.payload).max(4),
            Mode::Unbatched => 1,
        };
        let windows = if self.zipf.is_some() {
            1
        } else {
            self.channels
        };
        windows * usize::from(self.publishers) * messages * self.subscribers
    }
}

/// When to stop sending.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Amount {
    /// Stops after so many seconds.
    Seconds(f64),
    /// Stops after so many messages of each publisher.
    Messages(u64),
}

/// How long to load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// Load before anything is measured.
    pub(crate) warm_up_seconds: f64,
    /// The measured time or number of messages.
    pub(crate) measured: Amount,
}

impl Timing {
    /// Returns the phases of a load that is given in time; one given in messages has no time.
    pub(crate) fn phases(self) -> Phases {
        let measured = match self.measured {
            Amount::Seconds(seconds) => seconds,
            Amount::Messages(_) => 0.0,
        };
        Phases {
            warm_up: Duration::from_secs_f64(self.warm_up_seconds),
            measured: Duration::from_secs_f64(measured),
        }
    }
}

/// The result of a closed loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FanoutOutcome {
    /// Messages published.
    pub(crate) messages: u64,
    /// Time from the first publish to the last delivery.
    pub(crate) seconds: f64,
    /// Deliveries, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
}

impl Fanout {
    /// Loads `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection, or loses messages before anything
    /// is measured. Loss while measuring is no error but in the outcome's tally.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        timing: Timing,
        interrupt: &Interrupt,
    ) -> Result<FanoutOutcome, ScenarioError> {
        if self.client == Client::Library {
            return self.run_by_library(broker, target, timing, interrupt);
        }
        let adapter = broker.adapter(self.payload, &target.keyring);
        let mut fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        fleet.spread(&target.others);
        let shape = self.shape();
        let mut run = FanoutRun {
            topology: Topology::assemble(fleet, shape)?,
            window: self.window_messages(),
            shared: self.zipf.map(|exponent| {
                let zipf = Zipf::new(self.channels, exponent);
                SharedWindow::new(zipf, self.seed, self.window_messages())
            }),
            publishers: usize::from(self.publishers),
            subscribers: self.subscribers,
            touched: vec![true; self.channels],
            busy: vec![false; self.channels],
        };
        run.send(Amount::Seconds(timing.warm_up_seconds))?;
        let before = run.topology.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let sent_before = run.sent();
        let meter = CpuMeter::start(target)?;
        let seconds = run.send(timing.measured)?.as_secs_f64();
        let cost = meter.stop(run.topology.tally().since(&before).delivered)?;
        run.topology.linger()?;
        let tally = run.topology.tally().since(&before);
        Ok(FanoutOutcome {
            messages: run.sent() - sent_before,
            seconds,
            tally,
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }

    /// Returns the connections that the load takes.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            channels: self.channels,
            publishers: self.publishers,
            subscribers: self.subscribers,
            members: self.members,
            is_confirmed: false,
            publishers_at: None,
            payload: self.payload,
        }
    }

    /// Returns the window in messages.
    pub(super) fn window_messages(&self) -> u64 {
        match self.mode {
            Mode::Pipelined => (self.window / self.payload).max(4) as u64,
            Mode::Unbatched => 1,
        }
    }
}

struct FanoutRun<'a> {
    topology: Topology<'a, Stamp>,
    /// The window in messages.
    window: u64,
    /// A window for all channels together, instead of one for each publisher.
    shared: Option<SharedWindow>,
    /// Number in each channel.
    publishers: usize,
    /// Number in each channel.
    subscribers: usize,
    /// By channel: something came since its publishers were last looked at.
    touched: Vec<bool>,
    /// By channel: something is on its way.
    busy: Vec<bool>,
}

impl FanoutRun<'_> {
    /// Messages of all publishers so far.
    fn sent(&self) -> u64 {
        self.topology.publishers.iter().map(|it| it.sent).sum()
    }

    /// Sends `amount`, waits until it is delivered, and says how long that took. Deliveries that
    /// do not come within [`STALL`] are given up.
    fn send(&mut self, amount: Amount) -> Result<Duration, ScenarioError> {
        let start = Instant::now();
        let mut limits: Vec<u64> = self
            .topology
            .publishers
            .iter()
            .map(|sender| sender.sent)
            .collect();
        let end = match amount {
            Amount::Seconds(seconds) => Some(start + Duration::from_secs_f64(seconds)),
            Amount::Messages(_) => None,
        };
        for limit in &mut limits {
            *limit = match amount {
                Amount::Seconds(_) => u64::MAX,
                Amount::Messages(messages) => limit.saturating_add(messages),
            };
        }
        let mut left = match amount {
            Amount::Seconds(_) => u64::MAX,
            Amount::Messages(messages) => messages.saturating_mul(limits.len() as u64),
        };
        let mut last_delivery = start;
        self.touched.fill(true);
        loop {
            if end.is_some_and(|end| Instant::now() >= end) {
                limits.fill(0);
                left = 0;
            }
            let is_busy = match &mut self.shared {
                Some(shared) => shared.publish(&mut self.topology, &mut self.touched, &mut left)?,
                None => self.publish(&limits)?,
            };
            if !is_busy {
                return Ok(last_delivery - start);
            }
            self.topology.turn(TURN, &mut self.touched)?;
            if self.touched.contains(&true) {
                last_delivery = Instant::now();
            } else if last_delivery.elapsed() > STALL {
                return Ok(last_delivery - start);
            }
        }
    }

    /// Lets the publishers of touched channels send what their window has room for, each up to its
    /// limit. Says whether something is under way.
    fn publish(&mut self, limits: &[u64]) -> Result<bool, ScenarioError> {
        let Topology {
            fleet,
            subscribers,
            publishers,
            ..
        } = &mut self.topology;
        let publishers = publishers
            .chunks_mut(self.publishers)
            .zip(limits.chunks(self.publishers));
        let channels = subscribers.chunks(self.subscribers).zip(publishers);
        for (channel, (subscribers, (publishers, limits))) in channels.enumerate() {
            if !std::mem::take(&mut self.touched[channel]) {
                continue;
            }
            self.busy[channel] = false;
            for (publisher, &limit) in publishers.iter_mut().zip(limits) {
                let acknowledged = slowest(subscribers, publisher.index);
                let end = limit.min(acknowledged.saturating_add(self.window));
                fill(fleet, publisher, end)?;
                self.busy[channel] |= acknowledged < publisher.sent;
            }
        }
        Ok(self.busy.contains(&true))
    }
}

/// Returns the number of a publisher's messages that every one of `subscribers` has.
fn slowest(subscribers: &[Subscriber], publisher: u16) -> u64 {
    let progress = |subscriber: &Subscriber| subscriber.verifier.progress(publisher.into());
    subscribers.iter().map(progress).min().unwrap_or_default()
}

/// Sends messages up to number `end`, as far as the socket takes them.
fn fill(
    fleet: &mut Fleet<'_, Stamp>,
    publisher: &mut Publisher,
    end: u64,
) -> Result<(), ScenarioError> {
    let batch = (WRITE_LEN / publisher.message_len()).max(1);
    while fleet.flush(publisher.link)? && publisher.sent < end {
        let outbox = fleet.outbox(publisher.link);
        for _ in 0..batch {
            if publisher.sent < end {
                publisher.publish(outbox, |stamp| stamp);
            }
        }
    }
    Ok(())
}
