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
mod introductions;
mod load;
mod task;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::ids::{ChannelId, ShardId};
use super::refusal::StoreTrouble;
use super::room::Room;
use super::{Common, Shard};
use crate::channel::HistoryStorage;
use crate::protocol::Epoch;
use crate::settings::StoreSync;
use crate::store::{ChannelKey, StoreHandle};
pub(super) use channel::StoredChannel;
pub(crate) use load::{OpenStore, RestoredStore, StoreInfo};
#[cfg(feature = "cli")]
pub(crate) use task::LAST;

/// Delay of changes that no publisher waits for, where publishers wait for the disk. A batch that others need takes them
/// with it.
const LATER: Duration = Duration::from_millis(100);

/// The store, as a shard sees it.
#[derive(Debug)]
pub(super) struct ShardStore {
    handle: Arc<StoreHandle>,
    sync: StoreSync,
    unsaved: Rc<UnsavedChannels>,
    /// When a stop gives up, once nothing but saving is left of it.
    stops_by: Cell<Option<Instant>>,
}

impl ShardStore {
    /// Creates the store of the shard `owner`.
    pub(super) fn new(
        handle: Arc<StoreHandle>,
        sync: StoreSync,
        owner: ShardId,
        common: Arc<Common>,
    ) -> Self {
        let unsaved = UnsavedChannels {
            holds_runs: sync == StoreSync::Batch,
            marked: RefCell::default(),
            forgotten: RefCell::default(),
            since: Cell::default(),
            on_its_way: Cell::default(),
            has_some: Notify::new(),
            later: RefCell::default(),
            later_since: Cell::default(),
            owner,
            common,
        };
        Self {
            handle,
            sync,
            unsaved: Rc::new(unsaved),
            stops_by: Cell::new(None),
        }
    }

    /// Returns when the last batches must be written, all of them together. The time begins with the first call.
    fn stops_by(&self) -> tokio::time::Instant {
        let deadline = self.stops_by.get();
        let deadline = deadline.unwrap_or_else(|| Instant::now() + task::LAST);
        self.stops_by.set(Some(deadline));
        deadline.into()
    }

    /// Begins to keep the history of a room on disk.
    fn adopt(&self, room: &mut Room) {
        room.channel.number(|| Epoch(rand::random()));
        room.channel.record_changes();
        let mut stored = StoredChannel::new(self.handle.next_key(), room.id, self.unsaved.clone());
        stored.mark();
        self.keep(room, stored);
    }

    /// Has a room hold its runs from now on, if they have to be on disk before they are seen.
    fn keep(&self, room: &mut Room, stored: StoredChannel) {
        room.stored = Some(Box::new(stored));
        room.holds_runs = self.unsaved.holds_runs;
    }
}

/// The channels of which the store lacks something.
#[derive(Debug)]
pub(super) struct UnsavedChannels {
    marked: RefCell<Vec<ChannelId>>,
    /// Channels that are closed.
    forgotten: RefCell<Vec<ChannelKey>>,
    /// When the first of them came, since they were taken.
    since: Cell<Option<Instant>>,
    /// Since when the oldest change in the batch that is on its way has waited.
    on_its_way: Cell<Option<Instant>>,
    /// Tells the task that there are some.
    has_some: Notify,
    /// `true` if runs are held until they are on disk.
    holds_runs: bool,
    /// Channels of which nobody waits for what the store lacks.
    later: RefCell<Vec<ChannelId>>,
    /// When the first of these came, since they were taken.
    later_since: Cell<Option<Instant>>,
    /// The shard whose they are.
    owner: ShardId,
    /// Has the counters of that shard, which tell how far the store is behind.
    common: Arc<Common>,
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

    /// Takes at most `most` of the channels that are closed, those that were closed first.
    fn take_forgotten(&self, most: usize) -> Vec<ChannelKey> {
        let mut forgotten = self.forgotten.borrow_mut();
        let most = most.min(forgotten.len());
        let rest = forgotten.split_off(most);
        std::mem::replace(&mut forgotten, rest)
    }

    fn has_come(&self) {
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            self.note_lag();
            self.has_some.notify_one();
        }
    }

    fn mark_later(&self, channel: ChannelId) {
        self.later.borrow_mut().push(channel);
        if self.later_since.get().is_none() {
            self.later_since.set(Some(Instant::now()));
            self.note_lag();
            self.has_some.notify_one();
        }
    }

    /// Has the counters tell since when the oldest change has waited that is not in the store.
    fn note_lag(&self) {
        let waiting = [&self.on_its_way, &self.since, &self.later_since];
        let oldest = waiting.into_iter().filter_map(Cell::get).min();
        let since = oldest.map_or(0, |since| self.common.nanos_at(since));
        let stats = &self.common.stats[self.owner.index()];
        stats.unsaved_since.set(since);
    }

    /// Has those of which nobody waits for anything handed over, if it is time. Returns when it will be.
    fn take_later(&self, now: Instant) -> Option<Instant> {
        let due = self.later_since.get()? + LATER;
        if now < due {
            return Some(due);
        }
        self.take_all_later();
        None
    }

    /// Has all of those handed over with the next batch.
    fn take_all_later(&self) {
        let since = self.later_since.take();
        let later = self.later.take();
        if !later.is_empty() {
            self.marked.borrow_mut().extend(later);
            self.has_come();
            self.since
                .set(self.since.get().into_iter().chain(since).min());
            self.note_lag();
        }
    }

    fn is_empty(&self) -> bool {
        self.since.get().is_none()
    }

    /// Waits until there are some. Cancel safe.
    async fn some(&self) {
        while self.is_empty() {
            match self.take_later(Instant::now()) {
                // What is due has been taken, or there is nothing.
                None if !self.is_empty() => return,
                None => self.has_some.notified().await,
                Some(due) => {
                    // It looks again, whichever it was.
                    let _ = timeout_at(due.into(), self.has_some.notified()).await;
                }
            }
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
        let is_holding = room.is_holding();
        match (room.channel.settings().history, &mut room.stored) {
            (HistoryStorage::Disk, None) => store.adopt(room),
            // It may keep less than before.
            (HistoryStorage::Disk, Some(stored)) => stored.mark(),
            // What is held is committed first.
            (HistoryStorage::Memory, _) if is_holding => {}
            (HistoryStorage::Memory, _) => room.forget_stored(),
        }
        self.pause_or_release(room);
    }

    /// Returns why somebody waits for the store, as a client may know it.
    pub(super) fn store_trouble(&self) -> StoreTrouble {
        let store = self.common.store.as_ref();
        if store.is_some_and(|store| store.status.failure().is_some()) {
            StoreTrouble::Failing
        } else {
            StoreTrouble::Slow
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
            self.channel.ignore_changes();
            self.holds_runs = false;
        }
    }

    /// Has the store told of runs that are held until it has them.
    pub(super) fn hand_over_held(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.mark_next();
        }
    }
}
