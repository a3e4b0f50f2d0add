//! Pauses readers: the publishers of a channel while one of its members is behind, or all of a shard
//! while another shard's mailbox is full.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// A pause that tasks of one shard wait for. Most of the time there is none.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    is_on: Cell<bool>,
    over: Notify,
}

impl Pause {
    /// Begins or ends the pause.
    pub(crate) fn set(&self, on: bool) {
        if self.is_on.replace(on) && !on {
            self.over.notify_waiters();
        }
    }

    /// Returns `true` while the pause lasts.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Waits until the pause is over. Cancel safe.
    pub(crate) async fn over(&self) {
        while self.is_on() {
            self.over.notified().await;
        }
    }

    /// Waits until the pause is over, but not longer than `limit`. Cancel safe.
    pub(crate) async fn over_within(&self, limit: Duration) {
        if self.is_on() {
            // Past the limit the caller goes on all the same.
            let _ = timeout(limit, self.over()).await;
        }
    }
}
