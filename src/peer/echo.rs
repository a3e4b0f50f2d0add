//! Suspects a ring of servers that cannot say who they are.
//!
//! In a ring every frame goes round both ways. What this server has sent up comes down again, which
//! a v1 server never does by itself; and what a member has sent comes from that member again and
//! again. But users may send equal frames too. Probes tell which it is: frames that only this server can
//! have made go up, and if they come back from below there is a ring.
//!
//! A probe has nothing in it but a random token, good for one return within a short time. It goes up only,
//! and counts only when a member's session brings it back, so that nobody who is on one server alone
//! can make it come back. One return proves nothing: it takes [`PROOFS`] in a row, each of a new token.
//! A client that is on this server and above it, and passes on from there what this server has sent, is
//! a ring by all that can be seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// From so many equal frames on, among those watched for, a member may be a ring.
const REPEATS: usize = 8;
/// The shortest time between the first two probes, and between any after a while: members see them as
/// hints of presence, but one that is lost must not leave a ring standing for long.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Watch over one session with an upstream: notices when frames that it has sent come back.
#[derive(Debug, Default)]
pub(crate) struct EchoGuard {
    sent: VecDeque<u64>,
    /// Time at which the last probe was due, and the time after it in which none is.
    probed: Option<(Instant, Duration)>,
}

impl EchoGuard {
    /// Number of the newest frames sent up that are watched for.
    pub(crate) const WATCHED: usize = 64;

    /// Records that a frame with this digest goes up. Returns `true` if a ring has to be probed for.
    pub(crate) fn sent(&mut self, digest: u64, now: Instant) -> bool {
        if self.sent.len() >= Self::WATCHED {
            self.sent.pop_front();
        }
        self.sent.push_back(digest);
        let equal = self.sent.iter().filter(|&&sent| sent == digest);
        equal.count() >= REPEATS && self.is_due(now)
    }

    /// Records that a frame with this digest came down. Returns `true` if a ring has to be probed for.
    pub(crate) fn came(&mut self, digest: u64, now: Instant) -> bool {
        self.sent.contains(&digest) && self.is_due(now)
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

/// Number of probes in a row that have to come back until a ring is proven.
pub(crate) const PROOFS: u32 = 3;
/// Longest time for which a probe may be on its way.
const LIFE: Duration = Duration::from_secs(2);
/// Most tokens that are remembered but count no more: copies of a probe may come over several sessions,
/// and go no further.
const SPENT: usize = 16;

/// The probes of one link.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    /// The token that is on its way, and since when.
    sent: Option<(u64, Instant)>,
    spent: VecDeque<u64>,
    proofs: u32,
}

/// Meaning of a frame that may be a probe, by its key, in the order of what it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeReturn {
    /// It is no probe.
    No,
    /// It is a probe that counts no more.
    Spent,
    /// It is the probe that is on its way; more are needed.
    Proof,
    /// It is the last that was needed.
    Ring,
}

impl Prober {
    /// Returns `true` if a probe with this token, which must be random, is to be sent now: not while one
    /// is on its way.
    pub(crate) fn send(&mut self, token: u64, now: Instant) -> bool {
        match self.sent {
            Some((_, sent)) if now.duration_since(sent) <= LIFE => return false,
            Some(_) => self.reset(),
            None => {}
        }
        self.sent = Some((token, now));
        true
    }

    /// Returns `true` if frames have to be looked at.
    pub(crate) fn is_watching(&self) -> bool {
        self.sent.is_some() || !self.spent.is_empty()
    }

    /// Returns `true` if a frame with this key is a probe, wherever it comes from.
    pub(crate) fn is_probe(&self, key: u64) -> bool {
        self.sent.is_some_and(|(token, _)| token == key) || self.spent.contains(&key)
    }

    /// Takes in the key of a frame that a member's session has sent.
    pub(crate) fn came_back(&mut self, key: u64, now: Instant) -> ProbeReturn {
        if !self.is_probe(key) {
            return ProbeReturn::No;
        }
        let counts = self
            .sent
            .is_some_and(|(token, sent)| token == key && now.duration_since(sent) <= LIFE);
        if !counts {
            return ProbeReturn::Spent;
        }
        self.spend();
        self.proofs += 1;
        if self.proofs < PROOFS {
            return ProbeReturn::Proof;
        }
        ProbeReturn::Ring
    }

    /// Returns how many probes in a row have come back.
    pub(crate) const fn proofs(&self) -> u32 {
        self.proofs
    }

    /// Begins anew: what has come back was another session's.
    pub(crate) fn reset(&mut self) {
        self.spend();
        self.proofs = 0;
    }

    fn spend(&mut self) {
        if let Some((token, _)) = self.sent.take() {
            if self.spent.len() >= SPENT {
                self.spent.pop_front();
            }
            self.spent.push_back(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the probes `tokens` one after the other, each when the one before has come back.
    fn returned(prober: &mut Prober, tokens: &[u64], now: Instant) -> Vec<ProbeReturn> {
        let return_one = |&token: &u64| {
            prober.send(token, now);
            prober.came_back(token, now)
        };
        tokens.iter().map(return_one).collect()
    }

    #[test]
    fn a_ring_is_proven_by_several_probes_in_a_row() {
        let (mut prober, now) = (Prober::default(), Instant::now());
        assert_eq!(
            returned(&mut prober, &[1, 2, 3], now),
            [ProbeReturn::Proof, ProbeReturn::Proof, ProbeReturn::Ring]
        );
    }

    #[test]
    fn a_probe_counts_once() {
        let (mut prober, now) = (Prober::default(), Instant::now());
        prober.send(1, now);
        assert_eq!(prober.came_back(1, now), ProbeReturn::Proof);
        for _ in 0..10 {
            assert_eq!(prober.came_back(1, now), ProbeReturn::Spent);
        }
        assert_eq!(prober.proofs(), 1);
    }

    #[test]
    fn an_old_or_foreign_token_has_no_effect() {
        let (mut prober, now) = (Prober::default(), Instant::now());
        assert_eq!(prober.came_back(7, now), ProbeReturn::No);
        assert!(prober.send(1, now));
        assert!(!prober.send(2, now), "one at a time");
        assert_eq!(prober.came_back(2, now), ProbeReturn::No, "it was not sent");
        let late = now + LIFE + Duration::from_millis(1);
        assert_eq!(prober.came_back(1, late), ProbeReturn::Spent, "too late");
        assert_eq!(prober.proofs(), 0);
    }

    #[test]
    fn a_probe_that_is_lost_ends_the_row() {
        let (mut prober, now) = (Prober::default(), Instant::now());
        returned(&mut prober, &[1, 2], now);
        prober.send(3, now);
        let later = now + LIFE + Duration::from_millis(1);
        assert_eq!(
            returned(&mut prober, &[4, 5, 6], later),
            [ProbeReturn::Proof, ProbeReturn::Proof, ProbeReturn::Ring],
        );
        returned(&mut prober, &[7], later);
        prober.reset();
        assert_eq!(prober.proofs(), 0);
        assert!(prober.is_probe(7));
    }

    #[test]
    fn only_what_was_sent_is_an_echo() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        guard.sent(1, now);
        assert!(!guard.came(2, now));
        assert!(guard.came(1, now));
    }

    #[test]
    fn a_frame_that_is_sent_up_again_and_again_is_suspect() {
        let (mut guard, now) = (EchoGuard::default(), Instant::now());
        for _ in 1..REPEATS {
            assert!(!guard.sent(1, now));
            guard.sent(2, now);
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
