//! Lifecycle of a broker, and what moves it on.

use std::sync::atomic::Ordering;

use super::common::Common;

/// Lifecycle of a broker. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BrokerPhase {
    /// Clients are served.
    Running,
    /// Clients are served, and new ones as well, but those who choose a server are told to choose another.
    Unready,
    /// No one new is served; clients get what is queued for them and are let go.
    Draining,
    /// No client is left; shards hand over to the store what it does not have yet.
    Saving,
    /// Every shard returns at once.
    Stopped,
}

impl Common {
    /// Returns `true` once every shard accepts connections.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire) >= self.shards()
    }

    /// Records that one shard has let its sessions go. When all have, the broker stops, once what is left is in the
    /// store, if it has one.
    pub(super) fn drained(&self) {
        if self.undrained.fetch_sub(1, Ordering::AcqRel) == 1 {
            let has_store = self.store.is_some();
            self.advance(if has_store {
                BrokerPhase::Saving
            } else {
                BrokerPhase::Stopped
            });
        }
    }

    /// Records that one shard has handed over all that it had, or could not. When all have, the broker stops. A shard that
    /// is stopped at once does neither.
    pub(super) fn saved(&self, has_all: bool) {
        self.lost.fetch_add((!has_all).into(), Ordering::AcqRel);
        if self.unsaved.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.advance(BrokerPhase::Stopped);
        }
    }

    /// Returns `true` if every shard has come to the end of a drain, and of its last batch.
    pub(crate) fn has_drained(&self) -> bool {
        self.unsaved.load(Ordering::Acquire) == 0
    }

    /// Returns `true` if every shard has handed over all that it had, at the end of a drain.
    pub(crate) fn has_saved_all(&self) -> bool {
        self.has_drained() && self.lost.load(Ordering::Acquire) == 0
    }

    /// Records that one shard has let its clients go.
    pub(super) fn let_go(&self) {
        self.with_clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns `true` if all shards have let their clients go.
    pub(super) fn has_let_go(&self) -> bool {
        self.with_clients.load(Ordering::Acquire) == 0
    }

    /// Begins to let the clients go: after `drain_grace`, in which the broker is only not ready any more.
    pub(crate) fn begin_drain(&self) {
        let has_grace = !self.settings().drain_grace.is_zero();
        self.advance(if has_grace {
            BrokerPhase::Unready
        } else {
            BrokerPhase::Draining
        });
    }

    /// Stops at once because a thread of this broker has panicked.
    pub(crate) fn fail(&self) {
        self.panicked.store(true, Ordering::Release);
        self.advance(BrokerPhase::Stopped);
    }

    /// Returns `true` if a thread or task of this broker has panicked.
    pub(crate) fn has_failed(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }

    /// Waits until the broker has come to `phase` or beyond. Cancel safe.
    pub(crate) async fn reached(&self, phase: BrokerPhase) {
        let mut phases = self.phase.subscribe();
        // It could only fail if the sender were gone, which is here.
        let _ = phases.wait_for(|current| *current >= phase).await;
    }

    /// Moves on to `phase`. Does nothing if the broker is past it.
    pub(crate) fn advance(&self, phase: BrokerPhase) {
        self.phase.send_if_modified(|current| {
            let later = *current < phase;
            if later {
                *current = phase;
            }
            later
        });
    }
}
