//! Channels in which somebody has asked for a position: from then on their messages are numbered.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::history::{History, PageLimit};
use super::member::SessionId;
use super::owner::Channel;
use super::publishers::{Published, PublisherId, Publishers};
use super::run::FrameRun;
use super::seated_publishers::SeatedPublishers;
use super::stored::{Located, PastEpoch};
use crate::protocol::{Cid, Epoch, Position};

/// A channel that is used without a seat is idle since its last use, give or take this.
const TOUCH: Duration = Duration::from_secs(1);

/// The numbers of a channel's messages. A channel in which nobody has asked has none, which costs it a pointer.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) epoch: Epoch,
    /// Offset of the newest message.
    pub(super) newest: u64,
    /// The orders of which this one is the continuation, oldest first.
    pub(super) past: Box<[PastEpoch]>,
    /// The publishers that are remembered.
    pub(super) publishers: Publishers,
    /// The publishers that have a seat.
    pub(super) seated: SeatedPublishers,
    /// Number of publishers that were forgotten before their time and are not counted yet.
    pub(super) forgotten: usize,
    /// `true` if the next message does not follow the newest: see [`Channel::advance_to`].
    pub(super) has_jumped: bool,
}

/// The numbers of the messages of a run that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The order in which offsets count.
    pub epoch: Epoch,
    /// Offset of the newest message: the last of the run, if it has any.
    pub newest: u64,
    /// Number of messages in the run; hints of presence are none.
    pub count: u32,
    /// `true` if the first of them does not follow the newest message before, so that who counts has to be told.
    pub jumps: bool,
}

impl Numbers {
    /// Returns the position of the first message.
    pub(super) fn first(self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.newest + 1 - u64::from(self.count),
        }
    }

    /// Returns the position before the first message.
    pub(crate) fn before(self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.newest - u64::from(self.count),
        }
    }

    /// Returns the position of the last message.
    pub(super) fn last(self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.newest,
        }
    }
}

impl Numbered {
    /// Creates the numbers of a channel whose newest message has the offset `newest`.
    pub(super) fn new(epoch: Epoch, newest: u64, publishers: Publishers) -> Self {
        Self {
            epoch,
            newest,
            past: Box::default(),
            publishers,
            seated: SeatedPublishers::default(),
            forgotten: 0,
            has_jumped: false,
        }
    }

    /// Gives the messages of a run that is stored the next offsets, and counts them for the publisher whose session has
    /// sent it.
    pub(super) fn advance(&mut self, run: Option<&FrameRun>, from: SessionId) -> Numbers {
        let count = u32::try_from(run.map_or(0, FrameRun::messages)).unwrap_or(u32::MAX);
        let before = self.newest;
        self.newest += u64::from(count);
        if count > 0 {
            let publisher = self.seated.published(from, (before + 1, self.newest));
            if let Some(publisher) = publisher {
                self.publishers.changed(publisher);
            }
        }
        Numbers {
            epoch: self.epoch,
            newest: self.newest,
            count,
            jumps: count > 0 && std::mem::take(&mut self.has_jumped),
        }
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

/// Messages that follow a position, as far as they are kept and there is room for them.
#[derive(Debug)]
pub struct MessagePage {
    /// The order in which offsets count.
    pub epoch: Epoch,
    /// Runs of frames with the offset of the first message of each, in order. The offsets of the messages of a run follow one
    /// another; hints of presence among them have none.
    pub runs: Vec<(u64, Bytes)>,
    /// Number of messages in all runs.
    pub messages: u64,
    /// Offset of the position to go on from.
    pub next: u64,
    /// `true` if nothing is missing between the position and the page.
    pub is_recovered: bool,
    /// Number of messages that are missing there; `None` if it is not known, as the position is of another order,
    /// or of a part of an order that was lost.
    pub missed: Option<u64>,
}

impl MessagePage {
    /// Returns the position to go on from.
    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.next,
        }
    }
}

impl Numbered {
    /// Returns `true` if what is known of a publisher goes for one that goes on from the position `since`. At the last
    /// message of an order that was cut off it may have been counted anew, and that is lost: since then it has published
    /// nothing that is here.
    fn has_known_count(&self, known: Published, since: Option<Position>) -> bool {
        let Some(since) = since else {
            return false;
        };
        match self.locate(since) {
            Located::At(offset) => offset >= known.since && !self.is_last_of_past(since),
            Located::Behind(_) | Located::Unknown => false,
        }
    }
}

