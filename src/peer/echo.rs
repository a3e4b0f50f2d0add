//! Suspects a ring of servers that cannot say who they are.
//!
//! In a ring every frame goes round both ways. What this server has sent up comes down again, which
//! a v1 server never does by itself; and what a member has sent comes from that member again and
//! again. But users may send equal frames too. A probe tells which it is: a frame that only this
//! server can have made goes up and to the members, and if it comes back there is a ring.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// From so many equal frames on, among those watched for, a member may be a ring.
const REPEATS: usize = 8;
/// The shortest time between the first two probes, and between any after a while: members see them as
/// hints of presence, but one that is lost must not leave a ring standing for long.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What one session with an upstream has sent, and whether it came back.
#[derive(Debug, Default)]
pub(crate) struct EchoGuard {
    sent: VecDeque<u64>,
    /// When the last probe was due, and how long none is due after it.
    probed: Option<(Instant, Duration)>,
}

impl EchoGuard {
    /// How many of the newest frames sent up are watched for.
    pub(crate) const WATCHED: usize = 64;

    /// A frame with this digest goes up. Returns whether to probe for a ring.
    pub(crate) fn sent(&mut self, digest: u64, now: Instant) -> bool {
        if self.sent.len() >= Self::WATCHED {
            self.sent.pop_front();
        }
        self.sent.push_back(digest);
        let equal = self.sent.iter().filter(|&&sent| sent == digest);
        equal.count() >= REPEATS && self.is_due(now)
    }

    /// A frame with this digest came down. Returns whether to probe for a ring.
    pub(crate) fn came(&mut self, digest: u64, now: Instant) -> bool {
        self.sent.contains(&digest) && self.is_due(now)
    }

    /// Whether a probe has been sent.
    pub(crate) const fn has_probed(&self) -> bool {
        self.probed.is_some()
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let interval = match self.probed {
            None => INTERVALS.0,
            Some((probed, interval)) if now.duration_since(probed) < interval => return false,
            Some((_, interval)) => (2 * interval).min(INTERVALS.1),
        };
        self.probed = Some((now, interval));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_an_echo() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        guard.sent(1, now);
        assert!(!guard.came(2, now) && !guard.has_probed());
        assert!(guard.came(1, now) && guard.has_probed());
    }

    #[test]
    fn a_frame_that_is_sent_up_again_and_again_is_suspect() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        for _ in 1..REPEATS {
            assert!(!guard.sent(1, now));
            assert!(!guard.sent(2, now) || guard.has_probed());
        }
        assert!(guard.sent(1, now));
        assert!(!guard.sent(1, now), "once is enough");
    }

    #[test]
    fn probes_become_rare() {
        let (mut guard, mut now) = (EchoGuard::default(), Instant::now());
        guard.sent(1, now);
        assert!(guard.came(1, now));
        let mut interval = INTERVALS.0;
        for _ in 0..10 {
            assert!(!guard.came(1, now + interval / 2));
            now += interval;
            assert!(guard.came(1, now));
            interval = (2 * interval).min(INTERVALS.1);
        }
        assert_eq!(interval, INTERVALS.1);
    }

    #[test]
    fn what_was_sent_long_ago_is_forgotten() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        for digest in 0..=EchoGuard::WATCHED as u64 {
            guard.sent(digest, now);
        }
        assert!(!guard.came(0, now));
        assert!(guard.came(1, now));
    }
}
