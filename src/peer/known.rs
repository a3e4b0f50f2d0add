//! Recognises frames that have passed between this server and one upstream, when the upstream replays
//! its history.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use crate::protocol::{HEADER_LEN, Key};

/// Where the session key begins, with which a frame's header ends.
const KEY_AT: usize = HEADER_LEN - size_of::<Key>();

/// Digests of the newest frames that both sides have, oldest first.
///
/// A digest is a 64-bit hash with a key of this process, so that nobody can make two frames that
/// share one. Frames are told apart by all of their bytes but the session key, which one side may have
/// cleared and the other not.
#[derive(Debug)]
pub(crate) struct KnownFrames {
    digests: VecDeque<u64>,
    limit: usize,
}

/// Hashes frames, with one key for the whole process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digester(RandomState);

impl Digester {
    /// Returns the digest of a whole frame, whatever its session key.
    pub(crate) fn digest(&self, frame: &[u8]) -> u64 {
        match (frame.get(..KEY_AT), frame.get(HEADER_LEN..)) {
            (Some(before), Some(behind)) => self.0.hash_one((before, behind)),
            _ => self.0.hash_one(frame),
        }
    }
}

impl KnownFrames {
    /// Creates an empty list of at most `limit` digests.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            digests: VecDeque::new(),
            limit,
        }
    }

    /// Returns the largest number of digests.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Records one more frame.
    pub(crate) fn push(&mut self, digest: u64) {
        if self.digests.len() >= self.limit {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
    }

    /// Begins to recognise a replay of unknown length.
    pub(crate) fn begin_replay(&self) -> ReplayFilter {
        let mut known = HashMap::new();
        for &digest in &self.digests {
            *known.entry(digest).or_insert(0) += 1;
        }
        ReplayFilter { known, left: None }
    }

    /// Begins to recognise a replay of `frames` frames, from which the sender has already left out
    /// one frame for each of `shown`: those are not to be left out twice.
    pub(crate) fn begin_rest(&self, frames: u64, shown: &[u64]) -> ReplayFilter {
        let mut replay = self.begin_replay();
        for digest in shown {
            if let Some(count @ 1..) = replay.known.get_mut(digest) {
                *count -= 1;
            }
        }
        replay.left = Some(frames);
        replay
    }
}

/// Filter for a replay that is coming in. Tells which of its frames are known already: one that came
/// three times before is known three times.
#[derive(Debug)]
pub(crate) struct ReplayFilter {
    known: HashMap<u64, u32>,
    left: Option<u64>,
}

impl ReplayFilter {
    /// Returns `true` if the next frame of the replay is known.
    pub(crate) fn is_known(&mut self, digest: u64) -> bool {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        match self.known.get_mut(&digest) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Returns `true` once all of the replay has come, if its length is known.
    pub(crate) fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::protocol::{Cid, Message, encode_frame};

    fn known(limit: usize, frames: &[u64]) -> KnownFrames {
        let mut known = KnownFrames::new(limit);
        frames.iter().for_each(|&digest| known.push(digest));
        known
    }

    fn recognised(replay: &mut ReplayFilter, frames: &[u64]) -> Vec<bool> {
        frames.iter().map(|&f| replay.is_known(f)).collect()
    }

    #[test]
    fn equal_frames_are_known_as_often_as_they_came() {
        let mut replay = known(10, &[1, 2, 1]).begin_rest(5, &[]);
        assert_eq!(
            recognised(&mut replay, &[1, 1, 1, 2, 3]),
            [true, true, false, true, false]
        );
        assert!(replay.is_over());
    }

    #[test]
    fn what_the_sender_has_left_out_is_not_left_out_again() {
        let mut replay = known(10, &[1, 1, 2]).begin_rest(4, &[1, 9]);
        assert_eq!(
            recognised(&mut replay, &[1, 1, 2, 9]),
            [true, false, true, false]
        );
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut replay = known(2, &[1, 2, 3]).begin_rest(3, &[]);
        assert_eq!(recognised(&mut replay, &[1, 2, 3]), [false, true, true]);
    }

    #[test]
    fn a_second_replay_is_recognised_like_the_first() {
        let known = known(10, &[7]);
        for _ in 0..2 {
            assert!(known.begin_replay().is_known(7));
        }
    }

    #[test]
    fn a_replay_of_unknown_length_is_not_over_by_itself() {
        let mut replay = known(10, &[7]).begin_replay();
        assert!(replay.is_known(7) && !replay.is_known(7));
        assert!(!replay.is_over());
        assert!(KnownFrames::new(1).begin_rest(0, &[]).is_over());
    }

    #[test]
    fn digests_differ_between_processes_and_frames() {
        let (one, other) = (Digester::default(), Digester::default());
        assert_eq!(one.digest(b"a"), one.digest(b"a"));
        assert_ne!(one.digest(b"a"), one.digest(b"b"));
        assert_ne!(one.digest(b"a"), other.digest(b"a"));
    }

    #[test]
    fn a_frame_is_known_without_its_session_key() {
        let digester = Digester::default();
        let digest = |cid, key, message: &str| {
            let message = Message {
                uid: "alice",
                channel: "room",
                message: message.as_bytes(),
            };
            digester.digest(&encode_frame(Cid(cid), Key(key), &message).unwrap())
        };
        assert_eq!(digest(1, 7, "hello"), digest(1, 0, "hello"));
        assert_ne!(digest(1, 7, "hello"), digest(2, 7, "hello"));
        assert_ne!(digest(1, 7, "hello"), digest(1, 7, "world"));
    }
}
