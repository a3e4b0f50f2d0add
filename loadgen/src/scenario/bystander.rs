//! A quiet channel beside a load: what its subscriber notices of it.
//!
//! It has a thread and connections of its own, so that what the load keeps this program busy with
//! does not delay it; what is left of that is its lag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use super::open_loop::OpenLoop;
use super::recorder::Recorder;
use super::timetable::{Arrivals, Shares, Timetable};
use super::topology::{Shape, Topology};
use super::{ScenarioError, Target};
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, FleetError};
use crate::interrupt::Interrupt;
use crate::verify::Tally;

/// Bytes of each message.
const PAYLOAD: usize = 32;
/// Time before that, so that nobody wakes for the first time when it counts.
const WARM_UP: Duration = Duration::from_millis(200);
/// A time that is longer than any load.
const FOREVER: Duration = Duration::from_secs(3600);

/// The latencies and deliveries that the bystander saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) before: Distribution,
    pub(super) during: Distribution,
    /// This program's lag during the load.
    pub(super) lag: Distribution,
    pub(super) tally: Tally,
}

/// The phase that the bystander is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The time before the load begins now.
    Before,
    /// The load may begin.
    Ready,
}

/// One publisher, one subscriber, and a rate in messages a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bystander<'a> {
    pub(super) broker: Broker,
    pub(super) target: &'a Target,
    pub(super) rate: f64,
    /// How long the bystander is watched before the load.
    pub(super) before: Duration,
    pub(super) interrupt: &'a Interrupt,
}

impl Bystander<'_> {
    /// Does `load` while the channel is watched, and returns what both came to. `load` waits for
    /// the stages.
    ///
    /// # Errors
    /// Those of the channel first: then there was no load.
    pub(super) fn beside<T>(
        self,
        load: impl FnOnce(&Receiver<Stage>) -> Result<T, ScenarioError>,
    ) -> Result<(T, Seen), ScenarioError> {
        let stop = AtomicBool::new(false);
        let (told, stages) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let stop = &stop;
            let watching = scope.spawn(move || self.watch(stop, &told));
            let done = load(&stages);
            stop.store(true, Ordering::Relaxed);
            let seen = match watching.join() {
                Ok(seen) => seen?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok((done?, seen))
        })
    }

    fn watch(self, stop: &AtomicBool, told: &Sender<Stage>) -> Result<Seen, ScenarioError> {
        let payload = PAYLOAD;
        let adapter = self.broker.adapter(payload, &self.target.keyring);
        let fleet = Fleet::new(self.target.addr, adapter.as_ref(), payload, self.interrupt)?;
        let shape = Shape::single(payload);
        let mut open_loop = OpenLoop::new(Topology::assemble(fleet, shape)?).until(stop);
        self.phase(&mut open_loop, WARM_UP)?;
        // Nobody waits for it when the load has failed.
        let _ = told.send(Stage::Before);
        let before = self.phase(&mut open_loop, self.before)?;
        let _ = told.send(Stage::Ready);
        let during = self.phase(&mut open_loop, FOREVER)?;
        open_loop.topology().linger()?;
        Ok(Seen {
            before: before.latency,
            during: during.latency,
            lag: during.lag,
            tally: open_loop.topology().tally(),
        })
    }

    fn phase(
        self,
        open_loop: &mut OpenLoop<'_>,
        time: Duration,
    ) -> Result<Recorder, ScenarioError> {
        let (even, end) = (Shares::Even(1), nanoseconds(time));
        let table = Timetable::new(Arrivals::Fixed, self.rate, &even, 1, end);
        let mut recorder = Recorder::start(time, None);
        open_loop.run(table, time, &mut recorder)?;
        Ok(recorder)
    }
}

/// Waits until the bystander is at `stage`.
///
/// # Errors
/// It has ended: its own error says why, so this one is not seen.
pub(super) fn wait(stages: &Receiver<Stage>, stage: Stage) -> Result<(), ScenarioError> {
    match stages.recv() {
        Ok(reached) if reached == stage => Ok(()),
        _ => Err(FleetError::Interrupted.into()),
    }
}

/// Says whether the bystander has come to `stage`, for a load that goes on until then.
///
/// # Errors
/// As [`wait`].
pub(super) fn has_reached(stages: &Receiver<Stage>, stage: Stage) -> Result<bool, ScenarioError> {
    match stages.try_recv() {
        Ok(reached) if reached == stage => Ok(true),
        Err(TryRecvError::Empty) => Ok(false),
        _ => Err(FleetError::Interrupted.into()),
    }
}
