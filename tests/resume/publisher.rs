//! What a session publishes under a publisher id: each message until it has its place, and never twice.

use std::ops::Range;

use mles::protocol::{Epoch, Position};

use crate::notice::Welcome;
use crate::payload::Tag;

/// Most messages that wait for a receipt.
const WINDOW: u32 = 16;

/// A publisher that sends again what the server says has no place.
#[derive(Debug)]
pub struct Publisher {
    pub id: u64,
    actor: usize,
    quota: u32,
    /// Number of messages that are settled: they have their place, or nobody can tell.
    settled: u32,
    /// Number of messages that were sent, on this session or before.
    sent: u32,
    /// The message that is the first in what the server counts.
    base: u32,
    /// The order in which that was counted; `None` before the first welcome.
    epoch: Option<Epoch>,
    /// Where the server began to count on this session.
    begins_at: Option<Position>,
}

/// What a welcome says about messages that were sent before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub placed: Vec<Tag>,
    pub doubtful: Vec<Tag>,
}

impl Publisher {
    pub fn new(id: u64, actor: usize, quota: u32) -> Self {
        Self {
            id,
            actor,
            quota,
            settled: 0,
            sent: 0,
            base: 0,
            epoch: None,
            begins_at: None,
        }
    }

    pub fn is_finished(&self) -> bool {
        self.settled == self.quota
    }

    /// Returns `true` if something was sent and is not settled.
    pub fn is_waiting(&self) -> bool {
        self.settled < self.sent
    }

    /// Takes the next message, if it may be sent now.
    pub fn next(&mut self) -> Option<Tag> {
        let may = self.sent < self.quota && self.sent - self.settled < WINDOW;
        may.then(|| {
            self.sent += 1;
            self.tag(self.sent - 1)
        })
    }

    /// A session begins. What is not settled behind that has to be sent again, once [`Self::may_publish`] says so.
    pub fn welcome(&mut self, welcome: &Welcome) -> Result<Settled, String> {
        let epoch = welcome.position.epoch;
        let before = self.epoch.replace(epoch);
        // An order that goes on has the old places as well.
        let goes_on = welcome.recovered || welcome.missed.is_some();
        let is_same = before == Some(epoch);
        if !is_same && !goes_on {
            // Of another order nothing is known but what was confirmed.
            self.base = self.settled;
        }
        self.begins_at = None;
        let mut settled = Settled::default();
        match welcome.published {
            // It was forgotten while nothing was on its way.
            Some(0) => self.base = self.settled,
            Some(published) => {
                let placed = u64::from(self.base) + published;
                let placed = u32::try_from(placed).unwrap_or(u32::MAX);
                if placed < self.settled || placed > self.sent {
                    return Err(format!("published: {published}, which cannot be: {self:?}"));
                }
                settled.placed = self.settle(placed);
            }
            // It is counted anew, and so it was forgotten if the order is the same.
            None => {
                self.begins_at = Some(welcome.position);
                // In an order that goes on from what was on disk it is unknown as what it has sent was not there.
                if is_same {
                    settled.doubtful = self.settle(self.sent);
                }
                self.base = self.settled;
            }
        }
        self.sent = self.settled;
        Ok(settled)
    }

    /// Returns `true` if a client at that position would be told at its next join what it has published from now on:
    /// it is not before the place where its messages are counted from.
    pub fn may_publish(&self, position: Option<Position>) -> bool {
        let begins_at = self.begins_at.map_or(0, |position| position.offset);
        position.is_some_and(|position| position.offset >= begins_at)
    }

    /// Returns the messages that a receipt is for: fewer than `count` if no more were sent.
    pub fn receipt(&mut self, count: u64) -> Vec<Tag> {
        let end = u64::from(self.settled).saturating_add(count);
        let end = u32::try_from(end).unwrap_or(u32::MAX).min(self.sent);
        self.settle(end)
    }

    fn settle(&mut self, end: u32) -> Vec<Tag> {
        let range = self.settled..end;
        self.settled = end;
        self.tags(range)
    }

    fn tags(&self, range: Range<u32>) -> Vec<Tag> {
        range.map(|number| self.tag(number)).collect()
    }

    fn tag(&self, number: u32) -> Tag {
        Tag {
            actor: self.actor,
            number,
        }
    }
}
