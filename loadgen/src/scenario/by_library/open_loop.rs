//! An open loop through a library: the same schedule, and latency from when a message was due.
//!
//! Lag is from then until a message is handed to its library; what the library does with it is in its
//! latency, as for a program that uses it. Publishers have a queue and a future each, so that one whose
//! library makes it wait holds up nobody else.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::cpu_meter::{Cost, CpuMeter};
use super::super::latency::{Latency, LatencyOutcome, Measured, Phases};
use super::super::recorder::Recorder;
use super::super::timetable::Timetable;
use super::super::topology::{LINGER, STALL};
use super::super::{ScenarioError, Target};
use super::sender::LibrarySender;
use super::{LOOK, LibraryTopology, through_library};
use crate::broker::Broker;
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::library::{Job, Library, LibraryError, LibraryPublisher};
use crate::payload::TimedStamp;
use crate::verify::{Stamp, Tally};
use crate::watch::{Feed, Watch};

/// The runtime's timers count in milliseconds: shorter waits than this are spent polling.
const TIMER: Duration = Duration::from_millis(2);
/// How long after the end of a phase libraries may take to accept what was due.
const GRACE: Duration = Duration::from_secs(1);
/// Messages handed to a library at once, at most.
const BATCH: usize = 1024;

/// Shared by publishers and subscribers; `None` between phases.
type Shared = Rc<RefCell<Option<Recorder>>>;

impl Latency {
    /// Loads `broker` at `target` through its client library; `watch` sees it as `label`.
    ///
    /// # Errors
    /// As [`Latency::run`].
    pub(in crate::scenario) fn run_by_library(
        &self,
        (broker, target): (Broker, &Target),
        phases: Phases,
        interrupt: &Interrupt,
        (watch, label): (&mut Watch, &str),
    ) -> Result<LatencyOutcome, ScenarioError> {
        let (done, intervals) = watch.during(label, |feed| {
            let job = OnSchedule {
                load: self,
                target,
                phases,
                interrupt,
                feed,
            };
            through_library(broker, job)
        });
        let (measured, tally, cost) = done?;
        Ok(self.outcome(measured, tally, cost, intervals, phases.measured))
    }
}

struct OnSchedule<'a> {
    load: &'a Latency,
    target: &'a Target,
    phases: Phases,
    interrupt: &'a Interrupt,
    feed: Feed,
}

impl Job for OnSchedule<'_> {
    type Output = Result<(Measured, Tally, Cost), ScenarioError>;

    async fn through<L: Library>(self) -> Self::Output {
        let Self { load, phases, .. } = self;
        let shared = Shared::default();
        let recording = Rc::clone(&shared);
        let delivered = move |header: TimedStamp| {
            if let Some(recorder) = &mut *recording.borrow_mut()
                && !header.stamp.is_probe()
            {
                recorder.delivered(header, recorder.now());
            }
        };
        let assembling =
            LibraryTopology::<L>::assemble(load.shape(), self.target, self.interrupt, delivered);
        let mut run = assembling.await?;
        let table = load.timetable(phases.warm_up, load.seed ^ 1);
        let warm_up = run.phase(table, phases.warm_up, &shared, None).await?;
        let before = run.tally();
        if warm_up.interrupted {
            return Err(FleetError::Interrupted.into());
        }
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = CpuMeter::start(self.target)?;
        let table = load.timetable(phases.measured, load.seed);
        let feed = Some(self.feed);
        let measured = run.phase(table, phases.measured, &shared, feed).await?;
        let cost = meter.stop(measured.recorder.latency.count())?;
        tokio::time::sleep(LINGER).await;
        Ok((measured, run.tally().since(&before), cost))
    }
}

