//! One subscriber that stops reading: what that does to the others, and to the broker.
//!
//! A publisher sends at a given rate, in an open loop, to some subscribers and to one more with a small
//! receive buffer. First all read; then that one stops, and stays connected. The others' latencies
//! before and after are two histograms. Meanwhile the broker's memory is read ten times a second, and
//! the kernel's table of sockets tells when the broker has closed its end of the slow connection: the
//! one who does not read cannot know.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cpu_meter::CpuMeter;
use super::lag::{LagBound, lag_objection};
use super::latency::SUSTAINED;
use super::open_loop::OpenLoop;
use super::recorder::Recorder;
use super::timetable::{Arrivals, Shares, Timetable};
use super::topology::{HEAR_DEADLINE, PROBE_EVERY, Shape, Topology, session_number};
use super::{ScenarioError, Target};
use crate::adapter::Role;
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, LinkId};
use crate::interrupt::Interrupt;
use crate::payload::{PayloadHeader as _, TimedStamp};
use crate::process::{CpuTime, Memory, PeerEnd};
use crate::verify::Tally;

/// Time of load before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Bytes that the slow one's kernel takes for it, about.
const RECEIVE_BUFFER: usize = 4096;
/// Between two looks at the broker.
const LOOK: Duration = Duration::from_millis(100);

/// Messages to several subscribers, of which one stops reading.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SlowReader {
    /// Subscribers that go on reading.
    pub(crate) subscribers: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// Messages a second.
    pub(crate) rate: f64,
    /// How long all read, in seconds.
    pub(crate) before_seconds: f64,
    /// How long the slow one does not, in seconds.
    pub(crate) after_seconds: f64,
    /// How late this program may send while all read.
    pub(crate) lag_bound: LagBound,
}

impl Default for SlowReader {
    fn default() -> Self {
        Self {
            subscribers: 5,
            payload: 4096,
            // 10 MB a second: the limits that brokers have by default are reached in time.
            rate: 2500.0,
            before_seconds: 2.0,
            after_seconds: 8.0,
            lag_bound: LagBound::default(),
        }
    }
}

/// A look at the broker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryPoint {
    /// Since the slow one stopped.
    pub(crate) seconds: f64,
    pub(crate) rss_bytes: u64,
}

/// The result beside a subscriber that stops reading. All latencies are those of the subscribers that read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SlowReaderOutcome {
    /// Latencies while all read.
    pub(crate) before: Distribution,
    /// Latencies after one has stopped.
    pub(crate) after: Distribution,
    /// This program's lag while all read.
    pub(crate) lag_before: Distribution,
    /// This program's lag after one has stopped; a broker that holds publishers back is in it too.
    pub(crate) lag_after: Distribution,
    /// Messages a second that came to all readers in time, while all read.
    pub(crate) achieved_before: f64,
    /// Messages a second that came to all readers in time after one has stopped.
    pub(crate) achieved_after: f64,
    /// Messages that could not be sent after one had stopped.
    pub(crate) unsent: u64,
    /// Seconds after its stop until the broker let the slow one go; `None` when it did not, or is on
    /// another machine.
    pub(crate) let_go_seconds: Option<f64>,
    /// Resident memory of the broker from the stop on; empty when its process is not known.
    pub(crate) memory: Vec<MemoryPoint>,
    /// Why these figures do not count; empty when they do.
    pub(crate) invalid: Vec<String>,
    /// `true` if the user stopped it. Messages that were under way then count as lost.
    pub(crate) partial: bool,
    /// Deliveries to those who read, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
}

impl SlowReaderOutcome {
    /// Bytes by which the broker's resident memory grew after the stop, at most.
    pub(crate) fn memory_growth(&self) -> Option<u64> {
        let first = self.memory.first()?.rss_bytes;
        let most = self.memory.iter().map(|point| point.rss_bytes).max()?;
        Some(most - first)
    }
}

