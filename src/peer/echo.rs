//! Suspects a ring of servers that cannot say who they are.
//!
//! A v1 server never sends a frame back to the session it came from. When a frame that this server
//! has sent up comes down again, then either two users have sent the very same frame on two
//! servers, or the links form a ring. A probe tells which: a frame that only this server can have
//! made is given to the members below, and if it comes down from above there is a ring.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many of the newest frames sent up are watched for.
const WATCHED: usize = 64;
/// The shortest time between two probes: members see them as hints of presence.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// What one session with an upstream has sent, and whether it came back.
#[derive(Debug, Default)]
pub(crate) struct EchoGuard {
    sent: VecDeque<u64>,
    probed: Option<Instant>,
}

impl EchoGuard {
    /// A frame with this digest goes up.
    pub(crate) fn sent(&mut self, digest: u64) {
        if self.sent.len() >= WATCHED {
            self.sent.pop_front();
        }
        self.sent.push_back(digest);
    }

    /// A frame with this digest came down. Returns whether to probe for a ring.
    pub(crate) fn came(&mut self, digest: u64, now: Instant) -> bool {
        let is_due = self
            .probed
            .is_none_or(|probed| now.duration_since(probed) >= PROBE_INTERVAL);
        let probe = is_due && self.sent.contains(&digest);
        if probe {
            self.probed = Some(now);
        }
        probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_an_echo() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        guard.sent(1);
        assert!(!guard.came(2, now));
        assert!(guard.came(1, now));
    }

    #[test]
    fn probes_are_rare() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        guard.sent(1);
        assert!(guard.came(1, now));
        assert!(!guard.came(1, now + PROBE_INTERVAL / 2));
        assert!(guard.came(1, now + PROBE_INTERVAL));
    }

    #[test]
    fn what_was_sent_long_ago_is_forgotten() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        guard.sent(0);
        (1..=WATCHED as u64).for_each(|digest| guard.sent(digest));
        assert!(!guard.came(0, now));
        assert!(guard.came(1, now));
    }
}
