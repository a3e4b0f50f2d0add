//! Late frames: those that a server has got from one below it whose link it did not know, and passes on
//! in the middle of its own link's session. They may have come another way before.

use super::stock::ByDigest;
use super::{LinkMemory, MergeItem};
use crate::protocol::LinkHello;

/// Most frames that one link can have claimed: those that it claimed before count again.
const MAX_CLAIMED: usize = 1024;

/// Equal frames that are remembered, by their numbers, the oldest last.
#[derive(Debug, Default)]
struct UnseenPile {
    /// On their way down the link when the server below compared.
    on_the_way: Vec<u64>,
    /// Not among those that the server below has compared with.
    unseen: Vec<u64>,
}

impl LinkMemory {
    /// Finds out which of the late frames of a link are new, and counts all of them as come.
    ///
    /// The server below has compared them with all that it remembers. So they can only be equal to what
    /// was on its way down to it then, and to what it does not remember: `hello` says what that is.
    pub(crate) fn merge_late(&mut self, hello: &LinkHello, items: &[MergeItem]) -> Vec<usize> {
        let mut piles = self.unseen(hello, items);
        let Some(link) = self.links.get_mut(&hello.id) else {
            return (0..items.len()).collect();
        };
        let received = link.received;
        link.received = received.max(hello.sent);
        let mut new = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if item.seq <= Some(received) {
                continue;
            }
            let pile = piles.get_mut(&item.digest);
            match pile.and_then(|pile| pile.on_the_way.pop().or_else(|| pile.unseen.pop())) {
                Some(number) => link.claimed.push_back(number),
                None => new.push(index),
            }
        }
        let over = link.claimed.len().saturating_sub(MAX_CLAIMED);
        link.claimed.drain(..over);
        new
    }

    /// Collects the remembered frames equal to `items` that the server below has not compared with.
    fn unseen(&self, hello: &LinkHello, items: &[MergeItem]) -> ByDigest<UnseenPile> {
        let mut piles = ByDigest::default();
        piles.extend(
            items
                .iter()
                .map(|item| (item.digest, UnseenPile::default())),
        );
        let Some(link) = self.links.get(&hello.id) else {
            return piles;
        };
        let seen = hello.got.map(|got| got.saturating_sub(hello.window)..got);
        let first = self.first();
        let mut own = link.own.iter().rev().peekable();
        // The number of the next frame among those that have gone down the link, from the newest on.
        let mut given = self.base + self.end - link.stored;
        for (at, digest) in self.digests.iter().enumerate().rev() {
            let number = first + at as u64;
            while own.next_if(|range| number < range.start).is_some() {}
            if own.peek().is_some_and(|range| range.contains(&number)) {
                continue;
            }
            given = given.saturating_sub(1);
            let Some(pile) = piles.get_mut(digest) else {
                continue;
            };
            if link.claimed.contains(&number) {
                continue;
            }
            match &seen {
                Some(seen) if given >= seen.end => pile.on_the_way.push(number),
                Some(seen) if seen.contains(&given) => {}
                _ => pile.unseen.push(number),
            }
        }
        piles
    }
}
