//! Finds the frames of a resync that are new, and those of the history that its sender lacks.
//!
//! Frames are told apart by their digests and counted, never put into a set: equal frames may have been
//! sent on purpose. Every frame that is remembered accounts for one equal frame of
//! a resync at most.
//!
//! A link that was here before says with each frame where it came from: down this very link, or
//! which of the frames that the link has offered it is. Together with how many of these have come,
//! that tells what is new, however long ago the frame was. Only a frame that has not come over the
//! link is looked up in the history: it may have come another way. If the sender says that it is an
//! old one, it is looked up among all that are remembered.
//!
//! In the other direction the upstream counts the frames that have gone down a link, and the server below
//! says how many of these have come: it lacks those that follow. If it cannot say, it is sent all that it
//! has not shown, and has to recognise the rest itself.
//!
//! Of a link that is not remembered, or of a server that says nothing, a frame is new unless it is
//! among the frames whose digests are remembered, which are many more than those of the history.
//!
//! A merge costs a look at each digest that is remembered, and work for each frame that was brought.

mod late;
mod stock;

use std::collections::{HashMap, VecDeque};

use super::ranges::Ranges;
use crate::protocol::LinkHello;
use stock::{ReceivedRange, Stock};

/// Most links that one channel remembers.
const MAX_LINKS: usize = 1024;
/// Most frames whose digests one channel remembers, which take 128 KiB; more if its history is longer.
const MAX_DIGESTS: usize = 16_384;

/// A frame of a resync; hints of presence are left out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MergeItem {
    pub(crate) digest: u64,
    /// See [`crate::protocol::NestedFrame`].
    pub(crate) seq: Option<u64>,
}

/// Result of a resync. The caller stores the new frames and says so with [`LinkMemory::brought`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Indices of the items that are new, in order.
    pub(crate) new: Vec<usize>,
    /// Indices of the frames of the history that the sender lacks, in order.
    pub(crate) replay: Vec<usize>,
    /// Set if these are just what follows [`LinkHello::got`].
    pub(crate) counted: bool,
    /// Number of frames that have gone down the link once it has these.
    pub(crate) given: u64,
}

/// Memory of a channel: the links of servers below, and digests of the frames stored since the first of
/// them came. Numbers all frames that are stored.
#[derive(Debug)]
pub(crate) struct LinkMemory {
    links: HashMap<u64, LinkRecord>,
    /// Their ids; the one that joined last comes last.
    order: VecDeque<u64>,
    /// Digests of the newest frames, oldest first.
    digests: VecDeque<u64>,
    /// Most digests that are remembered.
    limit: usize,
    /// Frames that came from each upstream of this server, without a gap.
    above: Vec<UpstreamRecord>,
    /// The number of the next frame.
    end: u64,
    /// Start of the counts of frames that have gone down a link. It is random, so that nobody takes the
    /// count of a server that was restarted, or of a channel that was freed, for one of this.
    base: u64,
}

/// Frames that came from one upstream.
#[derive(Debug, Default)]
struct UpstreamRecord {
    /// The numbers of the frames that were stored.
    stored: Ranges,
    /// Number of frames that were known when they came, and are remembered as others.
    known: u64,
}

/// Memory of one link.
#[derive(Debug, Default)]
struct LinkRecord {
    /// Number of frames offered on the link up to which all have come.
    received: u64,
    /// Number of frames that came over the link and were stored.
    stored: u64,
    /// The numbers of the frames that came over it.
    own: Ranges,
    /// The numbers of frames that late ones were found to be equal to: each accounts for one.
    claimed: VecDeque<u64>,
}

impl LinkMemory {
    /// Creates the memory of a channel whose history has `frames` frames, and at most `history`. The
    /// caller adds them with [`LinkMemory::prepend`]. `base` is random and leaves room to count.
    pub(crate) fn new(frames: usize, history: usize, base: u64) -> Self {
        Self {
            links: HashMap::new(),
            order: VecDeque::new(),
            limit: MAX_DIGESTS.max(history),
            digests: VecDeque::new(),
            above: Vec::new(),
            end: frames as u64,
            base,
        }
    }

    /// Adds frames of the history in front of those that are remembered. The next call adds those before
    /// them.
    pub(crate) fn prepend(&mut self, digests: &[u64], upstream: Option<usize>) {
        let room = self.limit.saturating_sub(self.digests.len());
        let newest = &digests[digests.len().saturating_sub(room)..];
        let end = self.first();
        for &digest in newest.iter().rev() {
            self.digests.push_front(digest);
        }
        let numbers = self.first()..end;
        if let Some(above) = self.above(upstream) {
            above.stored.push_front(numbers);
        }
    }

