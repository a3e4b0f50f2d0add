//! Holds runs until they are on disk, and commits them then.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ShardStore;
use super::held::HeldRun;
use crate::channel::{PublisherId, SessionId};
use crate::protocol::Position;
use crate::shard::Shard;
use crate::shard::ids::{ChannelId, ShardId};
use crate::shard::message::Delivery;
use crate::shard::refusal::StoreTrouble;
use crate::shard::room::Room;
use crate::shard::turn;

/// Memory of runs that are held in one channel, in bytes, from which on its publishers pause.
const ROOM_MARK: usize = 1 << 20;
/// Memory of runs that are held on one shard, in bytes, from which on the publishers of all channels pause in which some
/// are.
const SHARD_MARK: usize = 32 << 20;

impl Room {
    /// Returns `true` if what somebody sees of it has to be on disk.
    pub(in crate::shard) fn waits_for_disk(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|stored| stored.held.is_some())
    }

    /// Returns `true` if runs are held that are not on disk.
    pub(in crate::shard) fn is_holding(&self) -> bool {
        let held = self.stored.as_ref().and_then(|stored| stored.held.as_ref());
        held.is_some_and(|held| !held.is_empty())
    }

    /// Returns `true` while so much is held that publishers have to pause.
    fn holds_much(&self) -> bool {
        let Some(stored) = &self.stored else {
            return false;
        };
        let bytes = stored.held.as_ref().map_or(0, super::held::HeldRuns::bytes);
        bytes > ROOM_MARK || (bytes > 0 && stored.unsaved.held_bytes.get() > SHARD_MARK)
    }

    /// Returns `true` while publishers have to wait for the store, however long that takes: it cannot write what they
    /// publish, or is so slow that much is held.
    pub(in crate::shard) fn awaits_store(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|stored| {
            stored.held.is_some() && (stored.unsaved.is_failing.get() || self.holds_much())
        })
    }

    /// Returns `true` if a run of `publisher` is held.
    pub(in crate::shard) fn holds_of(&self, publisher: PublisherId) -> bool {
        let held = self.stored.as_ref().and_then(|stored| stored.held.as_ref());
        held.is_some_and(|held| held.has_publisher(publisher))
    }

    /// Returns what tells when all that is held now is committed; `None` if nothing of it came over a link.
    fn turn_of_links(&mut self) -> Option<oneshot::Receiver<()>> {
        let held = self.stored.as_mut()?.held.as_mut()?;
        held.has_link().then(|| held.turn())
    }

    /// Returns `true` if a run of that session is held.
    pub(in crate::shard) fn holds_of_session(&self, session: SessionId) -> bool {
        let held = self.stored.as_ref().and_then(|stored| stored.held.as_ref());
        held.is_some_and(|held| held.has_session(session))
    }

    /// Returns what tells when all that is held now is committed; `None` if nothing is.
    pub(in crate::shard) fn turn(&mut self) -> Option<oneshot::Receiver<()>> {
        let held = self.stored.as_mut()?.held.as_mut()?;
        (!held.is_empty()).then(|| held.turn())
    }

    /// Remembers a publisher before it is counted anew, where that has to be on disk before it is told so: after a crash
    /// it would be told an old count, or none. Returns what tells when it is; `None` if it has not to be.
    pub(in crate::shard) fn introduce(
        &mut self,
        publisher: PublisherId,
        since: Option<Position>,
        now: Instant,
    ) -> Option<oneshot::Receiver<()>> {
        let stored = self
            .stored
            .as_mut()
            .filter(|stored| stored.held.is_some())?;
        let is_new = self.channel.introduce(publisher, since, now);
        is_new.then(|| stored.on_disk())
    }

    /// Holds a run until it is on disk. It must have messages, or others must be held.
    pub(in crate::shard) fn hold(&mut self, run: HeldRun, messages: u32) {
        let newest = self.channel.newest().map_or(0, |newest| newest.offset);
        let Some(stored) = &mut self.stored else {
            return;
        };
        let Some(held) = &mut stored.held else {
            return;
        };
        let is_first = held.is_empty();
        let before = held.end().unwrap_or(newest);
        let cost = held.push(run, messages, before);
        let bytes = &stored.unsaved.held_bytes;
        bytes.set(bytes.get() + cost);
        if messages > 0 {
            stored.mark_next();
        }
        if is_first {
            self.list_by_need();
        }
    }

    /// Takes the next run that is held and on disk, with the offset of its last message.
    pub(in crate::shard) fn take_on_disk(&mut self) -> Option<(HeldRun, u64)> {
        let stored = self.stored.as_mut()?;
        let (run, end, cost) = stored.held.as_mut()?.take(stored.saved)?;
        let bytes = &stored.unsaved.held_bytes;
        bytes.set(bytes.get() - cost);
        Some((run, end))
    }
}

