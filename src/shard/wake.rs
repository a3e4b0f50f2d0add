//! Wakes a shard at most once for a batch of messages, and not at all while it is awake.
//!
//! A sender pushes its message and then calls [`Wake::notify`]. The shard drains its queues, calls
//! [`Wake::sleep`] with a look at the queues, and may only stop if that returns `true`. Either the
//! sender sees the shard asleep and wakes it, or the shard's look comes after the push and sees
//! the message: both sides put a sequentially consistent fence between their write and their read.

use std::sync::PoisonError;
use std::task::Waker;

use super::sync::{AtomicBool, Mutex, Ordering, fence};

/// The wake flag of one shard.
#[derive(Debug)]
pub(crate) struct Wake {
    /// Changed by read-modify-writes only, so that its changes have one order: loom does not
    /// order plain stores against another thread's swap, and finds wake-ups lost that are not.
    asleep: AtomicBool,
    /// Taken only to register, and by the one sender that finds the shard asleep.
    waker: Mutex<Option<Waker>>,
}

impl Wake {
    pub(crate) fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Registers the shard's task, before its first [`Wake::sleep`].
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes the shard if it is asleep. To be called by a sender after its push.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            let slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waker) = &*slot {
                waker.wake_by_ref();
            }
        }
    }

    /// Returns `true` if the shard may stop, which has found its queues empty; `is_idle` looks again. From then on a
    /// `notify` wakes it.
    pub(crate) fn sleep(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_idle() {
            return true;
        }
        self.asleep.swap(false, Ordering::Relaxed);
        false
    }
}
