//! Notices a shard that does not turn its loop, and says what it was doing.
//!
//! Each shard marks the beginning and the end of every turn ([`TurnMark`]), and has one at least every
//! [`TICK`](super::sampler::TICK), however idle it is. A thread looks at the marks. A shard whose mark has not changed for
//! [`LIMIT`] is stuck: its clients wait, and so does what others want of their channels.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Common;
use super::ids::ShardId;
use super::processor::{ProcessorMeter, ProcessorUse};
use crate::channel::SessionId;

/// Time without a new turn from which on a shard is stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(1);
/// Time between two looks at the marks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Bits of a mark that say which task has its turn: 0 between two turns.
const TASK: u64 = 0xFFFF;
/// Bits of a mark above those of the task.
const TASK_BITS: u32 = TASK.count_ones();
/// Bits of a note of who publishes that are the session's; the others are those of the turn.
const SESSION_BITS: u32 = 48;

/// The turn that a shard is in. Its own thread writes it, any thread may read it.
///
/// A turn costs two stores, and a run that is published one.
#[derive(Debug, Default)]
pub(crate) struct TurnMark {
    /// The number of turns that have begun, and the task in the bits of [`TASK`]. 0: the shard does not run.
    turn: AtomicU64,
    /// The session that has published last, and the turn in which it did.
    publisher: AtomicU64,
    /// The names of tasks, by their number.
    tasks: RwLock<Vec<&'static str>>,
    /// Set by the watchdog while the shard is stuck.
    is_stuck: AtomicBool,
    /// Times that the watchdog has found the shard stuck.
    stalls: AtomicU64,
}

/// The number of a kind of task, as a [`TurnMark`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskKind(u16);

/// A look at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn(u64);

impl TurnMark {
    /// Returns the number of the tasks of type `F`.
    pub(crate) fn kind_of<F>(&self) -> TaskKind {
        let name = std::any::type_name::<F>();
        let find = |tasks: &Vec<&'static str>| {
            let at = tasks.iter().position(|known| std::ptr::eq(*known, name))?;
            u16::try_from(at + 1).ok()
        };
        let found = find(&self.tasks.read().unwrap_or_else(PoisonError::into_inner));
        TaskKind(found.unwrap_or_else(|| {
            let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
            tasks.push(name);
            u16::try_from(tasks.len()).unwrap_or(u16::MAX)
        }))
    }

    /// Records that a task of that kind begins its turn.
    #[inline]
    pub(crate) fn begin(&self, task: TaskKind) {
        let before = self.turn.load(Ordering::Relaxed);
        let turn = (before | TASK).wrapping_add(1 + u64::from(task.0));
        self.turn.store(turn, Ordering::Relaxed);
    }

    /// Records that the turn is over.
    #[inline]
    pub(crate) fn end(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn & !TASK, Ordering::Relaxed);
    }

    /// Records that `session` publishes in this turn.
    #[inline]
    pub(crate) fn publishes(&self, session: SessionId) {
        let turn = self.turn.load(Ordering::Relaxed) >> TASK_BITS;
        let note = turn << SESSION_BITS | session.0 & ((1 << SESSION_BITS) - 1);
        self.publisher.store(note, Ordering::Relaxed);
    }

    /// Records that the shard does not run any more.
    pub(crate) fn stop(&self) {
        self.turn.store(0, Ordering::Relaxed);
        self.is_stuck.store(false, Ordering::Relaxed);
    }

    /// Returns `true` while the shard has not turned its loop for [`LIMIT`].
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Returns how often the shard was found stuck.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Returns the name of the task that has its turn; `None` between two turns.
    pub(crate) fn task(&self) -> Option<String> {
        self.task_in(self.look())
    }

    fn look(&self) -> Turn {
        Turn(self.turn.load(Ordering::Relaxed))
    }

    fn task_in(&self, turn: Turn) -> Option<String> {
        let at = usize::try_from(turn.0 & TASK).ok()?.checked_sub(1)?;
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner);
        tasks.get(at).map(|name| short_name(name).to_owned())
    }

    /// Returns the session that has published in that turn, if one has.
    fn publisher_in(&self, turn: Turn) -> Option<u64> {
        let note = self.publisher.load(Ordering::Relaxed);
        let session = note & ((1 << SESSION_BITS) - 1);
        let is_of_turn = note >> SESSION_BITS == (turn.0 >> TASK_BITS) & TASK;
        (is_of_turn && session != 0).then_some(session)
    }
}

