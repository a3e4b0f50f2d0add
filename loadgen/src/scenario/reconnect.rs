//! Clients that are all cut off at once and come back, as after a restart of a proxy or an outage of the network.
//!
//! They are members of channels on which messages go on all the time. After the cut each connects again at its own
//! moment of a spread of time, and goes on from where it was if the broker can do that; over other brokers it subscribes
//! anew, and what was published meanwhile is lost. A client is back when it has all that it missed, and with brokers
//! that tell nothing when it has its first message. What the broker takes for that is its CPU time of the storm without
//! what the same messages took before, for as long. A bystander is measured before and meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rlimit::Resource;
use serde::{Deserialize, Serialize};

use super::bystander::{Bystander, Stage, has_reached};
use super::cpu_meter::{CpuMeter, beyond};
use super::topology::{STALL, Shape, TURN, Topology};
use super::{ScenarioError, Target};
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, LinkId};
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally};

/// Clients there are by default, where so many files may be open.
const CLIENTS: usize = 10_000;
/// Files that this program has open besides its clients' sockets.
const OTHER_FILES: usize = 300;
/// Connections served before clients come back and messages are sent again.
const TURN_CONNECTIONS: usize = 64;
/// Clients that come back before the others are served.
const BACK_AT_ONCE: usize = 64;
/// Reasons for failures that are kept.
const REASONS: usize = 3;
/// The seed of the order in which clients come back.
const SEED: u64 = 1;

/// Clients that are cut off and come back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReconnectStorm {
    /// Clients on all channels together, rounded up to the same number on each.
    pub(crate) clients: usize,
    pub(crate) channels: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// Messages a second on all channels together.
    pub(crate) rate: f64,
    /// Time in which all come back, in seconds.
    pub(crate) spread_seconds: f64,
    /// Messages a second on the channel of a bystander.
    pub(crate) bystander_rate: f64,
}

impl Default for ReconnectStorm {
    /// Returns the load with as many clients as this process may have files open, but no more than 10,000.
    fn default() -> Self {
        let files = rlimit::getrlimit(Resource::NOFILE).map_or(0, |(soft, _)| soft);
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        Self {
            clients: files.saturating_sub(OTHER_FILES).clamp(1, CLIENTS),
            channels: 100,
            payload: 64,
            rate: 100.0,
            spread_seconds: 10.0,
            bystander_rate: 1000.0,
        }
    }
}

/// The result of clients that were cut off and came back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReconnectOutcome {
    /// Clients that were cut off.
    pub(crate) clients: u64,
    /// Clients that came back.
    pub(crate) returned: u64,
    /// Clients that did not.
    pub(crate) failed: u64,
    /// The first few reasons for failures.
    pub(crate) reasons: Vec<String>,
    /// `true` if the broker gives those who come back what they missed. Otherwise that is lost, and no failure.
    pub(crate) resumes: bool,
    /// Clients that were told that they got all that they had missed.
    pub(crate) recovered: u64,
    /// Messages that were sent again to clients that came back, as the broker tells.
    pub(crate) replayed: u64,
    /// Time from the cut until the last was back or had failed.
    pub(crate) seconds: f64,
    /// Times from `connect` until a client had all that it missed; none where the broker does not resume.
    pub(crate) resume: Distribution,
    /// The bystander's latencies before the cut.
    pub(crate) bystander_before: Distribution,
    /// The bystander's latencies from the cut on.
    pub(crate) bystander_during: Distribution,
    /// This program's lag for the bystander from the cut on.
    pub(crate) bystander_lag: Distribution,
    /// The bystander's deliveries.
    pub(crate) bystander_tally: Tally,
    /// The clients' deliveries.
    pub(crate) tally: Tally,
    /// The broker's CPU time from the cut until all were back; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// The broker's CPU time before the cut.
    pub(crate) server_cpu_before: Option<CpuTime>,
    /// How long that was measured.
    pub(crate) seconds_before: f64,
    /// This program's CPU time from the cut until all were back.
    pub(crate) tool_cpu: CpuTime,
}

impl ReconnectOutcome {
    /// Returns the broker's CPU time in nanoseconds for each client that came back, without what the messages and the
    /// bystander take.
    pub(crate) fn server_cpu_per_client(&self) -> Option<f64> {
        let (during, before) = self.server_cpu.zip(self.server_cpu_before)?;
        let storm = beyond((during, self.seconds), (before, self.seconds_before));
        Some(storm / self.returned.max(1) as f64)
    }
}

