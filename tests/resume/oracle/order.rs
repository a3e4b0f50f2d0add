//! The order of one epoch, as far as somebody has seen it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::Facts;
use crate::payload::{Body, Tag};

#[derive(Default)]
pub(super) struct Order {
    /// What is at each offset.
    at: BTreeMap<u64, Body>,
    places: HashMap<Tag, u64>,
    /// Where clients were told that there is nothing for them.
    left_out: Vec<Range<u64>>,
    /// Messages whose publishers know that they have a place.
    confirmed: HashSet<Tag>,
    /// The offsets that were read at the end.
    pub(super) read: BTreeSet<u64>,
    /// Offset of the newest message that was on disk before its server ended, as far as that is known.
    pub(super) on_disk: u64,
    /// The newest offset, as it was read at the end; `None` for an epoch that was over by then.
    pub(super) newest: Option<u64>,
}

impl Order {
    /// Returns `true` if nobody has seen a message in it.
    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Somebody has seen a message at an offset.
    pub(super) fn place(&mut self, offset: u64, body: Body) -> Result<(), String> {
        if body == Body::Torn {
            return Err(format!("the message at {offset} is none that was sent"));
        }
        let is_left_out = || self.left_out.iter().any(|range| range.contains(&offset));
        if body != Body::Junk && !self.at.contains_key(&offset) && is_left_out() {
            return Err(format!(
                "{body:?} at {offset}, which was left out for others"
            ));
        }
        let before = self.at.insert(offset, body);
        if before.is_some_and(|before| before != body) {
            return Err(format!("{body:?} at {offset}, where {before:?} was"));
        }
        if let Body::Tagged(tag) = body {
            let before = self.places.insert(tag, offset);
            if before.is_some_and(|before| before != offset) {
                return Err(format!(
                    "{tag:?} is at {before:?} and at {offset}: it is doubled"
                ));
            }
        }
        Ok(())
    }

    /// Somebody was told that there is nothing at these offsets that its transport can carry.
    pub(super) fn leave_out(&mut self, offsets: Range<u64>) -> Result<(), String> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut there = self.at.range(offsets.clone());
        let lost = there.find(|(_, body)| matches!(body, Body::Tagged(_)));
        if let Some((offset, body)) = lost {
            return Err(format!("{body:?} was left out at {offset}"));
        }
        self.left_out.push(offsets);
        Ok(())
    }

    /// Returns how many messages are known to be at these offsets.
    pub(super) fn count(&self, offsets: Range<u64>) -> u64 {
        self.at.range(offsets).count() as u64
    }

    /// The publisher was told that the message has a place.
    pub(super) fn confirm(&mut self, tag: Tag) {
        self.confirmed.insert(tag);
    }

    /// Returns the offset of the newest message that somebody has seen.
    pub(super) fn newest_seen(&self) -> Option<u64> {
        self.at.keys().next_back().copied()
    }

    /// Returns how many messages somebody has seen behind an offset.
    pub(super) fn count_behind(&self, offset: u64) -> usize {
        self.at.range(offset + 1..).count()
    }

    /// Another order goes on from this one up to the offset `end`: all up to there is in its place there, too.
    pub(super) fn give_to(&self, other: &mut Self, end: u64) -> Result<(), String> {
        let left_out = self.left_out.iter();
        let mut left_out = left_out.map(|range| range.start..range.end.min(end + 1));
        left_out.try_for_each(|range| other.leave_out(range))?;
        other.take_from(self, end)?;
        let kept = |tag: &&Tag| self.place_of(**tag).is_some_and(|place| place <= end);
        other.confirmed.extend(self.confirmed.iter().filter(kept));
        Ok(())
    }

    /// Takes over what another order has up to the offset `end`.
    pub(super) fn take_from(&mut self, other: &Self, end: u64) -> Result<(), String> {
        let mut kept = other.at.range(..=end);
        kept.try_for_each(|(offset, body)| self.place(*offset, *body))
    }

    pub(super) fn place_of(&self, tag: Tag) -> Option<u64> {
        self.places.get(&tag).copied()
    }

    /// Returns how many messages of an actor are known to be at or before an offset.
    pub(super) fn count_up_to(&self, actor: usize, offset: u64) -> u64 {
        let up_to = self.at.range(..=offset).map(|(_, body)| body);
        let own = up_to.filter(|body| matches!(body, Body::Tagged(tag) if tag.actor == actor));
        own.count() as u64
    }

    /// Returns `true` if everything that has a place is known.
    pub(super) fn is_whole(&self, history: usize) -> bool {
        self.newest.is_some_and(|newest| newest <= history as u64)
    }

    /// What was read at the end is what others have seen.
    pub(super) fn check_end(&self, facts: &Facts) -> Result<(), String> {
        let newest = self.newest.unwrap_or_default();
        let oldest = if facts.is_whole(self) {
            1
        } else if facts.jumps() {
            // How much is kept cannot be told by offsets.
            self.read.first().copied().unwrap_or(newest + 1)
        } else {
            1 + newest.saturating_sub(facts.history as u64)
        };
        let seen = self
            .at
            .range(oldest..)
            .filter(|(_, body)| **body != Body::Junk);
        if let Some(lost) = seen.clone().find(|(offset, _)| !self.read.contains(offset)) {
            return Err(format!("{lost:?} has been seen, and is gone"));
        }
        let is_kept = |tag: &&Tag| {
            let place = self.place_of(**tag);
            place.is_some_and(|place| place < oldest || self.read.contains(&place))
        };
        let lost =
            |tag: &&Tag| !is_kept(tag) && (facts.is_whole(self) || self.place_of(**tag).is_some());
        match self.confirmed.iter().find(lost) {
            Some(lost) => Err(format!("{lost:?} was confirmed, and is not there")),
            None => Ok(()),
        }
    }

    /// What somebody publishes has its place in the order in which it was sent.
    pub(super) fn check_publishers(
        &self,
        keeps_order: impl Fn(&Tag) -> bool,
    ) -> Result<(), String> {
        let mut last = HashMap::new();
        for (offset, body) in &self.at {
            if let Body::Tagged(tag) = body
                && keeps_order(tag)
                && let Some(before) = last.insert(tag.actor, tag.number)
                && before >= tag.number
            {
                return Err(format!("{tag:?} at {offset} comes behind number {before}"));
            }
        }
        Ok(())
    }
}
