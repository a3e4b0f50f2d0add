//! The remembered frames that can account for those of a resync.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{LinkMemory, LinkRecord, MergeItem};

/// No index.
const NONE: u32 = u32::MAX;

/// Takes a digest as its own hash: it is one, with a key that nobody knows.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// A map by digest.
pub(super) type ByDigest<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// Equal frames that are remembered: the oldest of each kind by its index, behind which
/// [`Stock::next`] has the others.
#[derive(Clone, Copy, Debug)]
struct FramePile {
    /// Those that came over the link.
    own: u32,
    /// Those that came another way and are in the history.
    shelved: u32,
    /// Those that came another way and have left the history.
    forgotten: u32,
}

/// Use of a frame that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It came over the link, and is not given to it.
    Own,
    /// It accounts for a frame of the resync.
    Used,
    Free,
}

/// Numbers by which a remembered link's own frames are recognised.
#[derive(Clone, Copy)]
pub(super) struct ReceivedRange {
    /// Number up to which they have come over the link.
    pub(super) up_to: u64,
    /// Number up to which they may have come another way, however long ago.
    pub(super) old: u64,
}

/// The remembered frames that can account for those of a resync, and have not been used up.
pub(super) struct Stock {
    /// Only of digests that are asked for.
    piles: ByDigest<FramePile>,
    /// By index: the next newer frame of its pile and kind.
    next: Vec<u32>,
    /// By index: the use of a frame.
    uses: Vec<Use>,
    /// The index of the first frame of the history.
    shelf: usize,
    /// Set if counts tell which frames the link lacks.
    pub(super) counts: bool,
}

/// Takes the oldest of a kind.
fn pop(head: &mut u32, next: &[u32]) -> Option<usize> {
    let at = *head as usize;
    *head = *next.get(at)?;
    Some(at)
}

impl FramePile {
    const EMPTY: Self = Self {
        own: NONE,
        shelved: NONE,
        forgotten: NONE,
    };

    /// Takes the oldest that came another way.
    fn any_other(&mut self, next: &[u32]) -> Option<usize> {
        pop(&mut self.forgotten, next).or_else(|| pop(&mut self.shelved, next))
    }
}

impl Stock {
    /// Collects the frames that may account for `items`.
    pub(super) fn new(
        memory: &LinkMemory,
        history: usize,
        link: Option<&LinkRecord>,
        items: &[MergeItem],
    ) -> Self {
        let len = memory.digests.len();
        let mut stock = Self {
            piles: ByDigest::with_capacity_and_hasher(items.len(), BuildHasherDefault::default()),
            next: Vec::new(),
            uses: vec![Use::Free; len],
            shelf: len.saturating_sub(history),
            counts: false,
        };
        let index = |number: u64| {
            let at = number.saturating_sub(memory.first());
            usize::try_from(at).unwrap_or(usize::MAX).min(len)
        };
        for range in link.iter().flat_map(|link| link.own.iter()) {
            stock.uses[index(range.start)..index(range.end)].fill(Use::Own);
        }
        stock
            .piles
            .extend(items.iter().map(|item| (item.digest, FramePile::EMPTY)));
        if !items.is_empty() {
            stock.pile_up(memory);
        }
        stock
    }

    /// Puts the remembered frames on the piles, the newest first: so the oldest is taken first.
    fn pile_up(&mut self, memory: &LinkMemory) {
        self.next = vec![NONE; memory.digests.len()];
        for (at, digest) in memory.digests.iter().enumerate().rev() {
            let Some(pile) = self.piles.get_mut(digest) else {
                continue;
            };
            let head = if self.uses[at] == Use::Own {
                &mut pile.own
            } else if at >= self.shelf {
                &mut pile.shelved
            } else {
                &mut pile.forgotten
            };
            self.next[at] = std::mem::replace(head, u32::try_from(at).unwrap_or(NONE));
        }
    }

    /// Returns `true` if a frame is known, and uses up the one that accounts for it. `received` is there
    /// if the link is remembered.
    pub(super) fn accounts_for(
        &mut self,
        item: &MergeItem,
        received: Option<ReceivedRange>,
    ) -> bool {
        let next = &self.next;
        let pile = self.piles.entry(item.digest).or_insert(FramePile::EMPTY);
        let (is_known, at) = match (received, item.seq) {
            (None, _) => (false, pile.any_other(next)),
            // It went down the link, and the oldest equal ones did first. If it was a newer one, the
            // replay has one more of them than the server lacks, and the server knows it. What came
            // down before this channel was restarted has come back over the link.
            (Some(_), None) => {
                let at = pop(&mut pile.own, next).or_else(|| pile.any_other(next));
                (true, at)
            }
            // It came over the link, unless it had come another way before.
            (Some(received), Some(seq)) if seq <= received.up_to => {
                let own = pop(&mut pile.own, next);
                (true, own.or_else(|| pop(&mut pile.shelved, next)))
            }
            (Some(received), Some(seq)) if seq <= received.old => (false, pile.any_other(next)),
            (Some(_), Some(_)) => (false, pop(&mut pile.shelved, next)),
        };
        // Where counts tell what the server lacks, known frames have no say in that.
        let is_told = self.counts && is_known;
        if let Some(at) = at.filter(|&at| self.uses[at] == Use::Free && !is_told) {
            self.uses[at] = Use::Used;
        }
        is_known || at.is_some()
    }

    /// Returns the frames of the history that are left, by index in it: of those that have gone down the
    /// link the newest `missing`, if that is known.
    pub(super) fn left(&self, missing: Option<u64>) -> Vec<usize> {
        let missing = missing.and_then(|missing| usize::try_from(missing).ok());
        let history = self.uses[self.shelf..].iter().enumerate();
        let given = history.filter(|(_, it)| **it != Use::Own).rev();
        let newest = given.take(missing.unwrap_or(usize::MAX));
        let free = newest.filter(|(_, it)| **it == Use::Free);
        let mut left: Vec<_> = free.map(|(at, _)| at).collect();
        left.reverse();
        left
    }
}
