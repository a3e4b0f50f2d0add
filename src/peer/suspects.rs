//! Frames that may come down from the upstream a second time.
//!
//! A server that got frames from below which may be old passes them on as late ones. The upstream may
//! have the same, and may have sent them down already: until it says that it has compared them, an equal
//! frame from above is the same frame, and members have got it or are going to.

use std::collections::{HashMap, VecDeque};

/// Digests of late frames that the upstream has not answered.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    counts: HashMap<u64, u32>,
    /// Of each group sent up: the number of its last frame, and its digests.
    sent: VecDeque<(u64, Vec<u64>)>,
}

impl Suspects {
    /// Returns `true` if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds a frame that is going to be published and passed on as a late one.
    pub(crate) fn add(&mut self, digest: u64) {
        *self.counts.entry(digest).or_default() += 1;
    }

    /// Records that a group of these has been sent up, the last with the number `last`.
    pub(crate) fn sent(&mut self, digests: Vec<u64>, last: u64) {
        self.sent.push_back((last, digests));
    }

    /// Returns `true` if a frame from above is one of these. It accounts for one.
    pub(crate) fn is_known(&mut self, digest: u64) -> bool {
        let is_known = self.counts.contains_key(&digest);
        if is_known {
            self.remove(digest);
        }
        is_known
    }

    /// Records that the upstream has compared all frames up to that number.
    pub(crate) fn compared(&mut self, up_to: u64) {
        while self.sent.front().is_some_and(|(last, _)| *last <= up_to) {
            let group = self.sent.pop_front();
            let digests = group.into_iter().flat_map(|(_, digests)| digests);
            digests.for_each(|digest| self.remove(digest));
        }
    }

    /// Removes a frame that is not passed on as a late one after all.
    pub(crate) fn remove(&mut self, digest: u64) {
        match self.counts.get_mut(&digest) {
            Some(count @ 2..) => *count -= 1,
            Some(_) => drop(self.counts.remove(&digest)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_as_often_as_it_was_brought() {
        let mut suspects = Suspects::default();
        [1, 1, 2].iter().for_each(|&digest| suspects.add(digest));
        assert_eq!(
            [1, 1, 1, 2, 3].map(|digest| suspects.is_known(digest)),
            [true, true, false, true, false]
        );
        assert!(suspects.is_empty());
    }

    #[test]
    fn what_comes_after_the_answer_is_another_frame() {
        let mut suspects = Suspects::default();
        [1, 2, 2].iter().for_each(|&digest| suspects.add(digest));
        suspects.sent(vec![1, 2], 8);
        suspects.sent(vec![2], 9);
        suspects.compared(7);
        assert!(suspects.is_known(1));
        suspects.compared(8);
        assert!(!suspects.is_known(1));
        assert!(suspects.is_known(2) && !suspects.is_known(2));
        suspects.compared(9);
        assert!(suspects.is_empty());
    }
}
