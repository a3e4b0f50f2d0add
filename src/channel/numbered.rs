//! Channels in which somebody has asked for a position: from then on their messages are numbered.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::history::PageLimit;
use super::owner::Channel;
use super::publishers::{PublisherId, Publishers};
use super::run::FrameRun;
use crate::protocol::{Epoch, Position};

/// A channel that is used without a seat is idle since its last use, give or take this.
const TOUCH: Duration = Duration::from_secs(1);

/// The numbers of a channel's messages. A channel in which nobody has asked has none, which costs it a pointer.
#[derive(Debug)]
pub(super) struct Numbered {
    epoch: Epoch,
    /// Offset of the newest message.
    newest: u64,
    /// The publishers that are remembered.
    pub(super) publishers: Publishers,
}

impl Numbered {
    /// Gives the messages of a run the next offsets. Returns the offset of the last.
    pub(super) fn advance(&mut self, run: &FrameRun) -> u64 {
        self.newest += run.messages() as u64;
        self.newest
    }
}

/// The place that the messages of a publication have in a channel's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The order in which the offsets count.
    pub epoch: Epoch,
    /// Offset of the first message.
    pub first: u64,
    /// Offset of the last message.
    pub last: u64,
    /// `true` if they were published again, and have the place that they had before.
    pub is_repeat: bool,
}

/// A receipt that was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed {
    /// The receipt.
    pub receipt: Receipt,
    /// Number of publishers that were forgotten before their time for this one.
    pub forgotten: usize,
}

/// Messages that follow a position, as far as they are kept and there is room for them.
#[derive(Debug)]
pub struct MessagePage {
    /// The order in which offsets count.
    pub epoch: Epoch,
    /// Runs of frames with the offset of the first message of each, in order. The offsets of the messages follow one
    /// another without a gap; hints of presence among them have none.
    pub runs: Vec<(u64, Bytes)>,
    /// Offset of the position to go on from.
    pub next: u64,
    /// `true` if nothing is missing between the position and the page.
    pub is_recovered: bool,
    /// Number of messages that are missing there; `None` if it is not known, as the position is of another order.
    pub missed: Option<u64>,
}

impl<T> Channel<T> {
    /// Numbers the messages from now on, unless they are numbered. `epoch` is called for the first position that is
    /// asked for. Returns the position of the newest message.
    pub fn number(&mut self, epoch: impl FnOnce() -> Epoch) -> Position {
        let history = &mut self.history;
        let numbered = self.numbered.get_or_insert_with(|| {
            Box::new(Numbered {
                epoch: epoch(),
                newest: history.number(),
                publishers: Publishers::new(history.memory()),
            })
        });
        let (epoch, offset) = (numbered.epoch, numbered.newest);
        Position { epoch, offset }
    }

    /// Returns the position of the newest message; `None` if nobody has asked for one yet.
    #[must_use]
    pub fn newest(&self) -> Option<Position> {
        let numbered = self.numbered.as_ref()?;
        let (epoch, offset) = (numbered.epoch, numbered.newest);
        Some(Position { epoch, offset })
    }

    /// Returns the bytes of memory that its publishers are counted for.
    #[must_use]
    pub fn publishers_cost(&self) -> usize {
        let numbered = self.numbered.as_ref();
        numbered.map_or(0, |numbered| numbered.publishers.cost())
    }

    /// Returns the receipt of what `publisher` published first; `None` if it has not, or is not known any more.
    #[must_use]
    pub fn first_receipt(&self, publisher: PublisherId, now: Instant) -> Option<Receipt> {
        let numbered = self.numbered.as_ref()?;
        let publishers = &numbered.publishers;
        let published = publishers.get(publisher, now, &self.settings)?;
        Some(Receipt {
            epoch: numbered.epoch,
            first: published.first,
            last: published.first_end,
            is_repeat: true,
        })
    }

    /// Confirms what was committed since the newest message had the position `before`, and remembers it for
    /// `publisher`, if it has named itself. Where memory is short, the oldest frames of the history go for that. `None`
    /// if that was no message.
    pub fn confirm(
        &mut self,
        before: Position,
        publisher: Option<PublisherId>,
        now: Instant,
    ) -> Option<Confirmed> {
        let numbered = self.numbered.as_mut()?;
        let (first, last) = (before.offset + 1, numbered.newest);
        if numbered.epoch != before.epoch || last < first {
            return None;
        }
        let publishers = &mut numbered.publishers;
        let mut forgotten = 0;
        if let Some(publisher) = publisher {
            forgotten = publishers.record(publisher, (first, last), now, &self.settings);
            self.history.trim(now, &self.settings);
            forgotten += publishers.keep_within_memory();
        }
        let epoch = numbered.epoch;
        let receipt = Receipt {
            epoch,
            first,
            last,
            is_repeat: false,
        };
        Some(Confirmed { receipt, forgotten })
    }

    /// Returns what follows a position, or all that is kept if there is none; `None` if messages are not numbered.
    /// What is asked for by a position of another order, or one that is not reached yet, is all that is kept, too.
    #[must_use]
    pub fn since(
        &self,
        position: Option<Position>,
        limit: PageLimit,
        now: Instant,
    ) -> Option<MessagePage> {
        let numbered = self.numbered.as_ref()?;
        let (epoch, newest) = (numbered.epoch, numbered.newest);
        let is_known = |position: &Position| position.epoch == epoch && position.offset <= newest;
        let known = position.filter(is_known);
        let offset = known.map_or(0, |position| position.offset);
        let page = self
            .history
            .since(offset, newest, limit, now, &self.settings);
        let missed = match (position, known) {
            (None, _) => Some(0),
            (Some(_), None) => None,
            (Some(_), Some(_)) => Some(page.missed),
        };
        let runs = page.runs.into_iter();
        Some(MessagePage {
            epoch,
            runs: runs.map(|(first, run)| (first, run.into_bytes())).collect(),
            next: page.last,
            is_recovered: missed == Some(0),
            missed,
        })
    }

    /// Records that the channel is used by somebody who has no seat, so that it is not idle for that long. Returns
    /// `true` if it had been idle for a while.
    pub fn touch(&mut self, now: Instant) -> bool {
        let idle = self.idle_since.as_mut();
        let long_idle = idle.filter(|since| now.duration_since(**since) >= TOUCH);
        long_idle.map(|since| *since = now).is_some()
    }
}
