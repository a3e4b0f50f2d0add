//! Rooms that are made of what the store had at the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Clocks, ShardStore, StoredChannel};
use crate::channel::{Channel, HistoryRun, SavedPublisher, SavedState};
use crate::settings::StoreSync;
use crate::shard::Common;
use crate::shard::ids::ShardId;
use crate::shard::limits::ChannelPermit;
use crate::shard::registry::Registry;
use crate::store::{
    ChannelKey, Loaded, LoadedChannel, StoreHandle, StoreStatus, StoredPublisher, StoredRun,
};

/// A store that was opened, and what was in it.
#[derive(Debug)]
pub(crate) struct OpenStore {
    pub(crate) handle: Arc<StoreHandle>,
    pub(crate) loaded: Loaded,
}

#[cfg(test)]
impl OpenStore {
    /// Creates an empty store for tests, and what its batches come out of.
    pub(crate) fn for_tests() -> (Self, crate::store::TestWriter) {
        let (handle, writer) = StoreHandle::for_tests();
        let loaded = Loaded {
            channels: Vec::new(),
            secret: crate::store::PublisherSecret::random(),
            unwanted: 0,
            too_many: 0,
        };
        let handle = Arc::new(handle);
        (Self { handle, loaded }, writer)
    }
}

/// Summary of a store at its start, and the state of its writer.
#[derive(Debug)]
pub(crate) struct StoreInfo {
    pub(crate) status: Arc<StoreStatus>,
    /// Number of channels that were loaded and have their place.
    pub(crate) channels: usize,
    /// Number of messages that were put back into their histories.
    pub(crate) messages: AtomicU64,
    /// Channels on disk that were forgotten: they are not kept there any more, or there is no memory or no place for
    /// them.
    pub(crate) forgotten: usize,
}

impl StoreInfo {
    pub(in crate::shard) fn new(store: &OpenStore, max_channels: usize) -> Self {
        let loaded = &store.loaded;
        let channels = loaded.channels.len().min(max_channels);
        let over = loaded.channels.len() - channels;
        Self {
            status: store.handle.status().clone(),
            channels,
            // Each shard adds what fits into its memory.
            messages: AtomicU64::new(0),
            forgotten: loaded.unwanted + loaded.too_many + over,
        }
    }
}

/// A channel that was loaded, and has its place.
#[derive(Debug)]
struct Restorable {
    channel: LoadedChannel,
    permit: ChannelPermit,
}

/// Part of the store that a shard gets before it serves anybody.
#[derive(Debug)]
pub(crate) struct RestoredStore {
    handle: Arc<StoreHandle>,
    sync: StoreSync,
    /// The channels that it owns, those that were used last first.
    channels: Vec<Restorable>,
    /// Channels that there is no place for.
    forgotten: Vec<ChannelKey>,
}

impl OpenStore {
    /// Divides what was loaded among the shards. The channels that were used last come first, and those that are over the
    /// limit on channels are forgotten.
    pub(in crate::shard) fn divide(self, common: &Common) -> Vec<RestoredStore> {
        let sync = common.settings().store.sync;
        let part = |_| RestoredStore {
            handle: self.handle.clone(),
            sync,
            channels: Vec::new(),
            forgotten: Vec::new(),
        };
        let mut parts: Vec<_> = (0..common.shards()).map(part).collect();
        let mut forgotten = 0;
        for channel in self.loaded.channels {
            let part = &mut parts[common.owner(&channel.state.name).index()];
            match common.limiter.restore_channel() {
                Some(permit) => part.channels.push(Restorable { channel, permit }),
                None => {
                    part.forgotten.push(channel.state.key);
                    forgotten += 1;
                }
            }
        }
        if forgotten > 0 {
            tracing::warn!(
                channels = forgotten,
                limit = "max_channels",
                "channels on disk forgotten: there is no place for them"
            );
        }
        parts
    }
}

impl RestoredStore {
    /// Makes rooms of the channels, and returns the store for what comes.
    pub(in crate::shard) fn restore(
        self,
        owner: ShardId,
        common: &Arc<Common>,
        registry: &mut Registry,
    ) -> ShardStore {
        let store = ShardStore::new(self.handle, self.sync, owner, common.clone());
        for key in self.forgotten {
            store.unsaved.forget(key);
        }
        let clocks = Clocks::now();
        let mut restored = Restored::default();
        let channels = self.channels.into_iter();
        let rooms: Vec<_> = channels
            .map(|restorable| {
                let (at, room) = restore_room(&store, restorable, owner, common, registry, clocks);
                restored.add(room);
                at
            })
            .collect();
        restored.tell(owner, common);
        // Those that were used last are the last that make room for others.
        for at in rooms.into_iter().rev() {
            if let Some(room) = registry.room(at) {
                room.list_by_need();
                room.mark_if_trimmed();
            }
        }
        store
    }
}

