//! Keeps a flood of like events from flooding the log.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines let through in one [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// Lets a burst of lines through in each second and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    since: Cell<Option<Instant>>,
    count: Cell<u32>,
}

impl LogLimiter {
    /// Returns `true` if a line may be logged now. When a new second begins, logs how many were left out.
    pub(crate) fn admit(&self) -> bool {
        let now = Instant::now();
        if self
            .since
            .get()
            .is_none_or(|since| now.duration_since(since) >= WINDOW)
        {
            let left_out = self.count.get().saturating_sub(BURST);
            if left_out > 0 {
                tracing::warn!(left_out, "log lines suppressed; the counters include them");
            }
            self.since.set(Some(now));
            self.count.set(0);
        }
        self.count.set(self.count.get().saturating_add(1));
        self.count.get() <= BURST
    }
}
