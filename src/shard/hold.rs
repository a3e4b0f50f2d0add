//! Holds readers back for a while.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// A gate that is open most of the time. One thread only.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    held: Cell<bool>,
    released: Notify,
}

impl Hold {
    /// Closes or opens the gate.
    pub(crate) fn set(&self, held: bool) {
        if self.held.replace(held) && !held {
            self.released.notify_waiters();
        }
    }

    /// Whether the gate is closed.
    pub(crate) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Waits until the gate is open. Cancel safe.
    pub(crate) async fn released(&self) {
        while self.is_held() {
            self.released.notified().await;
        }
    }

    /// Waits until the gate is open, but not longer than `limit`. Cancel safe.
    pub(crate) async fn released_within(&self, limit: Duration) {
        if self.is_held() {
            // Past the limit the caller goes on all the same.
            let _ = timeout(limit, self.released()).await;
        }
    }
}
