//! The number that every message carries, and the check that each subscriber got each once and in order.
//!
//! The check is the same for every broker: adapters find payloads, nothing else. The usual case, the
//! next number of a publisher, costs one comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The first eight bytes of every payload: which publisher of the channel, and which of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// Bytes of a payload that a stamp takes: the smallest payload there is.
    pub(crate) const LEN: usize = 8;
    const SEQUENCE_BITS: u32 = 48;
    const PROBE: u16 = u16::MAX;

    /// Returns the stamp of message `sequence` (counted from 0) of publisher `publisher` of its channel.
    pub(crate) fn new(publisher: u16, sequence: u64) -> Self {
        debug_assert!(sequence >> Self::SEQUENCE_BITS == 0);
        Self((u64::from(publisher) << Self::SEQUENCE_BITS) | sequence)
    }

    /// Returns a message that only asks "do you hear me" and is never counted.
    pub(crate) fn probe() -> Self {
        Self::new(Self::PROBE, 0)
    }

    pub(crate) fn is_probe(self) -> bool {
        self.0 >> Self::SEQUENCE_BITS == u64::from(Self::PROBE)
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    fn publisher(self) -> usize {
        usize::from(u16::try_from(self.0 >> Self::SEQUENCE_BITS).unwrap_or(Self::PROBE))
    }

    fn sequence(self) -> u64 {
        self.0 & ((1 << Self::SEQUENCE_BITS) - 1)
    }
}

/// Counts of the deliveries that subscribers saw and missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Deliveries that were due: messages times subscribers.
    pub(crate) expected: u64,
    /// Distinct messages that came, late ones included.
    pub(crate) delivered: u64,
    /// Messages that never came.
    pub(crate) lost: u64,
    /// Messages that came again.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one of the same publisher.
    pub(crate) reordered: u64,
    /// Messages that nobody sent here: of another channel or of no publisher of this one.
    pub(crate) foreign: u64,
}

impl Tally {
    /// Returns `true` if everything came once, in order, and nothing else did.
    pub(crate) fn is_clean(&self) -> bool {
        self.delivered == self.expected
            && [self.lost, self.duplicated, self.reordered, self.foreign] == [0; 4]
    }

    /// Returns the tally as if nothing that was lost had been due.
    pub(crate) fn without_losses(&self) -> Self {
        Self {
            expected: self.expected - self.lost,
            lost: 0,
            ..*self
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
    }

    /// Returns the difference between `earlier` and `self`, two tallies of the same subscribers.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            expected: self.expected - earlier.expected,
            delivered: self.delivered - earlier.delivered,
            lost: self.lost.saturating_sub(earlier.lost),
            duplicated: self.duplicated - earlier.duplicated,
            reordered: self.reordered - earlier.reordered,
            foreign: self.foreign - earlier.foreign,
        }
    }
}

/// One subscriber's account of every publisher of its channel.
#[derive(Debug)]
pub(crate) struct Verifier {
    sources: Vec<PublisherProgress>,
    /// The publisher that this subscriber is itself.
    own: Option<usize>,
    foreign: u64,
    heard_probe: bool,
}

impl Verifier {
    pub(crate) fn new(publishers: usize) -> Self {
        Self {
            sources: (0..publishers)
                .map(|_| PublisherProgress::default())
                .collect(),
            own: None,
            foreign: 0,
            heard_probe: false,
        }
    }

    /// Returns a verifier for a subscriber that is publisher `own` too. Some brokers give a sender its own messages
    /// back and others do not: those are neither waited for nor counted.
    pub(crate) fn of_member(publishers: usize, own: usize) -> Self {
        Self {
            own: Some(own),
            ..Self::new(publishers)
        }
    }

    /// Takes one delivery into account.
    #[inline]
    pub(crate) fn check(&mut self, stamp: Stamp) {
        match self.sources.get_mut(stamp.publisher()) {
            Some(source) if source.next == stamp.sequence() => source.next += 1,
            Some(source) => source.out_of_turn(stamp.sequence()),
            None if stamp.is_probe() => self.heard_probe = true,
            None => self.foreign += 1,
        }
    }

    /// Returns `true` once a probe has come: from then on this subscriber must get everything.
    pub(crate) fn heard_probe(&self) -> bool {
        self.heard_probe
    }

    /// Returns how far this subscriber has come with `publisher`: the message it waits for. With its own it
    /// is always at the end.
    pub(crate) fn progress(&self, publisher: usize) -> u64 {
        if self.own == Some(publisher) {
            return u64::MAX;
        }
        self.sources.get(publisher).map_or(0, |source| source.next)
    }

