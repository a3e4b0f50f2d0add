//! The seam between the writer and the database below it: tests put a disk there that is slow, full or broken.

use std::ops::RangeInclusive;

use bytes::Bytes;
use thiserror::Error;

use super::batch::ChannelKey;

/// The tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// State of each channel.
    Channels,
    /// The histories.
    Runs,
    /// Records of publishers.
    Publishers,
    /// Records of the store as a whole.
    Store,
}

impl Table {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Channels, Self::Runs, Self::Publishers, Self::Store];

    /// Returns its name in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Runs => "runs",
            Self::Publishers => "publishers",
            Self::Store => "store",
        }
    }
}

/// The first and the last of the channels whose records are visited.
pub(super) type ChannelRange = RangeInclusive<ChannelKey>;

/// All channels.
pub(super) const ALL_CHANNELS: ChannelRange = ChannelKey(0)..=ChannelKey(u64::MAX);

/// A change of one record.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: Bytes,
    /// The new value; `None` deletes the key.
    pub(super) value: Option<Bytes>,
}

/// Reason for which a database cannot be opened or used.
#[derive(Clone, Debug, Error)]
pub(super) enum EngineError {
    /// Another process has it open.
    #[error("another process uses it")]
    Locked,
    /// The system does not let us, or the disk does not do it.
    #[error("{0}")]
    System(String),
    /// What is on disk is not what was written.
    #[error("{0}")]
    Damaged(String),
}

/// Takes a record, and says whether the scan goes on.
pub(super) type Visitor<'a> = &'a mut dyn FnMut(&[u8], Bytes);

/// A database of tables with ordered keys, whose commits are whole or not there.
pub(super) trait Engine: Send + Sync {
    /// Writes all of it, or nothing, and hands it to the system.
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError>;

    /// Waits until everything committed is on disk.
    fn sync(&mut self) -> Result<(), EngineError>;

    /// Returns the value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits the records of channels, in the order of their keys.
    fn scan(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: Visitor<'_>,
    ) -> Result<(), EngineError>;

    /// Like [`scan`](Self::scan), without values where that saves reading them.
    fn scan_keys(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), EngineError>;

    /// Returns the bytes that it takes on disk.
    fn disk_space(&self) -> Result<u64, EngineError>;

    /// Returns the bytes that are free on its disk.
    fn free_space(&self) -> Result<u64, EngineError>;

    /// Writes anew what is there, without what is gone.
    fn compact(&mut self) -> Result<(), EngineError>;
}
