//! Commits runs that were held.

use std::rc::Rc;
use std::time::Instant;

use super::HeldRun;
use crate::shard::ids::{ChannelId, Home};
use crate::shard::room::Room;
use crate::shard::{Shard, turn};

impl Shard {
    /// Commits the runs of a room that were held and are due at `reached` or before, in turns.
    pub(in crate::shard) async fn commit_held(self: &Rc<Self>, channel: ChannelId, reached: u64) {
        while self.commit_next_held(channel, reached, Instant::now()) {
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(channel) else {
            return;
        };
        self.pause_or_release(room);
        if !room.is_holding() {
            // A reload may have moved it to memory.
            self.apply_storage(room);
            room.list_by_need();
        }
    }

    /// Commits the next run of a room that was held and is due at `reached` or before. Returns `false` if there is none.
    fn commit_next_held(self: &Rc<Self>, channel: ChannelId, reached: u64, now: Instant) -> bool {
        let mut registry = self.registry.borrow_mut();
        let found = registry.room_and_dirty(channel.index);
        let Some((room, dirty)) = found.filter(|(room, _)| room.id == channel) else {
            return false;
        };
        let (Some((mut held, cost)), Some(before)) =
            (room.take_held(reached), room.channel.newest())
        else {
            return false;
        };
        self.held.subtract(cost);
        let outcome = if let Some(confirm) = &mut held.confirm {
            self.commit_confirmed(room, dirty, &held.proposed, confirm, now)
        } else {
            let is_counted = room.channel.publisher_of(held.proposed.from).is_some();
            let is_suspect = self.commit_next(room, &held.proposed, now);
            if let Some(publisher) = held.publisher.filter(|_| !is_counted) {
                room.channel.count_late(publisher, before.offset, now);
            }
            self.count_forgotten(room);
            self.tend_members(room, dirty, is_suspect)
        };
        debug_assert_eq!(
            room.channel.newest().map(|newest| newest.offset),
            Some(held.due),
            "it has the place that it was given"
        );
        drop(registry);
        self.after_commit(channel.index, outcome, now);
        if let Some(read) = held.confirm.and_then(|confirm| confirm.sampled) {
            self.follow(Home::Owned(channel.index), read);
        }
        true
    }
}

impl Room {
    /// Takes the next run that is held and is due at `reached` or before, with the bytes that it cost.
    pub(in crate::shard) fn take_held(&mut self, reached: u64) -> Option<(HeldRun, usize)> {
        let held = self.held.as_mut()?;
        let taken = held.take(reached);
        if held.is_empty() {
            self.held = None;
        }
        taken
    }
}