impl<T> Channel<T> {
    /// Numbers the messages from now on, unless they are numbered. `epoch` is called for the first position that is
    /// asked for. Returns the position of the newest message.
    pub fn number(&mut self, epoch: impl FnOnce() -> Epoch) -> Position {
        let history = &mut self.history;
        let numbered = self.numbered.get_or_insert_with(|| {
            let publishers = Publishers::new(history.memory());
            Box::new(Numbered::new(epoch(), history.number(), publishers))
        });
        let (epoch, offset) = (numbered.epoch, numbered.newest);
        Position { epoch, offset }
    }

    /// Begins an order that others decide: offsets rise in it, but need not follow one another. Its first message comes
    /// behind `offset`, and what is behind that is not missing. All that was kept of the order before is void: the history
    /// is taken out and returned, and publishers are forgotten.
    pub fn begin_order(&mut self, epoch: Epoch, offset: u64) -> History {
        let publishers = Publishers::new(self.history.memory());
        self.numbered = Some(Box::new(Numbered::new(epoch, offset, publishers)));
        let before = self.history.take();
        self.history.begin_jumping(offset);
        before
    }

    /// Goes on to `offset`, unless the newest message has come that far: the next message comes behind it. Only where the
    /// order [is decided by others](Self::begin_order).
    pub fn advance_to(&mut self, offset: u64) {
        if let Some(numbered) = &mut self.numbered
            && numbered.newest < offset
        {
            numbered.newest = offset;
            numbered.has_jumped = true;
        }
    }

    /// Records that messages up to `offset` are not kept, where the order [is decided by others](Self::begin_order).
    #[cfg(feature = "server")]
    pub(crate) fn has_forgotten(&mut self, offset: u64) {
        self.history.has_dropped(offset);
    }

    /// Returns the offset up to which messages are gone once the channel is, where its order [is decided by
    /// others](Self::begin_order); 0 elsewhere.
    #[cfg(feature = "server")]
    pub(crate) fn gone_to(&self) -> u64 {
        self.history.gone_to()
    }

    /// Returns `true` if the offset of a message may be more than one above that of the message before.
    pub(super) fn jumps(&self) -> bool {
        self.history.jumps()
    }

    /// Returns the position of the newest message; `None` if nobody has asked for one yet.
    #[must_use]
    pub fn newest(&self) -> Option<Position> {
        let numbered = self.numbered.as_ref()?;
        let (epoch, offset) = (numbered.epoch, numbered.newest);
        Some(Position { epoch, offset })
    }

    /// Returns the number of publishers without a seat that are remembered.
    #[cfg(feature = "server")]
    pub(crate) fn publishers(&self) -> usize {
        let numbered = self.numbered.as_ref();
        numbered.map_or(0, |numbered| numbered.publishers.len())
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
        let published = (published.count > 0).then_some(published)?;
        Some(Receipt {
            epoch: numbered.epoch,
            first: published.first,
            last: published.first_end,
            is_repeat: true,
        })
    }

    /// Returns `true` if what `publisher` is remembered for has another hash than `content`. After a restart nobody knows.
    #[must_use]
    pub fn is_other_content(&self, publisher: PublisherId, content: u64) -> bool {
        let numbered = self.numbered.as_ref();
        numbered.is_some_and(|numbered| numbered.publishers.is_other_content(publisher, content))
    }

    /// Remembers the hash of what `publisher` was confirmed for.
    pub fn remember_content(&mut self, publisher: PublisherId, content: u64) {
        if let Some(numbered) = &mut self.numbered {
            numbered.publishers.remember_content(publisher, content);
        }
    }

    /// Confirms what was committed since the newest message had the position `before`, and remembers it for
    /// `publisher`, if it has named itself. Where memory is short, the oldest frames of the history go for that. `None`
    /// if that was no message.
    pub fn confirm(
        &mut self,
        before: Position,
        publisher: Option<PublisherId>,
        now: Instant,
    ) -> Option<Receipt> {
        let numbered = self.numbered.as_mut()?;
        let (first, last) = (before.offset + 1, numbered.newest);
        if numbered.epoch != before.epoch || last < first {
            return None;
        }
        let epoch = numbered.epoch;
        if let Some(publisher) = publisher {
            let publishers = &numbered.publishers;
            let before = publishers.get(publisher, now, &self.settings);
            let mut published = before.unwrap_or_default();
            published.add((first, last));
            self.remember(publisher, published, now);
        }
        Some(Receipt {
            epoch,
            first,
            last,
            is_repeat: false,
        })
    }

