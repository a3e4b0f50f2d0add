//! The settings of channels.

use std::time::Duration;

/// Policy for a member whose queue is full or makes no progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The member is disconnected: over `queue_bytes`, or no progress for `write_deadline`.
    #[default]
    Disconnect,
    /// The oldest whole frames of its queue are dropped and counted; it is disconnected only when
    /// it makes no progress at all for `write_deadline`.
    DropOldest,
    /// The publishers of the channel pause while the member's queue is over half of
    /// `queue_bytes`; after `write_deadline` of that the member is disconnected. What each
    /// publisher has sent in one read before it pauses is queued on top.
    Backpressure,
}

/// Where a channel keeps its history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryStorage {
    /// In memory: it ends with the server.
    #[default]
    Memory,
    /// In memory, and on disk for the next start of the server.
    Disk,
}

/// Settings of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Where the history is kept.
    pub history: HistoryStorage,
    /// Most frames kept for members that join later; 0 keeps none.
    pub history_frames: usize,
    /// Most bytes of memory those frames may pin.
    pub history_bytes: usize,
    /// Frames older than this are not replayed. Small ones that were merged with older ones go with these, a 32nd
    /// part of this earlier at most.
    pub history_age: Option<Duration>,
    /// Most bytes queued for one member, besides the history it got when it joined; each run but the first counts
    /// [`ENTRY_COST`](super::ENTRY_COST) more.
    pub queue_bytes: usize,
    /// Longest time without progress on a member's socket while something is queued for it.
    pub write_deadline: Duration,
    /// Policy for members that cannot keep up.
    pub slow_policy: SlowPolicy,
    /// Set to send a join frame with an empty message to the other members.
    pub announce_joins: bool,
    /// Time over which changes of members are collected before those who watch are told.
    pub presence_interval: Duration,
    /// Time for which a channel without members keeps its history before it is freed.
    pub idle_ttl: Duration,
    /// Most publishers, or idempotency keys, that are remembered so that what is published again is not there twice;
    /// 0 remembers none.
    pub publishers_limit: usize,
    /// Time for which a publisher that is silent is remembered.
    pub publishers_age: Duration,
}

impl ChannelSettings {
    /// Returns the queued bytes at which held-back publishers may go on.
    #[inline]
    pub(super) const fn low_water(&self) -> usize {
        self.queue_bytes / 4
    }
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            history: HistoryStorage::Memory,
            history_frames: 100,
            history_bytes: 32 << 20,
            history_age: None,
            queue_bytes: 64 << 20,
            write_deadline: Duration::from_secs(10),
            slow_policy: SlowPolicy::Disconnect,
            announce_joins: true,
            presence_interval: Duration::from_millis(200),
            idle_ttl: Duration::from_secs(600),
            publishers_limit: 10_000,
            publishers_age: Duration::from_secs(300),
        }
    }
}

/// The settings of all channels: for each those of the first pattern that matches its name, else the default.
///
/// A pattern is a name in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelRules {
    /// Settings of channels that no pattern matches.
    pub default: ChannelSettings,
    /// Patterns in the order in which they are tried, each with its settings.
    pub patterns: Vec<(String, ChannelSettings)>,
}

impl ChannelRules {
    /// Returns `true` if any channel may keep its history on disk.
    #[cfg(feature = "server")]
    pub(crate) fn need_store(&self) -> bool {
        let patterns = self.patterns.iter().map(|(_, settings)| settings);
        let mut all = patterns.chain([&self.default]);
        all.any(|settings| settings.history == HistoryStorage::Disk)
    }

    /// Returns the shortest `idle_ttl` that any channel can have.
    #[cfg(feature = "server")]
    pub(crate) fn shortest_idle_ttl(&self) -> Duration {
        let patterns = self.patterns.iter().map(|(_, settings)| settings);
        let times = patterns.map(|settings| settings.idle_ttl);
        times.fold(self.default.idle_ttl, Duration::min)
    }

    /// Returns the longest `write_deadline` that any channel can have.
    #[cfg(feature = "server")]
    pub(crate) fn longest_write_deadline(&self) -> Duration {
        let patterns = self.patterns.iter().map(|(_, settings)| settings);
        let deadlines = patterns.map(|settings| settings.write_deadline);
        deadlines.fold(self.default.write_deadline, Duration::max)
    }
}