impl Shard {
    /// Commits the runs of a room that were held and are on disk.
    pub(super) async fn commit_held(self: &Rc<Self>, channel: ChannelId) {
        while self.commit_next_held(channel, Instant::now()) {
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

    /// Records whether the last batch was written. Publishers wait while it was not.
    pub(super) fn store_works(&self, store: &ShardStore, works: bool) {
        if !store.unsaved.holds_runs || store.unsaved.is_failing.replace(!works) != works {
            return;
        }
        self.pause_or_release_all();
    }

    /// Tells those who have waited for the receipt of a run in a room for too long why they do not get it yet.
    pub(super) fn refuse_overdue_in(&self, channel: ChannelId) {
        let trouble = self.store_trouble();
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(channel) else {
            return;
        };
        let limit = room.channel.settings().write_deadline;
        let held = room.stored.as_mut().and_then(|stored| stored.held.as_mut());
        if let Some(held) = held {
            held.refuse_overdue(limit, Instant::now(), trouble);
        }
    }

    /// Returns why somebody waits for the store, as a client may know it.
    pub(in crate::shard) fn store_trouble(&self) -> StoreTrouble {
        let store = self.common.store.as_ref();
        if store.is_some_and(|store| store.status.failure().is_some()) {
            StoreTrouble::Failing
        } else {
            StoreTrouble::Slow
        }
    }

    /// Waits until no run is held in the room called `name` that came over a link: whoever compares what another server
    /// brings must know it. Cancel safe.
    pub(in crate::shard) async fn links_on_disk(&self, name: &str) {
        let turn = || {
            let mut registry = self.registry.borrow_mut();
            let at = registry.find(name)?;
            registry.room(at)?.turn_of_links()
        };
        while let Some(turn) = turn() {
            // A room that is closed holds nothing any more.
            let _ = turn.await;
        }
    }

    /// Waits as [`Shard::links_on_disk`] does, before this server compares itself with another. Cancel safe.
    pub(in crate::shard) async fn all_of_links_on_disk(&self, channel: ChannelId) {
        let turn = || {
            let mut registry = self.registry.borrow_mut();
            registry.room_of(channel)?.turn_of_links()
        };
        while let Some(turn) = turn() {
            let _ = turn.await;
        }
    }

    /// Tells a shard that what it has sent has its place, when it has: what is held until it is on disk has not.
    pub(in crate::shard) fn answer_through(self: &Rc<Self>, to: ShardId) {
        let store = self.store.as_ref();
        if store.is_none_or(|store| store.unsaved.held_bytes.get() == 0) {
            return self.deliver_to(to, Delivery::Through);
        }
        let shard = self.clone();
        self.spawn(async move {
            let limit = shard.common.settings().drain_deadline / 2;
            shard.all_on_disk(limit).await;
            shard.deliver_to(to, Delivery::Through);
        });
    }

    /// Returns what tells of each room in which something is held when that is on disk.
    fn turns_of_all(&self) -> Vec<oneshot::Receiver<()>> {
        let mut registry = self.registry.borrow_mut();
        let rooms = 0..registry.rooms_end();
        let turns = rooms.filter_map(|at| registry.room(at)?.turn());
        turns.collect()
    }

    /// Waits until all runs are on disk that are held now, at most for so long.
    pub(in crate::shard) async fn all_on_disk(&self, limit: Duration) {
        let turns = self.turns_of_all();
        // What is not on disk then is waited for at the end.
        let _ = timeout(limit, async {
            for turn in turns {
                let _ = turn.await;
            }
        })
        .await;
    }
}
