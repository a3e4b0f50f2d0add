//! Many clients that connect and subscribe at once, as after an outage.
//!
//! A connection counts from `connect` until it has got its first message: then it is there for its
//! user, whatever the protocol acknowledges on the way. So that a message is always near, a publisher
//! of its channel sends one after the other while somebody waits: a millisecond apart at first, later a
//! tenth of the time that the longest has waited. The figures are that much too large.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bystander::{Bystander, Stage, wait};
use super::cpu_meter::{CpuMeter, beyond};
use super::topology::{STALL, Shape, Topology, session_number};
use super::{ScenarioError, Target};
use crate::adapter::Role;
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, FleetError, LinkId};
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally};

/// Connections that share a channel, with a publisher and one subscriber that are there already.
const PER_CHANNEL: usize = 20;
/// Bytes of the messages that are waited for.
const PAYLOAD: usize = 16;
/// Between two messages while somebody waits, at least.
const TICK: Duration = Duration::from_millis(1);
/// So many messages are sent in the time that the longest has waited.
const TICKS_PER_WAIT: u32 = 10;
/// Connections served before messages are sent again.
const TURN_CONNECTIONS: usize = 32;
/// How long the bystander is watched before.
const BEFORE: Duration = Duration::from_secs(1);
/// Reasons for failures that are kept.
const REASONS: usize = 3;

/// Connections all at once, with a bystander.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectStorm {
    pub(crate) connections: usize,
    /// Connections at a time that have not got their first message.
    pub(crate) in_flight: usize,
    /// Messages a second on the channel of a bystander.
    pub(crate) bystander_rate: f64,
}

impl Default for ConnectStorm {
    fn default() -> Self {
        Self {
            connections: 2000,
            in_flight: 50,
            bystander_rate: 1000.0,
        }
    }
}

/// The result of connections all at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StormOutcome {
    /// Connections that got a message.
    pub(crate) connected: u64,
    /// Connections that failed or got no message.
    pub(crate) failed: u64,
    /// The first few reasons for failures.
    pub(crate) reasons: Vec<String>,
    /// Time from the first `connect` until the last has got its message or failed.
    pub(crate) seconds: f64,
    /// Times from `connect` to the first message, of each connection that got one.
    pub(crate) connect: Distribution,
    /// The bystander's latencies in the second before the storm.
    pub(crate) bystander_before: Distribution,
    /// The bystander's latencies during the storm.
    pub(crate) bystander_during: Distribution,
    /// This program's lag for the bystander during the storm.
    pub(crate) bystander_lag: Distribution,
    /// The bystander's deliveries.
    pub(crate) tally: Tally,
    /// The broker's CPU time while the others connected; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of the broker in the second before, with nothing but the bystander.
    pub(crate) server_cpu_before: Option<CpuTime>,
    /// How long that second was.
    pub(crate) seconds_before: f64,
    /// This program's CPU time while the others connected.
    pub(crate) tool_cpu: CpuTime,
}

impl StormOutcome {
    /// Returns the broker's CPU time in nanoseconds for each connection, without what the bystander takes.
    pub(crate) fn server_cpu_per_connection(&self) -> Option<f64> {
        let (during, before) = self.server_cpu.zip(self.server_cpu_before)?;
        let storm = beyond((during, self.seconds), (before, self.seconds_before));
        Some(storm / self.connected.max(1) as f64)
    }
}

impl ConnectStorm {
    /// Connects to `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached at all, or lets go of those who were there before. A connection
    /// of the storm that fails is no error but in the outcome.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<StormOutcome, ScenarioError> {
        let adapter = broker.adapter(PAYLOAD, &target.keyring);
        let fleet = Fleet::new(target.addr, adapter.as_ref(), PAYLOAD, interrupt)?;
        let shape = Shape {
            channels: self.connections.div_ceil(PER_CHANNEL),
            ..Shape::single(PAYLOAD)
        };
        let mut storm = Storm::over(Topology::assemble(fleet, shape)?);
        let bystander = Bystander {
            broker,
            target,
            rate: self.bystander_rate,
            before: BEFORE,
            interrupt,
        };
        let load = |stages: &Receiver<Stage>| {
            wait(stages, Stage::Before)?;
            let (quiet, start) = (CpuMeter::start(target)?, Instant::now());
            wait(stages, Stage::Ready)?;
            let seconds_before = start.elapsed().as_secs_f64();
            let before = quiet.stop(0)?;
            let meter = CpuMeter::start(target)?;
            let seconds = storm.blow(self)?.as_secs_f64();
            let cost = meter.stop(storm.connect.count())?;
            Ok((seconds, cost, before, seconds_before))
        };
        let ((seconds, cost, before, seconds_before), seen) = bystander.beside(load)?;
        let connected = storm.connect.count();
        Ok(StormOutcome {
            connected,
            failed: self.connections as u64 - connected,
            reasons: storm.reasons,
            seconds,
            connect: storm.connect,
            bystander_before: seen.before,
            bystander_during: seen.during,
            bystander_lag: seen.lag,
            tally: seen.tally,
            server_cpu: cost.server,
            server_cpu_before: before.server,
            seconds_before,
            tool_cpu: cost.tool,
        })
    }
}

