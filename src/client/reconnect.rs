//! How sessions come back after their connection was lost.

use std::time::Duration;

/// How a session comes back after its connection was lost.
///
/// Every end is tried again, refusals and servers that cannot be reached included, and so is the
/// first attempt: a server need not be there yet. Waits grow exponentially with full jitter. The join
/// is repeated with the same connection id and an empty message, for as long as it takes.
///
/// Frames of the replayed history that were delivered before are not delivered again. As v1 frames
/// have no numbers this compares bytes, in order, with the last frames that were delivered. Its
/// limits: a server that keeps a longer history than [`remember`](Self::remember) says repeats what
/// is older than that; and after a server came back with a shorter history than that, identical
/// messages sent within half a second after the join may be taken for repeated ones.
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
    /// Ceiling of the first wait; 200 ms by default.
    #[must_use]
    pub fn initial(mut self, wait: Duration) -> Self {
        self.initial = wait;
        self
    }

    /// Ceiling of all waits; 30 s by default.
    #[must_use]
    pub fn cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// How many delivered frames are remembered, 8 bytes each: best as many as the server's history
    /// holds; 100, the usual limit of servers, by default.
    #[must_use]
    pub fn remember(mut self, frames: usize) -> Self {
        self.remember = frames;
        self
    }

    /// Returns how many delivered frames are remembered, at least one.
    pub(super) fn remembered(&self) -> usize {
        self.remember.max(1)
    }
}
