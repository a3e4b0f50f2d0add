//! How channels end: without members and with nothing to remember, idle for too long, or because others need
//! their memory or their place. Rooms are closed nowhere else.

use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::ids::ChannelId;
use super::limits::LimitReached;
use super::registry::Registry;
use super::room::Room;
use super::turn;
use crate::escape::Escaped;

/// The longest time between two sweeps.
const LONGEST: Duration = Duration::from_secs(5);
/// The shortest time between two sweeps.
const SHORTEST: Duration = Duration::from_millis(50);
/// Rooms that one sweep frees at most because of memory; the next goes on.
const MOST_FREED: usize = 4096;
/// Units of a turn that a look at a room costs.
const LOOKED_AT: u32 = 4;
/// Units of a turn that freeing a room costs.
const FREED: u32 = 32;

impl Shard {
    /// Sweeps until the broker stops.
    pub(super) async fn sweep_forever(self: Rc<Self>) {
        loop {
            let ttl = self.common.settings().channels.shortest_idle_ttl();
            tokio::time::sleep((ttl / 4).clamp(SHORTEST, LONGEST)).await;
            if !self.is_running() {
                return;
            }
            self.sweep().await;
        }
    }

    /// Frees the rooms that have expired and, while histories are short of memory, those that have been
    /// idle longest. Others have their turn in between, however many rooms there are.
    async fn sweep(&self) {
        let now = Instant::now();
        let mut oldest = BinaryHeap::new();
        let mut next = 0;
        while let Some(at) = self.sweep_some(next, now, &mut oldest) {
            next = at;
            self.yield_turn().await;
        }
        debug_assert!(self.registry.borrow().is_history_counted());
        for (since, at) in oldest.into_sorted_vec() {
            if !self.free_idle(since, at) {
                return;
            }
            turn::spend(FREED);
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
    }

    /// Frees a room that has been idle since then, if it still is. Returns `false` once there is memory
    /// again, or the broker stops.
    fn free_idle(&self, since: Instant, at: u32) -> bool {
        let mut registry = self.registry.borrow_mut();
        if !self.is_running() || !registry.is_short_of_memory() {
            return false;
        }
        // It may have come to be needed, or be another.
        let room = registry.room(at);
        let is_idle = |room: &mut Room| room.channel.idle_since() == Some(since);
        if room.is_some_and(|room| is_idle(room) && !room.is_holding()) {
            registry.close(at);
        }
        true
    }

    /// Looks at the rooms from `start` on until a turn has become expensive, and puts the idle ones among
    /// the `oldest`. Returns where to go on; `None` if there are no more.
    fn sweep_some(
        &self,
        start: u32,
        now: Instant,
        oldest: &mut BinaryHeap<(Instant, u32)>,
    ) -> Option<u32> {
        let mut registry = self.registry.borrow_mut();
        for at in start..registry.rooms_end() {
            if turn::is_expensive() || !self.is_running() {
                return self.is_running().then_some(at);
            }
            turn::spend(LOOKED_AT);
            if let Some(room) = registry.room(at) {
                room.channel.trim(now);
                room.trim_presence(now);
                room.mark_if_trimmed();
                let forgotten = room.channel.take_forgotten();
                self.stats().publishers_forgotten.add(forgotten as u64);
            }
            let room = close_if_expired(&mut registry, at, now);
            if let Some(since) = room.and_then(|room| room.channel.idle_since()) {
                oldest.push((since, at));
                if oldest.len() > MOST_FREED {
                    oldest.pop();
                }
            }
        }
        None
    }

    /// Closes a room if it has no members and nothing to remember; else records whether anybody needs it. Not
    /// while the broker stops: sessions that are being let go still refer to it.
    pub(super) fn close_or_update_need(&self, at: u32, now: Instant) {
        if self.is_running()
            && let Some(room) = close_if_expired(&mut self.registry.borrow_mut(), at, now)
        {
            room.update_need();
        }
    }

    /// Frees a channel that has to make room for another, and ends the half-closed sessions that are
    /// left in it. Does nothing if it has come to be needed meanwhile.
    pub(super) fn free_channel(self: &Rc<Self>, id: ChannelId) {
        let (at, now) = (id.index, Instant::now());
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(id);
        let Some(room) = room.filter(|room| room.unneeded().is_some()) else {
            return;
        };
        let name = room.name.clone();
        let idle = room.channel.idle_since().map(|since| now - since);
        let freed = room.channel.free_all_seats(now);
        freed.iter().for_each(|freed| room.member_left(freed));
        drop(registry);
        for freed in freed {
            self.evict(at, freed, Some(LimitReached::Channels));
        }
        self.registry.borrow_mut().close(at);
        self.stats().channels_evicted.add(1);
        if self.log.admit() {
            let channel = Escaped(&name);
            let limit = LimitReached::Channels.limit();
            tracing::warn!(%channel, ?idle, limit, "channel freed: made room at the limit");
        }
    }
}

/// Closes the room at `at` if it may be closed; else returns it.
fn close_if_expired(registry: &mut Registry, at: u32, now: Instant) -> Option<&mut Room> {
    if registry.room(at)?.is_expired(now) {
        registry.close(at);
    }
    registry.room(at)
}
