//! Every interleaving of the wake-up between shards, explored by loom. The files are those of the broker, with loom's
//! threads, locks and atomics in their module `sync`.
#![allow(clippy::unwrap_used, unreachable_pub)] // a test program
#![allow(dead_code, reason = "not all that the broker needs is explored")]

#[path = "../../src/shard/mailbox.rs"]
mod mailbox;
mod message;
mod queue;
mod room;
#[path = "../../src/shard/wake.rs"]
mod wake;

mod sync {
    pub use crossbeam_channel::TrySendError;
    pub use loom::sync::Mutex;
    pub use loom::sync::atomic::{AtomicBool, AtomicIsize, Ordering, fence};

    pub use crate::queue::{Receiver, Sender, bounded};

    /// Loom explores small worlds only.
    pub const MAILBOX_CAPACITY: usize = 2;
}