/// Outcome of making rooms of the channels that were loaded.
#[derive(Clone, Copy, Debug, Default)]
struct Restored {
    /// Messages that are in their histories.
    messages: u64,
    /// Messages that are not, though they are not too old.
    dropped: u64,
    /// Publishers that did not fit into the memory for histories, or into the limit of their channel.
    publishers_forgotten: u64,
}

impl Restored {
    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.dropped += other.dropped;
        self.publishers_forgotten += other.publishers_forgotten;
    }

    /// Counts it, and logs what is lost.
    fn tell(self, owner: ShardId, common: &Common) {
        if let Some(info) = &common.store {
            info.messages.fetch_add(self.messages, Ordering::Relaxed);
        }
        let stats = &common.stats[owner.index()];
        stats.publishers_forgotten.add(self.publishers_forgotten);
        if self.dropped > 0 || self.publishers_forgotten > 0 {
            tracing::warn!(
                shard = owner.0,
                messages = self.dropped,
                publishers = self.publishers_forgotten,
                "messages or publishers on disk forgotten: they do not fit into the memory of the shard, or the limits of \
                 their channels"
            );
        }
    }
}

/// Makes a room. Returns its place, and what has become of what was loaded.
fn restore_room(
    store: &ShardStore,
    Restorable { channel, permit }: Restorable,
    owner: ShardId,
    common: &Common,
    registry: &mut Registry,
    clocks: Clocks,
) -> (u32, Restored) {
    let LoadedChannel {
        state,
        runs,
        publishers,
        added_to,
    } = channel;
    let first = runs.first().map_or(state.newest + 1, |oldest| {
        oldest.end + 1 - u64::from(oldest.messages)
    });
    let settings = common.channel_settings(&state.name);
    let is_old = |run: &&StoredRun| {
        let age = clocks.now - clocks.instant(run.at);
        settings.history_age.is_some_and(|limit| age > limit)
    };
    let young = runs.iter().skip_while(is_old);
    let young: u64 = young.map(|run| u64::from(run.messages)).sum();
    let newest = state.newest;
    // It may have been written before there were rules.
    let hides_keys = common.live().access.hides_keys();
    let had_members = state.idle_since.is_none();
    let saved = SavedState {
        epoch: state.epoch,
        past: state.past,
        newest: state.newest,
        runs: runs
            .into_iter()
            .map(|run| history_run(run, clocks, hides_keys))
            .collect(),
        publishers: publishers
            .into_iter()
            .map(|(id, publisher)| (id, saved_publisher(publisher, clocks)))
            .collect(),
        idle_since: state.idle_since.map(|since| clocks.instant(since)),
    };
    let mut channel = Channel::restore(settings, registry.new_history(), saved, clocks.now);
    // Their counts are on disk only together with runs that may go before they publish again.
    channel.mark_publishers_changed(added_to);
    let messages = (newest + 1).saturating_sub(channel.oldest());
    let restored = Restored {
        messages,
        dropped: young.saturating_sub(messages),
        publishers_forgotten: channel.take_forgotten() as u64,
    };
    let at = registry.open(owner, &state.name, channel, permit);
    if let Some(room) = registry.room(at) {
        let mut stored = StoredChannel::new(state.key, room.id, store.unsaved.clone());
        (stored.saved, stored.first) = (state.newest, first);
        if had_members {
            stored.mark();
        }
        store.keep(room, stored);
    }
    (at, restored)
}

fn history_run(run: StoredRun, clocks: Clocks, hides_keys: bool) -> HistoryRun {
    HistoryRun {
        at: clocks.instant(run.at),
        run: match hides_keys {
            true => run.run.without_keys(),
            false => run.run,
        },
        end: run.end,
        messages: run.messages,
        origin: run.origin,
    }
}

fn saved_publisher(publisher: StoredPublisher, clocks: Clocks) -> SavedPublisher {
    let at: Option<Instant> = publisher.at.map(|at| clocks.instant(at));
    SavedPublisher {
        published: publisher.published,
        at,
    }
}
