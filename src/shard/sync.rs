//! What the wake-up between shards is made of. In `tests/loom`, which tries every interleaving of it, a module of
//! the same name has loom's in its place.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering, fence};

pub(super) use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Messages a mailbox takes before it is full.
pub(super) const MAILBOX_CAPACITY: usize = 4096;