impl<L: Library> LibraryTopology<'_, L> {
    /// Sends what `table` has and waits until it is delivered.
    async fn phase(
        &mut self,
        table: Timetable,
        length: Duration,
        shared: &Shared,
        feed: Option<Feed>,
    ) -> Result<Measured, ScenarioError> {
        *shared.borrow_mut() = Some(Recorder::start(length, feed));
        let outcome = ScenarioError::interrupted(self.send_all(table, length, shared).await);
        let recorder = shared.borrow_mut().take();
        let mut recorder = recorder.unwrap_or_else(|| Recorder::start(length, None));
        recorder.finish();
        let unsent = outcome?;
        Ok(Measured {
            recorder,
            interrupted: unsent.is_none(),
            unsent: unsent.unwrap_or_default(),
        })
    }

    /// Returns how many messages could not be handed to their library.
    async fn send_all(
        &mut self,
        mut table: Timetable,
        length: Duration,
        shared: &Shared,
    ) -> Result<u64, ScenarioError> {
        let before = self.sent();
        let queued = Cell::new(0);
        {
            let (queues, ends): (Vec<_>, Vec<_>) =
                self.senders.iter().map(|_| unbounded_channel()).unzip();
            let senders = self.senders.iter_mut().zip(ends);
            let sending = senders.map(|(sender, due)| sender.send_due(due, shared));
            let keeping = async {
                keep_to(&mut table, queues, shared, &queued).await;
                Ok(())
            };
            tokio::select! {
                sent = try_join(keeping, try_join_all(sending)) => { sent?; }
                Some(failure) = self.failures.recv() => return Err(failure),
                stopped = interrupted(self.interrupt) => return Err(stopped),
                () = tokio::time::sleep(length + GRACE) => {}
            }
        }
        let due = queued.get() + table.into_remaining();
        self.drain(shared).await?;
        Ok(due - (self.sent() - before))
    }

    /// Waits until everything that was sent is there, or nothing comes for [`STALL`].
    async fn drain(&mut self, shared: &Shared) -> Result<(), ScenarioError> {
        let mut last = Instant::now();
        let mut seen = 0;
        while last.elapsed() < STALL {
            let tally = self.tally();
            if tally.lost == 0 {
                break;
            }
            if tally.delivered > seen {
                (seen, last) = (tally.delivered, Instant::now());
            }
            if let Some(recorder) = &mut *shared.borrow_mut() {
                recorder.tick(recorder.now());
            }
            self.check_interrupt()?;
            tokio::select! {
                Some(failure) = self.failures.recv() => return Err(failure),
                () = tokio::time::sleep(TIMER) => {}
            }
        }
        Ok(())
    }
}

impl<P: LibraryPublisher> LibrarySender<P> {
    /// Hands messages to the library as they become due, until there are no more.
    async fn send_due(
        &mut self,
        mut due: UnboundedReceiver<u64>,
        shared: &Shared,
    ) -> Result<(), LibraryError> {
        let mut batch = Vec::new();
        while due.recv_many(&mut batch, BATCH).await > 0 {
            let mut messages = Vec::with_capacity(batch.len());
            if let Some(recorder) = &mut *shared.borrow_mut() {
                let now = recorder.now();
                for intended in batch.drain(..) {
                    recorder.sent(intended, now);
                    let stamp = Stamp::new(self.index, self.sent);
                    self.sent += 1;
                    messages.push(self.message(TimedStamp {
                        stamp,
                        intended,
                        sent: now,
                    }));
                }
            }
            self.publisher.publish(messages).await?;
        }
        Ok(())
    }
}

/// Puts what `table` has into its publishers' queues when it is due, and counts it.
async fn keep_to(
    table: &mut Timetable,
    queues: Vec<UnboundedSender<u64>>,
    shared: &Shared,
    queued: &Cell<u64>,
) {
    let now = || match &mut *shared.borrow_mut() {
        Some(recorder) => {
            recorder.tick(recorder.now());
            recorder.now()
        }
        None => u64::MAX,
    };
    while let Some(at) = table.next_at() {
        let wait = Duration::from_nanos(at.saturating_sub(now()));
        match wait.checked_sub(TIMER) {
            Some(time) => tokio::time::sleep(time).await,
            // Lets everybody else run, and looks at the sockets.
            None => tokio::task::yield_now().await,
        }
        let now = now();
        while let Some(due) = table.take(now) {
            queued.set(queued.get() + 1);
            // Its publisher has failed, which is told already.
            let _ = queues[due.publisher].send(due.at);
        }
    }
}

/// Returns when the user asked to stop.
async fn interrupted(interrupt: &Interrupt) -> ScenarioError {
    while !interrupt.is_set() {
        tokio::time::sleep(LOOK).await;
    }
    FleetError::Interrupted.into()
}
