//! Which frames of a resync are new, and which of the history its sender lacks.
//!
//! Frames are told apart by their digests and counted, never put into a set: two equal frames may
//! have been sent twice on purpose. Every frame of the history accounts for one equal frame of the
//! resync at most.
//!
//! A link that was here before says with each frame where it came from: down this very link, or
//! which of the frames that the link has offered it is. Together with how many of these have come,
//! that tells what is new, however long ago the history has forgotten the frame. Only a frame that
//! has not come over the link is looked up in the history: it may have come another way.
//!
//! Of a link that is not remembered, or of a server that says nothing, a frame is new unless it is
//! in the history, or was in an earlier resync and has left the history since.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::protocol::LinkHello;

/// Most links that one channel remembers.
const MAX_LINKS: usize = 1024;
/// Most frames of resyncs that one channel remembers.
const MAX_SEEN: usize = 16_384;

/// A frame of a resync; hints of presence are left out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) digest: u64,
    /// See [`crate::protocol::NestedFrame`].
    pub(crate) seq: Option<u64>,
}

/// The history of a channel: the digests of its frames, and their numbers. A channel numbers all
/// frames that it stores; the history has the newest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf<'a> {
    pub(crate) digests: &'a [u64],
    /// The number of the next frame.
    pub(crate) end: u64,
}

/// What a resync comes to. The caller stores the new frames before any other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Which items are new, by index, in order.
    pub(crate) new: Vec<usize>,
    /// Which frames of the history the sender lacks, by index, in order.
    pub(crate) replay: Vec<usize>,
}

/// What a channel remembers of the servers below it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    links: HashMap<u64, Link>,
    /// Their ids; the one that joined last comes last.
    order: VecDeque<u64>,
    /// Frames of resyncs, oldest first.
    seen: VecDeque<Seen>,
}

/// What is remembered of one link.
#[derive(Debug, Default)]
struct Link {
    /// Up to which of the frames that it has offered have come.
    received: u64,
    /// The numbers in the channel of the frames that came over it, as far as the history may still
    /// have them, in order.
    own: VecDeque<Range<u64>>,
}

/// A frame of a resync.
#[derive(Clone, Copy, Debug)]
struct Seen {
    digest: u64,
    /// Its number in the channel, if it is known.
    number: Option<u64>,
}

impl Memory {
    /// Records that frames came over a link and were stored with the numbers `stored`. The history
    /// begins at `first`.
    pub(crate) fn received(&mut self, link: u64, stored: Range<u64>, first: u64) {
        if let Some(link) = self.links.get_mut(&link) {
            link.received = link.received.saturating_add(stored.end - stored.start);
            link.add_own(stored, first);
        }
    }

    /// Merges a resync with the history, and remembers it.
    pub(crate) fn merge(
        &mut self,
        hello: Option<&LinkHello>,
        shelf: Shelf<'_>,
        items: &[Item],
    ) -> Merge {
        let link = hello.and_then(|hello| self.links.get(&hello.id));
        let mut stock = Stock::new(shelf, &self.seen, link);
        let mut number = shelf.end;
        let mut new = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let found = stock.find(item, link.map(|link| link.received));
            let seen = match found {
                Found::Shelved(at) => stock.remember(at),
                Found::Forgotten => None,
                Found::Gone => Some(None),
                Found::New => {
                    new.push(index);
                    number += 1;
                    Some(Some(number - 1))
                }
            };
            if let Some(number) = seen {
                let digest = item.digest;
                self.seen.push_back(Seen { digest, number });
            }
        }
        let mut replay = stock.left();
        if let Some(hello) = hello {
            if link.is_some() {
                let window = usize::try_from(hello.window).unwrap_or(usize::MAX);
                replay.drain(..replay.len().saturating_sub(window));
            }
            self.remember_link(hello, shelf.end..number, stock.first);
        }
        let over = self.seen.len().saturating_sub(MAX_SEEN);
        self.seen.drain(..over);
        Merge { new, replay }
    }

    fn remember_link(&mut self, hello: &LinkHello, stored: Range<u64>, first: u64) {
        self.order.retain(|&id| id != hello.id);
        self.order.push_back(hello.id);
        if self.order.len() > MAX_LINKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.links.remove(&oldest);
        }
        let link = self.links.entry(hello.id).or_default();
        link.received = link.received.max(hello.sent);
        link.add_own(stored, first);
    }
}

