//! Sends what is due when it is due, and receives in between.
//!
//! One thread does both, so that the load takes one core at most: a turn serves few connections
//! before the schedule is looked at again. The thread sleeps until shortly before the next message
//! and then polls without waiting, because being woken takes longer than many brokers do. A
//! publisher whose socket is full holds up nobody else, and its messages stay due when they were.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ScenarioError;
use super::publisher::Publisher;
use super::recorder::Recorder;
use super::timetable::{Due, Timetable};
use super::topology::{STALL, TURN, Topology, WRITE_LEN};
use crate::distribution::nanoseconds;
use crate::payload::TimedStamp;

/// Connections served before the schedule is looked at again.
const TURN_CONNECTIONS: usize = 16;
/// How long before a message is due the thread stops sleeping: about the time of a wake-up.
const POLL_AHEAD: Duration = Duration::from_micros(60);
/// How long after the end of a phase messages that are overdue are still sent.
const GRACE: Duration = Duration::from_secs(1);

/// Publishers on a schedule, and their subscribers.
pub(super) struct OpenLoop<'a> {
    topology: Topology<'a, TimedStamp>,
    /// Publishers whose socket is full.
    blocked: Vec<usize>,
    /// Publishers with something new in their outbox.
    filled: Vec<usize>,
    /// Ends a phase before its time when set.
    stop: Option<&'a AtomicBool>,
}

impl<'a> OpenLoop<'a> {
    pub(super) fn new(mut topology: Topology<'a, TimedStamp>) -> Self {
        topology.fleet.limit_turns(TURN_CONNECTIONS);
        Self {
            topology,
            blocked: Vec::new(),
            filled: Vec::new(),
            stop: None,
        }
    }

    /// Makes the loop end once `stop` is set.
    pub(super) fn until(self, stop: &'a AtomicBool) -> Self {
        Self {
            stop: Some(stop),
            ..self
        }
    }

    /// Returns the connections and their accounts.
    pub(super) fn topology(&mut self) -> &mut Topology<'a, TimedStamp> {
        &mut self.topology
    }

    /// Sends what `table` has, waits until it is delivered, and returns how many messages could
    /// not be sent. `recorder` has what happened when this fails, too.
    ///
    /// # Errors
    /// A connection fails, or the user asked to stop.
    pub(super) fn run(
        &mut self,
        mut table: Timetable,
        length: Duration,
        recorder: &mut Recorder,
    ) -> Result<u64, ScenarioError> {
        let give_up = nanoseconds(length + GRACE);
        loop {
            let now = recorder.now();
            recorder.tick(now);
            self.send_due(&mut table, now, recorder)?;
            let is_stopped = self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if table.is_empty() || now > give_up || is_stopped {
                break;
            }
            let wait = match table.next_at() {
                Some(at) => Duration::from_nanos(at.saturating_sub(recorder.now())),
                None => TURN,
            };
            self.receive(wait.min(TURN), recorder)?;
            self.unblock(&mut table);
        }
        let unsent = table.into_remaining();
        self.drain(recorder)?;
        Ok(unsent)
    }

    /// Sends messages that are due, as many as fit one write.
    fn send_due(
        &mut self,
        table: &mut Timetable,
        now: u64,
        recorder: &mut Recorder,
    ) -> Result<(), ScenarioError> {
        let mut written = 0;
        while written < WRITE_LEN
            && let Some(Due { at, publisher: who }) = table.take(now)
        {
            let publisher = &mut self.topology.publishers[who];
            let outbox = self.topology.fleet.outbox(publisher.link);
            publisher.publish(outbox, |stamp| TimedStamp {
                stamp,
                intended: at,
                sent: now,
            });
            written += publisher.message_len();
            recorder.sent(at, now);
            if !self.filled.contains(&who) {
                self.filled.push(who);
            }
        }
        for who in self.filled.drain(..) {
            if !self
                .topology
                .fleet
                .flush(self.topology.publishers[who].link)?
            {
                table.hold(who);
                self.blocked.push(who);
            }
        }
        Ok(())
    }

    /// Serves connections, for `wait` at most.
    fn receive(&mut self, wait: Duration, recorder: &mut Recorder) -> Result<(), ScenarioError> {
        let wait = match wait.checked_sub(POLL_AHEAD) {
            Some(sleep) if !sleep.is_zero() => {
                self.topology.fleet.wake_after(sleep)?;
                sleep
            }
            _ => Duration::ZERO,
        };
        self.topology.serve(wait, |_, header| {
            // A probe may have been under way when all had heard another.
            if !header.stamp.is_probe() {
                recorder.delivered(header, recorder.now());
            }
        })
    }

    /// Lets publishers send again whose sockets took everything.
    fn unblock(&mut self, table: &mut Timetable) {
        let (fleet, publishers) = (&self.topology.fleet, &self.topology.publishers);
        self.blocked.retain(|&who| {
            let Publisher { link, .. } = publishers[who];
            let is_blocked = !fleet.is_flushed(link);
            if !is_blocked {
                table.release(who);
            }
            is_blocked
        });
    }

    /// Receives until everything that was sent is there, or nothing comes for [`STALL`].
    fn drain(&mut self, recorder: &mut Recorder) -> Result<(), ScenarioError> {
        let mut last = Instant::now();
        while !self.topology.is_idle() && last.elapsed() < STALL {
            let before = recorder.latency.count();
            self.receive(TURN, recorder)?;
            recorder.tick(recorder.now());
            if recorder.latency.count() > before {
                last = Instant::now();
            }
        }
        self.blocked.clear();
        Ok(())
    }
}