    /// Returns the account, given how many messages each publisher has sent. What has not come counts as
    /// lost.
    pub(crate) fn tally(&self, sent: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally {
            foreign: self.foreign,
            ..Tally::default()
        };
        for (index, (source, sent)) in self.sources.iter().zip(sent).enumerate() {
            if self.own == Some(index) {
                continue;
            }
            let missing = source.missing();
            tally.expected += sent;
            tally.delivered += source.next - missing;
            tally.lost += missing + sent.saturating_sub(source.next);
            tally.duplicated += source.duplicated;
            tally.reordered += source.reordered;
            tally.foreign += source.next.saturating_sub(sent);
        }
        tally
    }
}

#[derive(Debug, Default)]
struct PublisherProgress {
    /// One more than the highest number seen.
    next: u64,
    /// Numbers below `next` that have not come, as start → end ranges.
    gaps: BTreeMap<u64, u64>,
    duplicated: u64,
    reordered: u64,
}

impl PublisherProgress {
    fn missing(&self) -> u64 {
        self.gaps.iter().map(|(start, end)| end - start).sum()
    }

    #[cold]
    fn out_of_turn(&mut self, sequence: u64) {
        if sequence > self.next {
            self.gaps.insert(self.next, sequence);
            self.next = sequence + 1;
            return;
        }
        let gap = self
            .gaps
            .range(..=sequence)
            .next_back()
            .map(|(&start, &end)| (start, end));
        let Some((start, end)) = gap.filter(|&(_, end)| sequence < end) else {
            self.duplicated += 1;
            return;
        };
        self.reordered += 1;
        self.gaps.remove(&start);
        if start < sequence {
            self.gaps.insert(start, sequence);
        }
        if sequence + 1 < end {
            self.gaps.insert(sequence + 1, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sequences: &[u64], sent: u64) -> Tally {
        let mut verifier = Verifier::new(1);
        for &sequence in sequences {
            verifier.check(Stamp::new(0, sequence));
        }
        verifier.tally([sent])
    }

    #[test]
    fn all_in_order_is_clean() {
        assert!(seen(&[0, 1, 2, 3], 4).is_clean());
    }

    #[test]
    fn a_gap_is_a_loss() {
        let tally = seen(&[0, 1, 4], 5);
        assert_eq!((tally.lost, tally.delivered), (2, 3));
        assert!(!tally.is_clean());
    }

    #[test]
    fn what_never_came_at_the_end_is_a_loss() {
        let tally = seen(&[0, 1], 4);
        assert_eq!((tally.lost, tally.delivered, tally.expected), (2, 2, 4));
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_no_delivery() {
        let tally = seen(&[0, 1, 1, 0, 2], 3);
        assert_eq!((tally.duplicated, tally.delivered, tally.lost), (2, 3, 0));
        assert!(!tally.is_clean());
    }

    #[test]
    fn a_late_one_is_reordered_and_not_lost() {
        let tally = seen(&[0, 4, 2, 1, 3, 5], 6);
        assert_eq!((tally.reordered, tally.lost, tally.delivered), (3, 0, 6));
        assert!(!tally.is_clean());
    }

    #[test]
    fn a_late_one_that_comes_twice_is_both() {
        let tally = seen(&[0, 2, 1, 1], 3);
        assert_eq!(
            (tally.reordered, tally.duplicated, tally.delivered),
            (1, 1, 3)
        );
    }

    #[test]
    fn publishers_are_told_apart_and_strangers_counted() {
        let mut verifier = Verifier::new(2);
        for stamp in [
            Stamp::new(1, 0),
            Stamp::new(0, 0),
            Stamp::new(1, 1),
            Stamp::new(7, 0),
        ] {
            verifier.check(stamp);
        }
        let tally = verifier.tally([1, 2]);
        assert_eq!((tally.delivered, tally.lost, tally.foreign), (3, 0, 1));
    }

    #[test]
    fn what_comes_back_to_its_sender_is_not_counted() {
        let mut verifier = Verifier::of_member(2, 1);
        for stamp in [Stamp::new(1, 0), Stamp::new(0, 0), Stamp::new(1, 0)] {
            verifier.check(stamp);
        }
        let tally = verifier.tally([1, 5]);
        assert!(tally.is_clean(), "{tally:?}");
        assert_eq!(tally.delivered, 1);
        assert_eq!((verifier.progress(0), verifier.progress(1)), (1, u64::MAX));
    }

    #[test]
    fn more_than_was_sent_is_foreign() {
        assert_eq!(seen(&[0, 1, 2], 2).foreign, 1);
    }

    #[test]
    fn probes_are_heard_but_not_counted() {
        let mut verifier = Verifier::new(1);
        assert!(!verifier.heard_probe());
        verifier.check(Stamp::from_bytes(Stamp::probe().to_bytes()));
        assert!(verifier.heard_probe());
        assert!(verifier.tally([0]).is_clean());
    }
}
