//! How sessions reconnect.

use std::time::Duration;

/// Settings of sessions that reconnect after their connection was lost.
///
/// A session reconnects after every end, refusals and servers that cannot be reached included, and after
/// a first attempt that failed: a server need not be there yet. Waits grow exponentially with full
/// jitter. The join is repeated with the same connection id and an empty message, for as long as it
/// takes.
///
/// A server that gives positions sends exactly what was missed, or says how much cannot be had
/// ([`Event::Gap`](super::Event::Gap)). Messages that this session has published itself meanwhile are not delivered: they
/// are recognised by its connection id and uid. What it has published is not lost either: the server says how much of it
/// has taken its place, and the session sends the rest again. If it cannot say so, as after a restart, that is told as
/// [`Event::Unconfirmed`](super::Event::Unconfirmed), and nothing is published twice.
///
/// Of other servers the whole history is replayed, and messages that were on their way are lost. Frames that were
/// delivered before are not delivered again. As v1 frames have
/// no numbers, they are recognised by comparing bytes, in order, with the last frames that were
/// delivered. This has two limits. A server that keeps a longer history than
/// [`remember`](Self::remember) says repeats the older part. And if a server comes back with a shorter
/// history, identical messages that are sent within half a second after the join may be taken for
/// repeated ones.
#[derive(Clone, Debug)]
pub struct Reconnect {
    pub(super) initial: Duration,
    pub(super) cap: Duration,
    remember: usize,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            remember: 100,
        }
    }
}

impl Reconnect {
    /// Sets the ceiling of the first wait; 200 ms by default.
    #[must_use]
    pub fn initial(mut self, wait: Duration) -> Self {
        self.initial = wait;
        self
    }

    /// Sets the ceiling of all waits; 30 s by default.
    #[must_use]
    pub fn cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// Sets the number of delivered frames that are remembered, 8 bytes each. It should be the length of
    /// the server's history; the default is 100, the usual limit of servers.
    #[must_use]
    pub fn remember(mut self, frames: usize) -> Self {
        self.remember = frames;
        self
    }

    /// Returns the number of delivered frames that are remembered, at least one.
    pub(super) fn remembered(&self) -> usize {
        self.remember.max(1)
    }
}