/// Connections that have not got a message yet, and those who send them one.
struct Storm<'a> {
    topology: Topology<'a, Stamp>,
    /// Connections that wait for their first message.
    waiting: BTreeMap<LinkId, Waiting>,
    /// When each channel's next message is due.
    next_tick: Vec<Instant>,
    connect: Distribution,
    reasons: Vec<String>,
}

/// A connection that waits for its first message.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    channel: usize,
    since: Instant,
}

impl<'a> Storm<'a> {
    fn over(mut topology: Topology<'a, Stamp>) -> Self {
        topology.fleet.survive_failures();
        topology.fleet.limit_turns(TURN_CONNECTIONS);
        Self {
            next_tick: vec![Instant::now(); topology.publishers.len()],
            topology,
            waiting: BTreeMap::new(),
            connect: Distribution::new(),
            reasons: Vec::new(),
        }
    }

    /// Opens all connections, waits until each has got a message or failed, and says how long that
    /// took. When nothing comes for [`STALL`], those that wait have failed.
    fn blow(&mut self, load: &ConnectStorm) -> Result<Duration, ScenarioError> {
        let start = Instant::now();
        let mut opened = 0;
        let mut last = start;
        while opened < load.connections || !self.waiting.is_empty() {
            while opened < load.connections && self.waiting.len() < load.in_flight {
                self.open(opened / PER_CHANNEL)?;
                opened += 1;
            }
            self.tick()?;
            let before = self.waiting.len();
            self.receive()?;
            self.give_up_failed()?;
            if self.waiting.len() < before {
                last = Instant::now();
            } else if last.elapsed() > STALL {
                let waiting = self.waiting.len();
                self.reason(format!(
                    "{waiting} got no message within {} s",
                    STALL.as_secs()
                ));
                break;
            }
        }
        Ok(last - start)
    }

    fn open(&mut self, channel: usize) -> Result<(), ScenarioError> {
        let since = Instant::now();
        let name = self.topology.channel(channel).to_owned();
        let opened = self
            .topology
            .fleet
            .open_at_once(Role::Subscriber, session_number(), &name);
        match opened {
            Ok((link, _)) => {
                self.waiting.insert(link, Waiting { channel, since });
                Ok(())
            }
            Err(FleetError::Interrupted) => Err(FleetError::Interrupted.into()),
            Err(error) => {
                self.reason(error.to_string());
                Ok(())
            }
        }
    }

    /// Sends a message on each channel where somebody waits and the last was long enough ago.
    fn tick(&mut self) -> Result<(), ScenarioError> {
        let now = Instant::now();
        // The first of a channel has waited longest: links are in the order they were opened.
        let mut done = None;
        for waiting in self.waiting.values() {
            if done == Some(waiting.channel) || self.next_tick[waiting.channel] > now {
                continue;
            }
            done = Some(waiting.channel);
            let pause = (now - waiting.since) / TICKS_PER_WAIT;
            self.next_tick[waiting.channel] = now + pause.max(TICK);
            let publisher = &mut self.topology.publishers[waiting.channel];
            publisher.probe(self.topology.fleet.outbox(publisher.link), Stamp::probe());
            self.topology.fleet.flush(publisher.link)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), ScenarioError> {
        self.topology.fleet.wake_after(TICK)?;
        let (waiting, connect) = (&mut self.waiting, &mut self.connect);
        self.topology.fleet.turn(TICK, |link, _| {
            if let Some(there) = waiting.remove(&link) {
                connect.record(nanoseconds(there.since.elapsed()));
            }
        })?;
        Ok(())
    }

    /// Lets those whose connection failed wait no more. One of those who were there before is an error.
    fn give_up_failed(&mut self) -> Result<(), ScenarioError> {
        let there_before = self.topology.subscribers.len() + self.topology.publishers.len();
        for (link, error) in self.topology.fleet.take_failures() {
            if link.0 < there_before {
                return Err(error.into());
            }
            let why = match self.waiting.remove(&link) {
                Some(_) => error.to_string(),
                None => format!("after its first message: {error}"),
            };
            self.reason(why);
        }
        Ok(())
    }

    fn reason(&mut self, why: String) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }
}
