//! Recognises, after a reconnect, what was delivered before.
//!
//! v1 frames have no sequence numbers. A server keeps one order per channel and sends a joiner the
//! newest part of it, so what comes after a reconnect is a part of what we had, in that order, then
//! what we missed, then what is live. Replayed frames are matched in order with the last ones that
//! were delivered, each of which counts once: a message that was sent twice on purpose is still
//! delivered twice.
//!
//! The match ends, and everything is delivered from then on, with the last frame that was delivered
//! before, or with the first new one after a match. Unless the server tells how long the replay is, it ends with a
//! silence of [`QUIET`] as well, or after [`LONGEST`].

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// A replay comes at once: after this long without a frame it is over.
const QUIET: Duration = Duration::from_millis(500);
/// However fast frames come, this long after the join they are live ones.
const LONGEST: Duration = Duration::from_secs(10);

/// Tells replayed frames that were delivered before from new ones.
#[derive(Debug)]
pub(super) struct ReplayMatcher {
    /// Hashes of frames, oldest first: the frames themselves would pin their read buffers.
    delivered: VecDeque<u64>,
    limit: usize,
    hasher: RandomState,
    matching: Option<Matching>,
}

/// A replay that is being matched.
#[derive(Debug)]
struct Matching {
    /// The number of frames that were delivered before the replay.
    known: usize,
    /// The number of those, from the oldest on, that can no longer be matched.
    passed: usize,
    /// `true` once a frame has matched.
    matched: bool,
    /// When the connection began.
    since: Instant,
    /// When the last frame came.
    last: Instant,
    /// Set once the server has told how long the replay is: then its end is counted, and takes what time it takes.
    is_counted: bool,
}

impl ReplayMatcher {
    /// Remembers up to `limit` frames.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            delivered: VecDeque::new(),
            limit,
            hasher: RandomState::new(),
            matching: None,
        }
    }

    /// Begins to match the frames of a new connection.
    pub(super) fn restart(&mut self, now: Instant) {
        self.end();
        self.matching = Some(Matching {
            known: self.delivered.len(),
            passed: 0,
            matched: false,
            since: now,
            last: now,
            is_counted: false,
        });
    }

    /// Leaves it to the caller to find the end of the replay, however long that takes: see [`end`](Self::end).
    pub(super) fn count_replay(&mut self) {
        if let Some(matching) = &mut self.matching {
            matching.is_counted = true;
        }
    }

    /// Returns `true` while frames are matched: the only time when a session's own frames come back.
    pub(super) fn is_matching(&mut self, now: Instant) -> bool {
        let Some(matching) = &mut self.matching else {
            return false;
        };
        let quiet = now.saturating_duration_since(matching.last) > QUIET;
        matching.last = now;
        let is_late = quiet || now.saturating_duration_since(matching.since) > LONGEST;
        if is_late && !matching.is_counted {
            self.end();
        }
        self.matching.is_some()
    }

    /// Takes the next frame with a message. Returns `true` if it was not delivered before.
    pub(super) fn accept(&mut self, frame: &[u8]) -> bool {
        let hash = self.hasher.hash_one(frame);
        if self.was_delivered(hash) {
            return false;
        }
        self.delivered.push_back(hash);
        if self.matching.is_none() {
            self.trim();
        }
        true
    }

    fn was_delivered(&mut self, hash: u64) -> bool {
        let Some(matching) = &mut self.matching else {
            return false;
        };
        let candidates = matching.passed..matching.known;
        let found = self
            .delivered
            .range(candidates)
            .position(|&known| known == hash);
        match found {
            Some(skipped) => {
                // What came before the first match is older than anything remembered.
                self.delivered.truncate(matching.known);
                matching.passed += skipped + 1;
                matching.matched = true;
                if matching.passed == matching.known {
                    self.end();
                }
            }
            None if matching.matched => self.end(),
            None => {}
        }
        found.is_some()
    }

    /// Ends the match: what comes from now on was not delivered before.
    pub(super) fn end(&mut self) {
        if self.matching.take().is_some() {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let excess = self.delivered.len().saturating_sub(self.limit);
        self.delivered.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replay that has delivered `before` and then reconnects.
    fn reconnected(limit: usize, before: &str) -> ReplayMatcher {
        let mut replay = ReplayMatcher::new(limit);
        for frame in before.chars() {
            assert!(accept(&mut replay, frame));
        }
        replay.restart(Instant::now());
        replay
    }

    fn accept(replay: &mut ReplayMatcher, frame: char) -> bool {
        replay.accept(frame.to_string().as_bytes())
    }

    fn accepted(replay: &mut ReplayMatcher, frames: &str) -> String {
        frames
            .chars()
            .filter(|&frame| accept(replay, frame))
            .collect()
    }

    #[test]
    fn suppresses_what_was_delivered() {
        for (before, after, expected) in [
            ("abc", "abc", ""),
            ("abc", "bcd", "d"),
            ("abc", "abcdeabc", "deabc"),
            ("", "ab", "ab"),
            ("abc", "", ""),
            // Sent twice on purpose: one more than we had is new.
            ("aa", "aaa", "a"),
            ("ab", "abab", "ab"),
            // A restarted server that has only what is new.
            ("abc", "def", "def"),
            // A live message like an old one, after what we missed.
            ("abc", "cda", "da"),
            // Holes in what the server kept.
            ("abcd", "bde", "e"),
        ] {
            let mut replay = reconnected(100, before);
            assert_eq!(
                accepted(&mut replay, after),
                expected,
                "{before} then {after}"
            );
        }
    }

    #[test]
    fn a_replay_that_is_counted_may_take_its_time() {
        let mut replay = reconnected(100, "abc");
        replay.count_replay();
        assert!(replay.is_matching(Instant::now() + 2 * LONGEST));
        assert_eq!(accepted(&mut replay, "abcd"), "d");
        assert!(!replay.is_matching(Instant::now()));
        let mut replay = reconnected(100, "abc");
        assert!(!replay.is_matching(Instant::now() + 2 * QUIET));
    }

    #[test]
    fn history_longer_than_the_memory_is_known_from_where_the_memory_begins() {
        let mut replay = reconnected(3, "abcdef");
        assert_eq!(accepted(&mut replay, "cdefg"), "cg");
        replay.restart(Instant::now());
        assert_eq!(accepted(&mut replay, "defgh"), "dh");
    }

    #[test]
    fn a_second_break_during_the_replay_loses_and_doubles_nothing() {
        let mut replay = reconnected(100, "abc");
        assert_eq!(accepted(&mut replay, "ab"), "");
        replay.restart(Instant::now());
        assert_eq!(accepted(&mut replay, "abcd"), "d");
        replay.restart(Instant::now());
        assert_eq!(accepted(&mut replay, "bcde"), "e");
    }

    #[test]
    fn silence_ends_the_replay() {
        let mut replay = reconnected(100, "abc");
        let start = Instant::now();
        replay.restart(start);
        assert!(replay.is_matching(start));
        assert!(replay.is_matching(start + QUIET));
        assert!(!replay.is_matching(start + 3 * QUIET));
        assert_eq!(accepted(&mut replay, "abc"), "abc");
    }

    #[test]
    fn a_stream_without_pauses_does_not_count_as_a_replay_for_ever() {
        let mut replay = reconnected(100, "abc");
        let start = Instant::now();
        replay.restart(start);
        let ended = (1..).find(|&n| !replay.is_matching(start + n * QUIET));
        assert_eq!(ended, Some(21));
    }
}