impl Link {
    fn add_own(&mut self, stored: Range<u64>, first: u64) {
        while self.own.front().is_some_and(|range| range.end <= first) {
            self.own.pop_front();
        }
        match self.own.back_mut() {
            _ if stored.is_empty() => {}
            Some(last) if last.end == stored.start => last.end = stored.end,
            _ => self.own.push_back(stored),
        }
    }
}

/// How a frame of a resync is accounted for.
enum Found {
    /// By the frame of the history with that index.
    Shelved(usize),
    /// By a frame of an earlier resync that has left the history.
    Forgotten,
    /// It is known, from a frame that is not remembered.
    Gone,
    New,
}

/// What equal frames of a resync can be accounted for by.
#[derive(Debug, Default)]
struct Pile {
    /// Frames of the history that came over the link, by index, the oldest last.
    own: Vec<usize>,
    /// The others.
    others: Vec<usize>,
    /// Frames of earlier resyncs that have left the history.
    forgotten: usize,
}

/// What the frames of a resync can be accounted for by, and has not been used up.
struct Stock {
    piles: HashMap<u64, Pile>,
    /// The number of the first frame of the history.
    first: u64,
    shelf: Vec<Shelved>,
}

/// What is to be known of a frame of the history.
#[derive(Clone, Copy, Debug, Default)]
struct Shelved {
    is_own: bool,
    /// Whether it is among the frames of resyncs that are remembered.
    is_seen: bool,
    is_used: bool,
}

impl Stock {
    fn new(shelf: Shelf<'_>, seen: &VecDeque<Seen>, link: Option<&Link>) -> Self {
        let len = shelf.digests.len();
        let first = shelf.end - len as u64;
        let mut stock = Self {
            piles: HashMap::new(),
            first,
            shelf: vec![Shelved::default(); len],
        };
        for range in link.iter().flat_map(|link| &link.own) {
            let (from, to) = (stock.index(range.start), stock.index(range.end));
            stock.shelf[from..to]
                .iter_mut()
                .for_each(|s| s.is_own = true);
        }
        for seen in seen {
            match seen.number.filter(|&number| number >= first) {
                Some(number) => {
                    let at = stock.index(number);
                    stock.shelf[at].is_seen = true;
                }
                None => stock.pile(seen.digest).forgotten += 1,
            }
        }
        for (at, &digest) in shelf.digests.iter().enumerate().rev() {
            let is_own = stock.shelf[at].is_own;
            let pile = stock.pile(digest);
            if is_own {
                pile.own.push(at);
            } else {
                pile.others.push(at);
            }
        }
        stock
    }

    fn pile(&mut self, digest: u64) -> &mut Pile {
        self.piles.entry(digest).or_default()
    }

    /// The index of the frame with that number, or of the first or the end if it is beyond.
    fn index(&self, number: u64) -> usize {
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        at.min(self.shelf.len())
    }

    /// Accounts for a frame. `received` is up to which of its own frames the link's have come, if
    /// it is remembered.
    fn find(&mut self, item: &Item, received: Option<u64>) -> Found {
        let pile = self.piles.entry(item.digest).or_default();
        let is_known = received.map(|received| item.seq.is_none_or(|seq| seq <= received));
        let at = match (is_known, item.seq) {
            // It came over the link, unless it was recognised as one that had come another way.
            (Some(true), Some(_)) => pile.own.pop().or_else(|| pile.others.pop()),
            _ => pile.others.pop(),
        };
        if let Some(at) = at {
            self.shelf[at].is_used = true;
            return Found::Shelved(at);
        }
        // What the link has not said that it has is none of the frames of the resyncs before.
        if is_known != Some(false) && pile.forgotten > 0 {
            pile.forgotten -= 1;
            return Found::Forgotten;
        }
        if is_known == Some(true) {
            Found::Gone
        } else {
            Found::New
        }
    }

    /// Marks a frame of the history as one that was in a resync. Gives its number if it is the
    /// first time.
    fn remember(&mut self, at: usize) -> Option<Option<u64>> {
        let is_seen = std::mem::replace(&mut self.shelf[at].is_seen, true);
        (!is_seen).then_some(Some(self.first + at as u64))
    }

    /// What has not been used up and did not come over the link.
    fn left(&self) -> Vec<usize> {
        let shelf = self.shelf.iter().enumerate();
        shelf
            .filter(|(_, s)| !s.is_used && !s.is_own)
            .map(|(at, _)| at)
            .collect()
    }
}

#[cfg(test)]
mod tests;