    /// Counts the messages behind the offset `before` for a publisher whose session was over before they were committed.
    /// One that is not remembered any more stays forgotten.
    pub fn count_late(&mut self, publisher: PublisherId, before: u64, now: Instant) {
        let Some(numbered) = &mut self.numbered else {
            return;
        };
        let (first, last) = (before + 1, numbered.newest);
        if last < first {
            return;
        }
        if let Some((_, session)) = numbered.seated.holder(publisher) {
            numbered.seated.published(session, (first, last));
            numbered.publishers.changed(publisher);
            return;
        }
        let known = numbered.publishers.get(publisher, now, &self.settings);
        if let Some(mut published) = known {
            published.add((first, last));
            self.remember(publisher, published, now);
        }
    }

    /// Remembers what a publisher has published. Where memory is short, the oldest frames of the history go for that.
    fn remember(&mut self, publisher: PublisherId, published: Published, now: Instant) {
        let Some(numbered) = &mut self.numbered else {
            return;
        };
        let publishers = &mut numbered.publishers;
        let forgotten = publishers.remember(publisher, published, now, &self.settings);
        self.history.trim(now, &self.settings);
        numbered.forgotten += forgotten + publishers.keep_within_memory();
    }

    /// Gives a publisher that has taken a seat, and goes on from the position `since`, back what is known of it.
    /// Returns how many messages of it have their place; `None` if it is not known, and counting begins anew.
    ///
    /// Whoever goes on from before the place where counting began has not had the welcome in which it did. Messages of
    /// its own that it has no receipt for may be older still, and were forgotten: then the count would be too low. Who
    /// goes on from what this order does not have any more has receipts for messages that the count does not have.
    pub(super) fn seat_publisher(
        &mut self,
        publisher: PublisherId,
        since: Option<Position>,
        seat: (Cid, SessionId),
        now: Instant,
    ) -> Option<u64> {
        let numbered = self.numbered.as_mut()?;
        let known = numbered.publishers.take(publisher, now, &self.settings);
        let known = known.filter(|known| numbered.has_known_count(*known, since));
        let published = known.unwrap_or(Published {
            since: numbered.newest,
            ..Published::default()
        });
        numbered.seated.join(publisher, seat, published);
        numbered.publishers.changed(publisher);
        known.map(|known| known.count)
    }

    /// Returns `true` if a publisher that has no seat is counted anew when it takes one and goes on from the position
    /// `since`.
    #[must_use]
    pub fn is_counted_anew(
        &self,
        publisher: PublisherId,
        since: Option<Position>,
        now: Instant,
    ) -> bool {
        self.numbered.as_ref().is_some_and(|numbered| {
            let known = numbered.publishers.get(publisher, now, &self.settings);
            !known.is_some_and(|known| numbered.has_known_count(known, since))
        })
    }

    /// Remembers a publisher that has no seat as one that is counted from now on.
    pub fn introduce(&mut self, publisher: PublisherId, now: Instant) {
        let newest = self.newest();
        let published = Published {
            since: newest.map_or(0, |newest| newest.offset),
            ..Published::default()
        };
        self.remember(publisher, published, now);
    }

    /// Remembers the publisher whose session ends, if it is one's.
    pub(super) fn unseat_publisher(&mut self, session: SessionId, now: Instant) {
        let numbered = self.numbered.as_mut();
        let left = numbered.and_then(|numbered| numbered.seated.leave(session));
        if let Some((publisher, published)) = left {
            self.remember(publisher, published, now);
        }
    }

    /// Returns how many publishers were forgotten before their time since this was asked last.
    pub fn take_forgotten(&mut self) -> usize {
        let numbered = self.numbered.as_mut();
        numbered.map_or(0, |numbered| std::mem::take(&mut numbered.forgotten))
    }

    /// Returns what follows a position, or all that is kept if there is none; `None` if messages are not numbered.
    /// What is asked for by a position of another order, or one that is not reached yet, is all that is kept, too. An
    /// order that this one goes on from is no other as far as both are the same; a position beyond that gets what
    /// follows the last message that both have.
    #[must_use]
    pub fn since(
        &self,
        position: Option<Position>,
        limit: PageLimit,
        now: Instant,
    ) -> Option<MessagePage> {
        let numbered = self.numbered.as_ref()?;
        let (epoch, newest) = (numbered.epoch, numbered.newest);
        let located = position.map(|position| numbered.locate(position));
        let offset = match located {
            Some(Located::At(offset) | Located::Behind(offset)) => offset,
            Some(Located::Unknown) | None => 0,
        };
        let page = self
            .history
            .since(offset, newest, limit, now, &self.settings);
        let missed = match located {
            None => Some(0),
            Some(Located::At(_)) => page.missed,
            Some(Located::Behind(_) | Located::Unknown) => None,
        };
        let runs = page.runs.into_iter();
        Some(MessagePage {
            epoch,
            messages: page.messages,
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
