//! Measures a shard from time to time: how late it runs, and what its memory is used for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;
use tokio::time::{Instant, MissedTickBehavior};

use super::labels::MemoryKind;
use super::session::Session;
use super::{BrokerPhase, Shard, turn};

/// Time between two samples, and so the longest time that a shard which is not stuck goes without a turn.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Units of a turn that a look at a session costs.
const LOOKED_AT: u32 = 4;

/// The members of a shard whose sockets are full.
#[derive(Debug, Default)]
pub(super) struct StalledMembers(RefCell<Slab<Rc<Session>>>);

/// Keeps a session among the [`StalledMembers`].
pub(super) struct Stalled {
    shard: Rc<Shard>,
    at: usize,
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.shard.stats().stalled.sub(1);
        self.shard.stalled.0.borrow_mut().remove(self.at);
    }
}

impl Shard {
    /// Takes samples until the broker stops.
    pub(super) async fn sample_forever(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while *self.common.phase.borrow() != BrokerPhase::Stopped {
            ticks.tick().await;
            self.latency.sample_next();
            self.sample_loop_delay().await;
            self.sample_memory();
            self.sample_queues().await;
        }
    }

    /// Measures how long a task that is ready waits for its turn: behind all others that are ready, and a look at the
    /// sockets.
    async fn sample_loop_delay(&self) {
        let start = Instant::now();
        tokio::task::yield_now().await;
        self.stats().loop_delay.sample(start.elapsed());
    }

    fn sample_memory(&self) {
        let stats = self.stats();
        let set = |kind, (used, limit): (usize, usize)| {
            stats.memory_bytes.of(kind).set(used as u64);
            stats.memory_limit_bytes.of(kind).set(limit as u64);
        };
        set(MemoryKind::History, self.registry.borrow().history_memory());
        set(MemoryKind::Partial, self.scratch.borrow().allowance.usage());
        let joining = self.join_scratch.borrow().allowance.usage();
        set(MemoryKind::Joining, joining);
    }

    /// Lists a session whose socket is full, until the result is dropped.
    pub(super) fn list_stalled(self: &Rc<Self>, session: &Rc<Session>) -> Stalled {
        self.stats().stalled.add(1);
        let at = self.stalled.0.borrow_mut().insert(session.clone());
        let shard = self.clone();
        Stalled { shard, at }
    }

    /// Adds up what is queued for the members whose sockets are full. Others have their turn in between.
    async fn sample_queues(&self) {
        let (mut start, mut bytes) = (0, 0);
        while let Some((next, more)) = self.sample_some_queues(start) {
            bytes += more;
            start = next;
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        let queues = self.stats().memory_bytes.of(MemoryKind::Queues);
        queues.set(bytes as u64);
    }

    /// Adds up what is queued for some of them, from `start` on. Returns where to go on, and the bytes; `None` if there
    /// are no more.
    fn sample_some_queues(&self, start: usize) -> Option<(usize, usize)> {
        let stalled = self.stalled.0.borrow();
        let mut registry = self.registry.borrow_mut();
        let (mut at, mut bytes) = (start, 0);
        while at < stalled.capacity() && !(turn::is_expensive() && at > start) {
            turn::spend(LOOKED_AT);
            if let Some(session) = stalled.get(at) {
                let members = registry.local_members(session.home);
                let member = members.zip(session.key.get());
                let member = member.and_then(|(members, key)| members.local.get(key, session.id));
                bytes += member.map_or(0, |member| member.outbox.cost());
            }
            at += 1;
        }
        (at > start).then_some((at, bytes))
    }
}
