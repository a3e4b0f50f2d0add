//! Which frames of a resync are new, and which of the history its sender lacks.
//!
//! Frames are told apart by their digests and counted, never put into a set: two equal frames may
//! have been sent twice on purpose. Every frame that is remembered accounts for one equal frame of
//! a resync at most.
//!
//! A link that was here before says with each frame where it came from: down this very link, or
//! which of the frames that the link has offered it is. Together with how many of these have come,
//! that tells what is new, however long ago the frame was. Only a frame that has not come over the
//! link is looked up in the history: it may have come another way. If the sender says that it is an
//! old one, it is looked up among all that are remembered.
//!
//! In the other direction the upstream counts the frames that it has given on a link, and the server
//! below says how many of these have come: what follows is what it lacks. If it cannot say, it is sent
//! what it has not shown that it has, and has to recognise the rest itself.
//!
//! Of a link that is not remembered, or of a server that says nothing, a frame is new unless it is
//! among the frames whose digests are remembered, which are many more than those of the history.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::protocol::LinkHello;

/// Most links that one channel remembers.
const MAX_LINKS: usize = 1024;
/// Most frames whose digests one channel remembers: 128 KiB. A longer history has its own length.
const MAX_DIGESTS: usize = 16_384;

/// A frame of a resync; hints of presence are left out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) digest: u64,
    /// See [`crate::protocol::NestedFrame`].
    pub(crate) seq: Option<u64>,
}

/// What a resync comes to. The caller stores the new frames before any other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Which items are new, by index, in order.
    pub(crate) new: Vec<usize>,
    /// Which frames of the history the sender lacks, by index, in order.
    pub(crate) replay: Vec<usize>,
    /// Whether that is just what follows [`LinkHello::got`].
    pub(crate) counted: bool,
    /// How many frames the link has been given when it has these.
    pub(crate) given: u64,
}

/// What a channel remembers of the servers below it, and of what it has stored since the first of
/// them came. It numbers all frames that are stored.
#[derive(Debug)]
pub(crate) struct Memory {
    links: HashMap<u64, Link>,
    /// Their ids; the one that joined last comes last.
    order: VecDeque<u64>,
    /// Digests of the newest frames, oldest first.
    digests: VecDeque<u64>,
    /// How many of them to keep.
    limit: usize,
    /// The number of the next frame.
    end: u64,
    /// Where the counts of frames given begin. It is random, so that nobody takes the count of a
    /// server that was restarted, or of a channel that was freed, for one of this.
    base: u64,
}

/// What is remembered of one link.
#[derive(Debug, Default)]
struct Link {
    /// Up to which of the frames that it has offered have come.
    received: u64,
    /// How many frames that came over it were stored.
    stored: u64,
    /// The numbers of the frames that came over it, in order.
    own: VecDeque<Range<u64>>,
}

impl Memory {
    /// Begins with the digests of a history that may hold up to `history` frames. `base` is random and
    /// leaves room to count.
    pub(crate) fn new(digests: impl Iterator<Item = u64>, history: usize, base: u64) -> Self {
        let digests: VecDeque<_> = digests.collect();
        Self {
            links: HashMap::new(),
            order: VecDeque::new(),
            limit: MAX_DIGESTS.max(history),
            end: digests.len() as u64,
            base,
            digests,
        }
    }

    /// Up to which of the frames that a link has offered they have come, if it was here before.
    pub(crate) fn received_from(&self, link: u64) -> Option<u64> {
        self.links.get(&link).map(|link| link.received)
    }

    /// Records that a frame was stored.
    pub(crate) fn stored(&mut self, digest: u64) {
        if self.digests.len() >= self.limit {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
        self.end += 1;
    }

    /// Records that the last `count` frames stored came over a link.
    pub(crate) fn received(&mut self, link: u64, count: usize) {
        let own = self.end - count as u64..self.end;
        let first = self.first();
        if let Some(link) = self.links.get_mut(&link) {
            link.received = link.received.saturating_add(count as u64);
            link.stored += count as u64;
            link.add_own(own, first);
        }
    }

    /// Merges a resync with a history that has the newest `history` frames, and remembers the link.
    pub(crate) fn merge(
        &mut self,
        hello: Option<&LinkHello>,
        history: usize,
        items: &[Item],
    ) -> Merge {
        let link = hello.and_then(|hello| self.links.get(&hello.id));
        let is_known = link.is_some();
        let received = link.map(|link| Received {
            up_to: link.received,
            old: hello.map_or(0, |hello| hello.old),
        });
        let given = self.base + self.end - link.map_or(0, |link| link.stored);
        let got = hello.filter(|_| is_known).and_then(|hello| hello.got);
        let got = got.filter(|&got| got >= self.base);
        let missing = got.and_then(|got| given.checked_sub(got));
        let mut stock = Stock::new(self, history, link, !items.is_empty());
        stock.counts = missing.is_some();
        let mut new = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if !stock.accounts_for(item, received) {
                new.push(index);
            }
        }
        let mut replay = stock.left(missing);
        if let Some(hello) = hello {
            if is_known && missing.is_none() {
                let window = usize::try_from(hello.window).unwrap_or(usize::MAX);
                replay.drain(..replay.len().saturating_sub(window));
            }
            self.remember(hello, new.len());
        }
        Merge {
            new,
            replay,
            counted: missing.is_some(),
            given,
        }
    }