impl ReconnectStorm {
    /// Returns how many messages of each channel a server must keep for those who come back.
    pub(super) fn kept_by(&self, broker: Broker) -> usize {
        if !broker.resumes() {
            // Who joins anew would get them all again.
            return 0;
        }
        let missed = self.rate / self.channels as f64 * self.spread_seconds;
        // As much again for a machine that is busy, and some for probes.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive and small
        let missed = (2.0 * missed) as usize;
        missed + 100
    }

    /// Returns how many clients there are.
    pub(crate) fn all_clients(&self) -> usize {
        self.channels * self.clients.div_ceil(self.channels)
    }

    /// Loads `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached, or lets go of a connection that is not coming back. A client that does not come
    /// back is no error but in the outcome.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<ReconnectOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload, &target.keyring);
        let mut fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        fleet.limit_turns(TURN_CONNECTIONS);
        let shape = Shape {
            channels: self.channels,
            subscribers: self.clients.div_ceil(self.channels),
            ..Shape::single(self.payload)
        };
        let mut storm = Storm::over(Topology::assemble(fleet, shape)?, self.rate);
        let bystander = Bystander {
            broker,
            target,
            rate: self.bystander_rate,
            before: Duration::from_secs_f64(self.spread_seconds),
            interrupt,
        };
        let load = |stages: &Receiver<Stage>| {
            storm.go_on_until(stages, Stage::Before)?;
            let (quiet, start) = (CpuMeter::start(target)?, Instant::now());
            storm.go_on_until(stages, Stage::Ready)?;
            let seconds_before = start.elapsed().as_secs_f64();
            let before = quiet.stop(0)?;
            let meter = CpuMeter::start(target)?;
            let seconds = storm.blow(self.spread_seconds)?.as_secs_f64();
            let cost = meter.stop(storm.returned)?;
            storm.settle()?;
            Ok((seconds, cost, before, seconds_before))
        };
        let ((seconds, cost, before, seconds_before), seen) = bystander.beside(load)?;
        let clients = storm.topology.subscribers.len() as u64;
        Ok(ReconnectOutcome {
            clients,
            returned: storm.returned,
            failed: clients - storm.returned,
            reasons: storm.reasons,
            resumes: broker.resumes(),
            recovered: storm.recovered,
            replayed: storm.replayed,
            seconds,
            resume: storm.resume,
            bystander_before: seen.before,
            bystander_during: seen.during,
            bystander_lag: seen.lag,
            bystander_tally: seen.tally,
            tally: storm.topology.tally(),
            server_cpu: cost.server,
            server_cpu_before: before.server,
            seconds_before,
            tool_cpu: cost.tool,
        })
    }
}

/// Clients, those of them that are not back, and those who publish to them.
struct Storm<'a> {
    topology: Topology<'a, Stamp>,
    /// Between two messages, whichever their channel.
    interval: Duration,
    next_message: Instant,
    /// The publisher whose turn it is.
    publisher: usize,
    /// Clients that have connected again and are not back, with the moment at which they began.
    waiting: BTreeMap<usize, Instant>,
    /// Clients that got a message in the last turn.
    heard: Vec<usize>,
    returned: u64,
    recovered: u64,
    replayed: u64,
    resume: Distribution,
    reasons: Vec<String>,
}

impl<'a> Storm<'a> {
    fn over(mut topology: Topology<'a, Stamp>, rate: f64) -> Self {
        topology.fleet.survive_failures();
        Self {
            topology,
            interval: Duration::from_secs_f64(1.0 / rate),
            next_message: Instant::now(),
            publisher: 0,
            waiting: BTreeMap::new(),
            heard: Vec::new(),
            returned: 0,
            recovered: 0,
            replayed: 0,
            resume: Distribution::new(),
            reasons: Vec::new(),
        }
    }

    /// Publishes and receives until the bystander is at `stage`.
    fn go_on_until(&mut self, stages: &Receiver<Stage>, stage: Stage) -> Result<(), ScenarioError> {
        while !has_reached(stages, stage)? {
            self.step(TURN)?;
        }
        Ok(())
    }

