//! The log of a fleet: where the order of all records is decided, and what keeps them.
//!
//! A [`Log`] appends records and reads all of them back in one order. What it is made of is the engine's matter.
//!
//! It must not know what is in a record.

#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod nats;

use std::future::Future;

use bytes::Bytes;
use thiserror::Error;

use crate::order::{FleetEpoch, LogEntry, Sequence};

/// A log that several nodes append to and read.
pub(crate) trait Log: 'static {
    /// Reads entries in order.
    type Tail: Tail;

    /// Returns what the log is now, as far as the engine says so.
    fn describe(&self) -> impl Future<Output = Result<LogState, LogError>>;

    /// Appends a record. One whose `id` the log has had in the last minutes is there once. Bounded in time; after an error
    /// nobody knows whether it was appended, and it is to be appended again with the same `id`, until it comes out of the
    /// tail.
    fn append(&self, id: &str, record: Bytes) -> impl Future<Output = Result<Sequence, LogError>>;

    /// Returns the entry at `sequence`; `None` if the log does not have it, or not any more.
    fn get(&self, sequence: Sequence) -> impl Future<Output = Result<Option<LogEntry>, LogError>>;

    /// Begins to read behind `sequence`.
    fn tail(&self, sequence: Sequence) -> impl Future<Output = Result<Self::Tail, LogError>>;
}

/// Reads a log.
pub(crate) trait Tail {
    /// Returns the next entry, whose sequence is that of the one before and 1. Waits for it as long as the log is heard of;
    /// cancel safe.
    ///
    /// # Errors
    ///
    /// The log is not heard of any more, or has lost something. A new tail goes on, once what was read last was
    /// compared with what the log has at its place.
    fn next(&mut self) -> impl Future<Output = Result<LogEntry, LogError>>;
}

/// What a log is at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogState {
    /// The oldest record that is kept; the one to come if there is none.
    pub(crate) first: Sequence,
    /// The newest record; the one before `first` if there is none.
    pub(crate) last: Sequence,
    /// When the engine has taken that, in milliseconds since 1970, also if it is not kept any more; 0 if there never was one.
    pub(crate) last_at_ms: u64,
    /// The epoch that the log was made with.
    pub(crate) epoch: FleetEpoch,
    /// Longest record in bytes.
    pub(crate) max_record: usize,
}

/// Why a log does not do what it should.
#[derive(Clone, Debug, Error)]
pub(crate) enum LogError {
    /// The engine is out of reach, or does not answer in time. It may be worth another try.
    #[error("{0}")]
    Unreachable(Box<str>),
    /// The log is not there, is another, or is not as it must be. Somebody has to do something.
    #[error("{0}")]
    Unusable(Box<str>),
}
