//! Histories on disk: what of a shard's rooms is handed over to the store, and how rooms are made of what it had.
//!
//! Whatever changes in a room only marks it ([`StoredChannel::mark`]). One task hands over what is new in the marked rooms
//! and still in their histories ([`task`]), in batches, and notes what the store has when that answers. So a channel that
//! is published to faster than the disk can write costs the disk its history for each batch, and nobody waits.
//!
//! Invariants:
//!
//! * One batch of a shard is on its way at a time. While the store cannot write, rooms stay marked, and what their
//!   histories drop meanwhile was never on disk.
//! * A room is handed over whole, so that what is on disk was the state of the channel at some time.
//! * A room that is closed is forgotten on disk. One that is left when the broker stops is not.
//!
//! It must not know how anything is written.

mod channel;
mod load;
mod task;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;

use super::Shard;
use super::ids::ChannelId;
use super::room::Room;
use crate::channel::HistoryStorage;
use crate::protocol::Epoch;
use crate::settings::StoreSync;
use crate::store::{ChannelKey, StoreHandle};
pub(super) use channel::StoredChannel;
pub(crate) use load::{OpenStore, RestoredStore, StoreInfo};
#[cfg(feature = "cli")]
pub(crate) use task::LAST;

/// The store, as a shard sees it.
#[derive(Debug)]
pub(super) struct ShardStore {
    handle: Arc<StoreHandle>,
    sync: StoreSync,
    unsaved: Rc<UnsavedChannels>,
    /// Since when the oldest change in the batch that is on its way has waited.
    on_its_way: Cell<Option<Instant>>,
}

impl ShardStore {
    pub(super) fn new(handle: Arc<StoreHandle>, sync: StoreSync) -> Self {
        Self {
            handle,
            sync,
            unsaved: Rc::default(),
            on_its_way: Cell::new(None),
        }
    }

    /// Begins to keep the history of a room on disk.
    fn adopt(&self, room: &mut Room) {
        room.channel.number(|| Epoch(rand::random()));
        room.channel.record_changes();
        let mut stored = StoredChannel::new(self.handle.next_key(), room.id, self.unsaved.clone());
        stored.mark();
        room.stored = Some(Box::new(stored));
    }
}

/// The channels of which the store lacks something.
#[derive(Debug, Default)]
pub(super) struct UnsavedChannels {
    marked: RefCell<Vec<ChannelId>>,
    /// Channels that are closed.
    forgotten: RefCell<Vec<ChannelKey>>,
    /// When the first of them came, since they were taken.
    since: Cell<Option<Instant>>,
    /// Tells the task that there are some.
    has_some: Notify,
}

impl UnsavedChannels {
    fn mark(&self, channel: ChannelId) {
        self.marked.borrow_mut().push(channel);
        self.has_come();
    }

    fn forget(&self, channel: ChannelKey) {
        self.forgotten.borrow_mut().push(channel);
        self.has_come();
    }

    fn has_come(&self) {
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            self.has_some.notify_one();
        }
    }

    fn is_empty(&self) -> bool {
        self.since.get().is_none()
    }

    /// Waits until there are some. Cancel safe.
    async fn some(&self) {
        while self.is_empty() {
            self.has_some.notified().await;
        }
    }
}

/// The two clocks at one moment: that of the server, and the one that goes on after it.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    now: Instant,
    system: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        Self {
            now: Instant::now(),
            system: SystemTime::now(),
        }
    }

    fn system(self, at: Instant) -> SystemTime {
        let age = self.now.saturating_duration_since(at);
        self.system.checked_sub(age).unwrap_or(self.system)
    }

    /// Returns when that was. What lies in the future, as the clock was set back, is now.
    fn instant(self, at: SystemTime) -> Instant {
        let age = self.system.duration_since(at).unwrap_or_default();
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

impl Shard {
    /// Begins or ends to keep the history of a room on disk, as its settings say.
    pub(super) fn apply_storage(&self, room: &mut Room) {
        let Some(store) = &self.store else {
            return;
        };
        match (room.channel.settings().history, &mut room.stored) {
            (HistoryStorage::Disk, None) => store.adopt(room),
            // It may keep less than before.
            (HistoryStorage::Disk, Some(stored)) => stored.mark(),
            (HistoryStorage::Memory, _) => room.forget_stored(),
        }
    }
}

impl Room {
    /// Has the store told of what has changed, if the channel is on disk.
    #[inline]
    pub(super) fn mark_unsaved(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.mark();
        }
    }

    /// Has the store told if it keeps messages that the history has dropped.
    pub(super) fn mark_if_trimmed(&mut self) {
        if let Some(stored) = &mut self.stored
            && stored.has_before(self.channel.oldest())
        {
            stored.mark();
        }
    }

    /// Has the store forget the channel, if it is on disk.
    pub(super) fn forget_stored(&mut self) {
        if let Some(stored) = self.stored.take() {
            stored.forget();
        }
    }
}
