//! Identifiers that more than one thread uses.

use std::fmt;

/// A shard, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShardId(pub(crate) u16);

impl ShardId {
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A channel, for the shards that relay it. Never used twice: the serial number tells channels
/// apart that had the same place one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelId {
    pub(crate) owner: ShardId,
    pub(crate) index: u32,
    pub(crate) serial: u64,
}

/// Place of a session's channel on the session's own shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Home {
    /// This shard owns the channel: index of its room.
    Owned(u32),
    /// Another shard does: index of the relay.
    Relayed(u32),
}

impl Home {
    /// Returns the index of the room, if this shard owns it.
    pub(crate) const fn owned(self) -> Option<u32> {
        match self {
            Self::Owned(at) => Some(at),
            Self::Relayed(_) => None,
        }
    }
}