/// Returns the name of a task as an operator reads it: `flush`, and not the path of a closure.
fn short_name(name: &str) -> &str {
    let function = function_name(name);
    match function {
        "SessionTask" => "session",
        "run" if name.contains("::events::") => "events",
        "run" => "websocket",
        "receive_forever" => "mailbox",
        "write_when_ready" => "write",
        other => other.strip_suffix("_forever").unwrap_or(other),
    }
}

/// Returns the name of the function, or of the type, that a future was made by.
fn function_name(name: &str) -> &str {
    let name = name.trim_end_matches("::{{closure}}");
    let path = name.split_once('<').map_or(name, |(path, generics)| {
        // The name of a function in an `impl` block stands behind it.
        if path.ends_with("::") { generics } else { path }
    });
    path.rsplit("::").next().unwrap_or(path)
}

/// The thread that looks at the marks of all shards. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to watch the shards.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn start(common: Arc<Common>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let run = move || watch(&common, &stopped);
        let thread = std::thread::Builder::new().name("mles-watchdog".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(run)?),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its result is empty.
            let _ = thread.join();
        }
    }
}

fn watch(common: &Common, stopped: &Receiver<()>) {
    let now = Instant::now();
    let shards = (0..).zip(&common.stats);
    let mut shards: Vec<_> = shards
        .map(|(id, stats)| WatchedShard::new(ShardId(id), &stats.turn, now))
        .collect();
    let processors = common.stats.iter().map(|stats| &stats.processor);
    let mut meters: Vec<(&ProcessorUse, ProcessorMeter)> = processors
        .map(|of| (of, ProcessorMeter::default()))
        .collect();
    let mut last = now;
    while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // When this thread did not run either, the shards are not to blame: the process was stopped, or the machine.
        let was_away = now.duration_since(last) > LIMIT;
        last = now;
        for shard in &mut shards {
            if was_away {
                shard.since = now;
            }
            shard.look(now);
        }
        for (shard, (of, meter)) in shards.iter().zip(&mut meters) {
            meter.look(of, shard.mark.task(), now);
        }
    }
}

/// A shard as the watchdog sees it.
struct WatchedShard<'a> {
    id: ShardId,
    mark: &'a TurnMark,
    /// The turn that it was in.
    turn: Turn,
    /// Time of the look that first found it in that turn.
    since: Instant,
}

impl<'a> WatchedShard<'a> {
    fn new(id: ShardId, mark: &'a TurnMark, now: Instant) -> Self {
        Self {
            id,
            mark,
            turn: mark.look(),
            since: now,
        }
    }

    /// Looks whether the shard has had a turn since the last look, and reports it when that was too long ago.
    fn look(&mut self, now: Instant) {
        let (turn, since) = (self.mark.look(), self.since);
        let stuck = now.duration_since(since);
        if turn != self.turn || turn == Turn(0) {
            (self.turn, self.since) = (turn, now);
            if self.mark.is_stuck.swap(false, Ordering::Relaxed) {
                let shard = self.id.0;
                tracing::warn!(shard, ?stuck, "shard runs again");
            }
        } else if stuck >= LIMIT && !self.mark.is_stuck.swap(true, Ordering::Relaxed) {
            self.mark.stalls.fetch_add(1, Ordering::Relaxed);
            let task = self.mark.task_in(turn);
            let task = task.as_deref().unwrap_or("none: it waits for the system");
            let session = self.mark.publisher_in(turn);
            tracing::error!(
                shard = self.id.0,
                task,
                session,
                ?stuck,
                "shard is stuck: it has not turned its loop"
            );
        }
    }
}
