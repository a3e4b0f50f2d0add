//! The decisions that both sides of a link between servers make.
//!
//! A server may have an upstream. For each channel with members it opens one session with it, the
//! *link*, and to the upstream it is a client among others. It differs by its first frame, a resync:
//! the history, and who it comes from, so that both sides end up with the same frames once.
//!
//! Everything here is pure: no I/O, no runtime, no clock. `shard` connects, reads and writes.
//!
//! Invariants:
//!
//! * Frames are compared by all their bytes and counted: two equal frames stay two.
//! * A frame that cannot be told from a known one is lost or doubled only beyond the window that
//!   both sides remember.

#[cfg(feature = "server")]
pub(crate) mod echo;
#[cfg(feature = "server")]
pub(crate) mod known;
#[cfg(feature = "server")]
pub(crate) mod link;
#[cfg(feature = "server")]
pub(crate) mod merge;
#[cfg(feature = "server")]
pub(crate) mod ranges;
#[cfg(feature = "server")]
pub(crate) mod status;
#[cfg(feature = "server")]
pub(crate) mod suspects;

#[cfg(feature = "server")]
pub use status::{LinkCounts, LinkState, LinkStatus};