    /// Cuts all clients off, lets them come back within so many seconds, waits until they are back or have failed, and
    /// says how long that took.
    fn blow(&mut self, spread_seconds: f64) -> Result<Duration, ScenarioError> {
        let mut order: Vec<usize> = (0..self.topology.subscribers.len()).collect();
        fastrand::Rng::with_seed(SEED).shuffle(&mut order);
        let pause = Duration::from_secs_f64(spread_seconds / order.len() as f64);
        let start = Instant::now();
        for &client in &order {
            self.topology.fleet.close(LinkId(client));
        }
        let mut due = start;
        let mut coming = order.into_iter().peekable();
        let mut last = start;
        while coming.peek().is_some() || !self.waiting.is_empty() {
            // What is due before a client comes back is what it has missed.
            self.publish_due()?;
            for _ in 0..BACK_AT_ONCE {
                if due > Instant::now() {
                    break;
                }
                let Some(client) = coming.next() else { break };
                self.come_back(client)?;
                due += pause;
                last = Instant::now();
            }
            let wait = match coming.peek() {
                Some(_) => due.saturating_duration_since(Instant::now()),
                None => TURN,
            };
            self.step(wait)?;
            if self.welcome_back() {
                last = Instant::now();
            } else if last.elapsed() > STALL {
                let (waiting, seconds) = (self.waiting.len(), STALL.as_secs());
                self.reason(format!("{waiting} were not back within {seconds} s"));
                break;
            }
        }
        Ok(last - start)
    }

    fn come_back(&mut self, client: usize) -> Result<(), ScenarioError> {
        match self.topology.reconnect(client) {
            Ok(()) => {
                self.waiting.insert(client, Instant::now());
                Ok(())
            }
            Err(error) if error.is_interrupt() => Err(error),
            Err(error) => {
                self.reason(error.to_string());
                Ok(())
            }
        }
    }

    /// Lets those wait no more who are back, and says whether any is.
    fn welcome_back(&mut self) -> bool {
        let fleet = &self.topology.fleet;
        let back: Vec<usize> = if fleet.counts_positions() {
            let is_back = |client: &usize| fleet.positions(LinkId(*client)).is_caught_up();
            self.waiting.keys().copied().filter(is_back).collect()
        } else {
            std::mem::take(&mut self.heard)
        };
        let before = self.returned;
        for client in back {
            let Some(since) = self.waiting.remove(&client) else {
                continue;
            };
            self.returned += 1;
            if let Some(welcome) = fleet.positions(LinkId(client)).welcome() {
                self.resume.record(nanoseconds(since.elapsed()));
                self.recovered += u64::from(welcome.recovered);
                self.replayed += welcome.replay;
            }
        }
        self.returned > before
    }

    fn publish_due(&mut self) -> Result<(), ScenarioError> {
        while self.next_message <= Instant::now() {
            self.publish(self.publisher)?;
            self.publisher = (self.publisher + 1) % self.topology.publishers.len();
            self.next_message += self.interval;
        }
        Ok(())
    }

    /// Publishes what is due, and receives for `wait` at most.
    fn step(&mut self, wait: Duration) -> Result<(), ScenarioError> {
        self.publish_due()?;
        let wait = wait.min(self.next_message.saturating_duration_since(Instant::now()));
        self.topology.fleet.wake_after(wait)?;
        self.heard.clear();
        let (heard, subscribers) = (&mut self.heard, &mut self.topology.subscribers);
        self.topology.fleet.turn(wait, |LinkId(place), stamp| {
            if let Some(client) = subscribers.get_mut(place) {
                client.verifier.check(stamp);
                heard.push(place);
            }
        })?;
        self.take_failures()
    }

    fn publish(&mut self, which: usize) -> Result<(), ScenarioError> {
        let publisher = &mut self.topology.publishers[which];
        let link = publisher.link;
        publisher.publish(self.topology.fleet.outbox(link), |stamp| stamp);
        self.topology.fleet.flush(link)?;
        Ok(())
    }

    /// Lets those wait no more whose connection failed on their way back. Any other that fails is an error.
    fn take_failures(&mut self) -> Result<(), ScenarioError> {
        for (LinkId(place), error) in self.topology.fleet.take_failures() {
            if self.waiting.remove(&place).is_none() {
                return Err(error.into());
            }
            self.reason(error.to_string());
        }
        Ok(())
    }

    /// Publishes a last message on each channel, and receives until all have it.
    fn settle(&mut self) -> Result<(), ScenarioError> {
        for which in 0..self.topology.publishers.len() {
            self.publish(which)?;
        }
        // None of those on a schedule comes behind it.
        self.interval = STALL * 10;
        self.next_message = Instant::now() + self.interval;
        let mut last = Instant::now();
        while !self.topology.is_idle() && last.elapsed() < STALL {
            self.step(TURN)?;
            if !self.heard.is_empty() {
                last = Instant::now();
            }
        }
        self.topology.linger()
    }

    fn reason(&mut self, why: String) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }
}
