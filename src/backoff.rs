//! Waits between attempts: exponential with full jitter.

use std::time::Duration;

/// The ceilings of waits between attempts to connect.
///
/// A ceiling doubles with every failure. The wait itself must be [`jittered`], that is random between
/// nothing and its ceiling ("full jitter"), so that clients that lost a server together do not come back
/// together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(initial: Duration, cap: Duration) -> Self {
        Self {
            initial,
            cap,
            failures: 0,
        }
    }

    /// Returns the ceiling of the wait before the next attempt, and counts a failure.
    pub(crate) fn next_ceiling(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling
    }

    /// Returns the longest ceiling.
    #[cfg(feature = "client")]
    pub(crate) const fn cap(&self) -> Duration {
        self.cap
    }

    /// Forgets all failures: the next wait is a short one.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(&self) -> Duration {
        let factor = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.cap)
    }
}

/// Returns a random part of `ceiling`.
pub(crate) fn jittered(ceiling: Duration) -> Duration {
    ceiling.mul_f64(rand::random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap_and_start_again() {
        let secs = Duration::from_secs;
        let mut backoff = Backoff::new(secs(1), secs(10));
        for ceiling in [1, 2, 4, 8, 10, 10] {
            assert_eq!(backoff.ceiling(), secs(ceiling));
            assert!(jittered(backoff.next_ceiling()) <= secs(ceiling));
        }
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next_ceiling(), secs(10));
        backoff.reset();
        assert_eq!(backoff.ceiling(), secs(1));
    }

    #[test]
    fn waits_are_spread() {
        let ceiling = Duration::from_secs(8);
        let waits: Vec<_> = (0..200).map(|_| jittered(ceiling).as_secs()).collect();
        assert!(waits.iter().any(|&wait| wait < 4) && waits.iter().any(|&wait| wait >= 4));
    }
}