    /// Remembers a link that has brought `new` frames, which will be stored next.
    fn remember(&mut self, hello: &LinkHello, new: usize) {
        self.order.retain(|&id| id != hello.id);
        self.order.push_back(hello.id);
        if self.order.len() > MAX_LINKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.links.remove(&oldest);
        }
        let (own, first) = (self.end..self.end + new as u64, self.first());
        let link = self.links.entry(hello.id).or_default();
        link.received = link.received.max(hello.sent);
        link.stored += new as u64;
        link.add_own(own, first);
    }

    /// The number of the oldest frame whose digest is remembered.
    fn first(&self) -> u64 {
        self.end - self.digests.len() as u64
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

/// Equal frames that a resync can be accounted for by, by index, the oldest last.
#[derive(Debug, Default)]
struct Pile {
    /// Those that came over the link.
    own: Vec<usize>,
    /// The others that are in the history.
    shelved: Vec<usize>,
    /// The others that have left it.
    forgotten: Vec<usize>,
}

/// What a frame that is remembered is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It came over the link, and is not given to it.
    Own,
    /// It accounts for a frame of the resync.
    Used,
    Free,
}

impl Pile {
    /// The oldest that came another way.
    fn any_other(&mut self) -> Option<usize> {
        self.forgotten.pop().or_else(|| self.shelved.pop())
    }
}

/// What a remembered link's own frames are told by, by their numbers.
#[derive(Clone, Copy)]
struct Received {
    /// Up to which they have come over the link.
    up_to: u64,
    /// Up to which they may have come another way, however long ago.
    old: u64,
}

/// What the frames of a resync can be accounted for by, and has not been used up.
struct Stock {
    piles: HashMap<u64, Pile>,
    /// By index: what a frame is good for.
    uses: Vec<Use>,
    /// The index of the first frame of the history.
    shelf: usize,
    /// Whether the link has counted what it has been given.
    counts: bool,
}

impl Stock {
    /// `is_asked` is whether there are frames to be accounted for.
    fn new(memory: &Memory, history: usize, link: Option<&Link>, is_asked: bool) -> Self {
        let len = memory.digests.len();
        let mut stock = Self {
            piles: HashMap::new(),
            uses: vec![Use::Free; len],
            shelf: len.saturating_sub(history),
            counts: false,
        };
        let index = |number: u64| {
            let at = number.saturating_sub(memory.first());
            usize::try_from(at).unwrap_or(usize::MAX).min(len)
        };
        for range in link.iter().flat_map(|link| &link.own) {
            stock.uses[index(range.start)..index(range.end)].fill(Use::Own);
        }
        if !is_asked {
            return stock;
        }
        for (at, &digest) in memory.digests.iter().enumerate().rev() {
            let pile = stock.piles.entry(digest).or_default();
            if stock.uses[at] == Use::Own {
                pile.own.push(at);
            } else if at >= stock.shelf {
                pile.shelved.push(at);
            } else {
                pile.forgotten.push(at);
            }
        }
        stock
    }

    /// Whether a frame is known, and uses up what tells so. `received` is there if the link is
    /// remembered.
    fn accounts_for(&mut self, item: &Item, received: Option<Received>) -> bool {
        let pile = self.piles.entry(item.digest).or_default();
        let (is_known, at) = match (received, item.seq) {
            (None, _) => (false, pile.any_other()),
            // It went down the link, and the oldest equal ones did first. If it was a newer one, the
            // replay has one more of them than the server lacks, and the server knows it. What came
            // down before this channel was restarted has come back over the link.
            (Some(_), None) => (true, pile.own.pop().or_else(|| pile.any_other())),
            // It came over the link, unless it had come another way before.
            (Some(received), Some(seq)) if seq <= received.up_to => {
                (true, pile.own.pop().or_else(|| pile.shelved.pop()))
            }
            (Some(received), Some(seq)) if seq <= received.old => (false, pile.any_other()),
            (Some(_), Some(_)) => (false, pile.shelved.pop()),
        };
        // Where counts tell what the server lacks, known frames have no say in that.
        let is_told = self.counts && is_known;
        if let Some(at) = at.filter(|&at| self.uses[at] == Use::Free && !is_told) {
            self.uses[at] = Use::Used;
        }
        is_known || at.is_some()
    }

    /// The frames of the history that are left, by index in it: of those that the link was given
    /// the newest `missing`, if that is known.
    fn left(&self, missing: Option<u64>) -> Vec<usize> {
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

#[cfg(test)]
mod tests;