    /// Returns up to which of its frames a link has brought them, if it was here before.
    pub(crate) fn received_from(&self, link: u64) -> Option<u64> {
        self.links.get(&link).map(|link| link.received)
    }

    /// Records that frames were stored, which came from an upstream of this server or not.
    pub(crate) fn stored(
        &mut self,
        digests: impl IntoIterator<Item = u64>,
        upstream: Option<usize>,
    ) {
        let start = self.end;
        for digest in digests {
            if self.digests.len() >= self.limit {
                self.digests.pop_front();
            }
            self.digests.push_back(digest);
            self.end += 1;
        }
        let (numbers, first) = (start..self.end, self.first());
        if let Some(above) = self.above(upstream) {
            above.stored.push_back(numbers, first);
        }
    }

    /// Returns the record of an upstream.
    fn above(&mut self, upstream: Option<usize>) -> Option<&mut UpstreamRecord> {
        let at = upstream?;
        if self.above.len() <= at {
            self.above.resize_with(at + 1, UpstreamRecord::default);
        }
        self.above.get_mut(at)
    }

    /// Returns the number of the newest frames from an upstream that are remembered, without a gap.
    pub(crate) fn seen_from(&self, upstream: usize) -> u64 {
        let Some(above) = self.above.get(upstream) else {
            return 0;
        };
        let is_full = self.digests.len() >= self.limit;
        above.stored.count_from(self.first()) + if is_full { 0 } else { above.known }
    }

    /// Records that frames from an upstream were known.
    pub(crate) fn knew_from(&mut self, upstream: usize, count: u64) {
        if let Some(above) = self.above(Some(upstream)) {
            above.known += count;
        }
    }

    /// Records that frames from an upstream have never come: those before them do not count as the newest
    /// any more.
    pub(crate) fn missed_from(&mut self, upstream: usize) {
        if let Some(above) = self.above.get_mut(upstream) {
            *above = UpstreamRecord::default();
        }
    }

    /// Records that the last `count` frames stored have come over a link, and are not counted as such yet.
    pub(crate) fn received(&mut self, link: u64, count: usize) {
        self.brought(link, count);
        if let Some(link) = self.links.get_mut(&link) {
            link.received = link.received.saturating_add(count as u64);
        }
    }

    /// Records that the last `count` frames stored are new ones of a link's resync, or late ones: those
    /// have been counted already.
    pub(crate) fn brought(&mut self, link: u64, count: usize) {
        let own = self.end - count as u64..self.end;
        let first = self.first();
        if let Some(link) = self.links.get_mut(&link) {
            link.stored += count as u64;
            link.own.push_back(own, first);
        }
    }

    /// Merges a resync with a history that has the newest `history` frames, and remembers the link.
    pub(crate) fn merge(
        &mut self,
        hello: Option<&LinkHello>,
        history: usize,
        items: &[MergeItem],
    ) -> Merge {
        let link = hello.and_then(|hello| self.links.get(&hello.id));
        let is_known = link.is_some();
        let received = link.map(|link| ReceivedRange {
            up_to: link.received,
            old: hello.map_or(0, |hello| hello.old),
        });
        let given = self.base + self.end - link.map_or(0, |link| link.stored);
        let got = hello.filter(|_| is_known).and_then(|hello| hello.got);
        let got = got.filter(|&got| got >= self.base);
        let missing = got.and_then(|got| given.checked_sub(got));
        let mut stock = Stock::new(self, history, link, items);
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
            self.remember(hello);
        }
        Merge {
            new,
            replay,
            counted: missing.is_some(),
            given,
        }
    }

    /// Remembers a link all of whose frames have come.
    fn remember(&mut self, hello: &LinkHello) {
        self.order.retain(|&id| id != hello.id);
        self.order.push_back(hello.id);
        if self.order.len() > MAX_LINKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.links.remove(&oldest);
        }
        let link = self.links.entry(hello.id).or_default();
        link.received = link.received.max(hello.sent);
    }

    /// Returns the number of the oldest frame whose digest is remembered.
    fn first(&self) -> u64 {
        self.end - self.digests.len() as u64
    }
}

#[cfg(test)]
mod tests;