impl SlowReader {
    /// Loads `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection that is read from, or loses messages
    /// before anything is measured. Loss while measuring is no error but in the outcome's tally. A
    /// user's stop is an error only before the measurement.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<SlowReaderOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload, &target.keyring);
        let fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        let shape = Shape {
            subscribers: self.subscribers,
            ..Shape::single(self.payload)
        };
        let mut topology = Topology::assemble(fleet, shape)?;
        let (slow, local) = admit_slow(&mut topology)?;
        let mut open_loop = OpenLoop::new(topology);
        self.phase(&mut open_loop, WARM_UP)?;
        let tally_before = open_loop.topology().tally();
        if !tally_before.is_clean() {
            return Err(ScenarioError::WarmUp(tally_before));
        }
        let meter = CpuMeter::start(target)?;
        let before = self.phase(&mut open_loop, Duration::from_secs_f64(self.before_seconds))?;
        open_loop.topology().fleet.ignore(slow)?;
        let after_time = Duration::from_secs_f64(self.after_seconds);
        let (after, sight) = observed(target, local, || self.phase(&mut open_loop, after_time));
        let after = after?;
        let cost = meter.stop(before.recorder.latency.count())?;
        let mut partial = before.interrupted || after.interrupted;
        if !partial {
            partial = ScenarioError::interrupted(open_loop.topology().linger())?.is_none();
        }
        let mut outcome = SlowReaderOutcome {
            achieved_before: self.achieved(&before.recorder, self.before_seconds),
            achieved_after: self.achieved(&after.recorder, self.after_seconds),
            before: before.recorder.latency,
            after: after.recorder.latency,
            lag_before: before.recorder.lag,
            lag_after: after.recorder.lag,
            unsent: after.unsent,
            let_go_seconds: sight.let_go_seconds,
            memory: sight.memory,
            invalid: Vec::new(),
            partial,
            tally: open_loop.topology().tally().since(&tally_before),
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        };
        if !partial {
            outcome.invalid = self.objections(&outcome);
        }
        Ok(outcome)
    }

    fn phase(&self, open_loop: &mut OpenLoop<'_>, time: Duration) -> Result<Phase, ScenarioError> {
        let (even, end) = (Shares::Even(1), nanoseconds(time));
        let table = Timetable::new(Arrivals::Fixed, self.rate, &even, 1, end);
        let mut recorder = Recorder::start(time, None);
        let unsent = ScenarioError::interrupted(open_loop.run(table, time, &mut recorder))?;
        Ok(Phase {
            recorder,
            interrupted: unsent.is_none(),
            unsent: unsent.unwrap_or_default(),
        })
    }

    fn achieved(&self, recorder: &Recorder, seconds: f64) -> f64 {
        recorder.in_time as f64 / self.subscribers as f64 / seconds
    }

    /// Returns why an outcome does not count: what goes wrong before the stop. What does afterwards is what
    /// was looked for.
    fn objections(&self, outcome: &SlowReaderOutcome) -> Vec<String> {
        let mut objections = Vec::new();
        objections.extend(lag_objection(&outcome.lag_before, self.lag_bound));
        if outcome.achieved_before < SUSTAINED * self.rate {
            objections.push(format!(
                "the rate was not met while all were reading: {:.0} of {:.0} messages/s were \
                 delivered in time",
                outcome.achieved_before, self.rate
            ));
        }
        objections
    }
}

/// A phase that was brought to its end, or stopped by the user.
struct Phase {
    recorder: Recorder,
    unsent: u64,
    interrupted: bool,
}

/// Connects the one that will be slow, and waits until it hears the channel. Its deliveries are not
/// counted.
fn admit_slow(
    topology: &mut Topology<'_, TimedStamp>,
) -> Result<(LinkId, SocketAddr), ScenarioError> {
    let name = topology.channel(0).to_owned();
    let number = session_number();
    let opened = topology
        .fleet
        .open_narrow(Role::Subscriber, number, &name, RECEIVE_BUFFER)?;
    let publisher = &mut topology.publishers[0];
    let start = Instant::now();
    let mut is_there = false;
    while !is_there {
        if start.elapsed() > HEAR_DEADLINE {
            return Err(ScenarioError::Deaf {
                deaf: 1,
                all: 1,
                seconds: HEAR_DEADLINE.as_secs(),
            });
        }
        publisher.probe(topology.fleet.outbox(publisher.link), TimedStamp::probe());
        topology.fleet.flush(publisher.link)?;
        let next = Instant::now() + PROBE_EVERY;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            topology
                .fleet
                .turn(left, |link, _| is_there |= link == opened.0)?;
        }
    }
    Ok(opened)
}

/// Readings of the broker's memory and of its end of the slow connection.
#[derive(Debug, Default)]
struct Sight {
    let_go_seconds: Option<f64>,
    memory: Vec<MemoryPoint>,
}

/// Does `work` while the broker is looked at.
fn observed<T>(target: &Target, slow: SocketAddr, work: impl FnOnce() -> T) -> (T, Sight) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(target, slow, &done));
        let result = work();
        done.store(true, Ordering::Relaxed);
        match watching.join() {
            Ok(sight) => (result, sight),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn watch(target: &Target, slow: SocketAddr, done: &AtomicBool) -> Sight {
    let start = Instant::now();
    let end = PeerEnd::of(target.addr, slow);
    // The table has nothing about a broker on another machine.
    let is_here = end.is_open() == Some(true);
    let mut sight = Sight::default();
    loop {
        let seconds = start.elapsed().as_secs_f64();
        // A broker that has ended is told by its connections.
        if let Ok(rss_bytes) = Memory::resident(&target.pids) {
            sight.memory.push(MemoryPoint { seconds, rss_bytes });
        }
        if is_here && sight.let_go_seconds.is_none() && end.is_open() != Some(true) {
            sight.let_go_seconds = Some(seconds);
        }
        if done.load(Ordering::Relaxed) {
            return sight;
        }
        std::thread::sleep(LOOK);
    }
}
