//! What a session that asks for positions knows of its place in the order of the channel: pure, without I/O.
//!
//! The caller says when a connection begins ([`joined`](Tracker::joined)), hands every frame in
//! ([`take`](Tracker::take)) and gets the events that follow from it. The server decides with the first frame of each
//! connection whether there are positions: a welcome, or anything else. A server that has nothing to send says
//! nothing: after a time the caller takes that for a no ([`silent`](Tracker::silent)).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::outgoing::Outgoing;
use crate::client::error::Error;
use crate::client::event::Event;
use crate::client::identity::SessionIdentity;
use crate::client::received::Received;
use crate::client::replay::ReplayMatcher;
use crate::protocol::{Cid, NOTICE_MAGIC, Notice, Position, ResumeRequest, Welcome, is_presence};

/// What is known of whether the server of the present connection gives positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Not known yet.
    Open,
    Given,
    Missing,
}

/// The place of a session in the order of its channel.
#[derive(Debug)]
pub(in crate::client) struct Tracker {
    uid: Box<str>,
    cid: Cid,
    /// Where the user wants to begin.
    since: Option<Position>,
    publisher: Option<u64>,
    /// The largest number of names in the first list of members, if the user wants to know who is there.
    members: Option<u64>,
    offer: Offer,
    /// Set once a server has given positions to this session.
    was_offered: bool,
    /// Number of joins that were sent.
    joins: u32,
    /// Everything up to here was received, or told as missing.
    position: Option<Position>,
    /// Number of messages of the replay that have not come.
    replay_left: u64,
    /// The end of the last replay: messages that are due have their place before it.
    replay_end: Option<Position>,
    /// The last own messages in replays without a hole, as many as are due at most.
    own_places: VecDeque<Position>,
    /// Set once a replay was received to its end: this session's own messages are no news in later ones.
    is_back: bool,
    /// Set if the answer to an earlier join was lost since messages were sent. The server may have begun to count with
    /// that join: a count of 0 says nothing then.
    is_doubtful: bool,
    /// Number of messages of this publisher that have taken their place, as the server counts.
    published: Option<u64>,
    /// Milliseconds after which the server of the present connection, which is stopping, wants this session back.
    retry: Option<u64>,
    /// Why the server of the present connection is about to close it.
    reason: Option<Error>,
    /// Milliseconds for which the token counts, as the server has said last.
    token_ttl: Option<u64>,
    /// Recognises what was delivered before where positions do not tell; only in sessions that reconnect.
    matcher: Option<ReplayMatcher>,
    outgoing: Outgoing,
}

impl Tracker {
    /// Begins before the first connection. A session that reconnects has a random `publisher` and a matcher.
    pub(super) fn new(
        uid: Box<str>,
        since: Option<Position>,
        publisher: Option<u64>,
        matcher: Option<ReplayMatcher>,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            uid,
            cid: outgoing.identity().cid,
            since,
            publisher,
            members: None,
            offer: Offer::Open,
            was_offered: false,
            joins: 0,
            position: None,
            replay_left: 0,
            replay_end: None,
            own_places: VecDeque::new(),
            is_back: false,
            is_doubtful: false,
            published: None,
            retry: None,
            reason: None,
            token_ttl: None,
            matcher,
            outgoing,
        }
    }

    /// Asks who is there with every join, for so many names at most, if there is a number.
    pub(super) fn with_members(mut self, names: Option<u64>) -> Self {
        self.members = names;
        self
    }

    /// Returns what the next join asks for.
    pub(super) fn request(&self) -> ResumeRequest {
        ResumeRequest {
            since: self.position.or(self.since),
            publisher: self.publisher,
            members: self.members,
        }
    }

    /// Returns the position up to which everything was received or told as missing.
    pub(super) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Takes the milliseconds after which a server that was stopping wants this session back.
    pub(super) const fn take_retry(&mut self) -> Option<u64> {
        self.retry.take()
    }

    /// Takes the reason that the server has given for the end of the connection.
    pub(super) const fn take_reason(&mut self) -> Option<Error> {
        self.reason.take()
    }

    /// Takes the milliseconds for which the token counts, if the server has said so since this was asked last.
    pub(super) const fn take_token_ttl(&mut self) -> Option<u64> {
        self.token_ttl.take()
    }

    pub(super) const fn offer(&self) -> Offer {
        self.offer
    }

    /// Returns `true` if a server has given positions to this session.
    pub(super) const fn was_offered(&self) -> bool {
        self.was_offered
    }

    pub(super) const fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    pub(super) const fn outgoing_mut(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Returns `true` if messages may be written: where a server counts messages, a connection has to begin with what
    /// it says of those before.
    pub(super) const fn may_publish(&self) -> bool {
        let has_to_wait = self.was_offered || self.outgoing.is_in_flight();
        !matches!(self.offer, Offer::Open) || !has_to_wait
    }

    /// Notes that a join was sent as `identity` on another connection.
    pub(super) fn joined(&mut self, identity: SessionIdentity, now: Instant) {
        self.cid = identity.cid;
        self.offer = Offer::Open;
        self.replay_left = 0;
        self.retry = None;
        self.reason = None;
        self.token_ttl = None;
        self.is_doubtful = self.outgoing.is_in_flight();
        self.outgoing.rewind(identity, self.publisher.is_some());
        self.joins = self.joins.saturating_add(1);
        if self.joins > 1
            && let Some(matcher) = &mut self.matcher
        {
            matcher.restart(now);
        }
    }

    /// Takes a frame of the server. Appends the events that follow from it to `told`.
    pub(super) fn take(&mut self, frame: Bytes, now: Instant, told: &mut Vec<Event>) {
        if frame.first() == Some(&NOTICE_MAGIC) {
            // One that is not known comes from a server of a later version.
            if let Some(notice) = Notice::decode(&frame) {
                self.take_notice(notice, told);
            }
            return;
        }
        if self.offer == Offer::Open {
            self.silent(told);
        }
        let is_hint = is_presence(&frame);
        let is_replayed = self.replay_left > 0 && !is_hint;
        let position = if is_hint { None } else { self.count() };
        match Received::new(frame) {
            Ok(message) => {
                let is_own = message.cid() == Some(self.cid) && *message.uid() == *self.uid;
                let is_own_again = is_replayed && is_own && self.is_back;
                if !is_own_again && self.is_news(&message, is_own, now) {
                    told.push(Event::Message(message.with_position(position)));
                }
                if is_replayed && is_own {
                    self.own_places.extend(position);
                    if self.own_places.len() as u64 > self.outgoing.due() {
                        self.own_places.pop_front();
                    }
                }
            }
            Err((frame, error)) => told.push(Event::Malformed { frame, error }),
        }
        if is_replayed {
            self.replayed(1, told);
        }
    }

    /// Decides that the server gives no positions.
    pub(super) fn silent(&mut self, told: &mut Vec<Event>) {
        self.offer = Offer::Missing;
        self.own_places.clear();
        self.confirm_due(told);
        self.outgoing.give_up();
        if self.was_offered {
            self.tell_lost(told);
        } else {
            // A server that never gave positions promises nothing.
            self.outgoing.take_lost();
        }
        self.outgoing.release();
        self.published = None;
        if self.position.take().or(self.since).is_some() {
            told.push(Event::Gap { missed: None });
        }
        self.since = None;
    }

    fn take_notice(&mut self, notice: Notice, told: &mut Vec<Event>) {
        match notice {
            Notice::Welcome(welcome) if self.offer != Offer::Given => self.welcome(&welcome, told),
            Notice::Receipt { count: 0, position } if self.offer == Offer::Given => {
                self.position = Some(position);
            }
            Notice::Receipt { count, position } if self.offer == Offer::Given => {
                self.replayed(self.replay_left, told);
                self.position = Some(position);
                self.published = self.published.map(|sum| sum.saturating_add(count));
                self.confirm(count, position, told);
            }
            Notice::Gap { missed, .. } if self.offer == Offer::Given => {
                if let Some(position) = &mut self.position {
                    position.offset = position.offset.saturating_add(missed);
                }
                self.own_places.clear();
                // Without messages it is about members only.
                if missed > 0 {
                    let missed = Some(missed);
                    told.push(Event::Gap { missed });
                }
                self.replayed(missed, told);
            }
            Notice::Stopping { retry } => self.retry = Some(retry),
            Notice::Members { count, uids } => told.push(Event::Members { count, uids }),
            Notice::Changes {
                count,
                joined,
                left,
            } => told.push(Event::MembersChanged {
                count,
                joined,
                left,
            }),
            Notice::Rights { allowed } => told.push(Event::Rights { allowed }),
            Notice::Close { code, reason } => {
                let was_in = self.offer == Offer::Given;
                self.reason = Some(match was_in {
                    true => Error::Ended { code, reason },
                    false => Error::Denied { code, reason },
                });
            }
            Notice::Token { ttl, refused } => {
                self.token_ttl = ttl;
                if let Some(reason) = refused {
                    let reason = reason.into();
                    told.push(Event::TokenRefused { reason });
                }
            }
            _ => {}
        }
    }

    fn welcome(&mut self, welcome: &Welcome, told: &mut Vec<Event>) {
        let known = self.position;
        let is_same_order = known.is_some_and(|known| known.epoch == welcome.position.epoch);
        self.settle(welcome, known.is_some() && !is_same_order, told);
        self.offer = Offer::Given;
        self.was_offered = true;
        if let Some(matcher) = &mut self.matcher {
            if is_same_order {
                // What is replayed comes after all that was delivered.
                matcher.end();
            } else {
                matcher.count_replay();
            }
        }
        let has_asked = known.or(self.since.take()).is_some();
        if has_asked && !welcome.recovered && welcome.missed != Some(0) {
            let missed = welcome.missed;
            told.push(Event::Gap { missed });
        }
        self.position = Some(welcome.begins_at());
        self.replay_left = welcome.replay;
        self.replay_end = Some(welcome.position);
        self.replayed(0, told);
    }

    /// Finds out what became of the messages that were on their way when the last connection ended.
    fn settle(&mut self, welcome: &Welcome, is_other_order: bool, told: &mut Vec<Event>) {
        if !welcome.recovered {
            self.own_places.clear();
        }
        if is_other_order {
            self.confirm_due(told);
        }
        let before = self.published.unwrap_or(0);
        let since = welcome
            .published
            .filter(|_| !is_other_order)
            .filter(|&published| published > 0 || !self.is_doubtful)
            .and_then(|published| published.checked_sub(before));
        self.published = Some(welcome.published.unwrap_or(0));
        match since {
            Some(count) => self.outgoing.settle(count),
            None => self.outgoing.give_up(),
        }
        self.tell_lost(told);
    }

    /// Tells of messages that were given up, behind those that are confirmed.
    fn tell_lost(&mut self, told: &mut Vec<Event>) {
        let count = self.outgoing.take_lost();
        if count > 0 {
            told.push(Event::Unconfirmed { count });
        }
    }

    /// Counts a message. Returns its position.
    fn count(&mut self) -> Option<Position> {
        let position = self.position.as_mut()?;
        position.offset = position.offset.saturating_add(1);
        Some(*position)
    }

    /// Notes that `count` more messages of the replay have come, or are missing.
    fn replayed(&mut self, count: u64, told: &mut Vec<Event>) {
        self.replay_left = self.replay_left.saturating_sub(count);
        if self.replay_left > 0 {
            return;
        }
        self.is_back = true;
        if let Some(matcher) = &mut self.matcher {
            matcher.end();
        }
        self.confirm_due(told);
    }

    /// Confirms all messages that have their place. The last of them are those that were seen in the replay; the others
    /// were in a hole before those.
    fn confirm_due(&mut self, told: &mut Vec<Event>) {
        let seen = std::mem::take(&mut self.own_places);
        let bound = match seen.front() {
            Some(first) => Some(Position {
                epoch: first.epoch,
                offset: first.offset.saturating_sub(1),
            }),
            None => self.replay_end,
        };
        let unseen = self.outgoing.due().saturating_sub(seen.len() as u64);
        if let Some(bound) = bound {
            self.confirm(unseen, bound, told);
        }
        for place in seen {
            self.confirm(1, place, told);
        }
        self.tell_lost(told);
    }

    /// Confirms the next messages with the position of the last.
    fn confirm(&mut self, count: u64, position: Position, told: &mut Vec<Event>) {
        let count = self.outgoing.confirm(count, position);
        if count > 0 {
            told.push(Event::Confirmed { count, position });
        }
    }

    /// Returns `true` if a message is to be delivered: it was not before, as far as its bytes tell.
    fn is_news(&mut self, message: &Received, is_own: bool, now: Instant) -> bool {
        let Some(matcher) = &mut self.matcher else {
            return true;
        };
        // A replay holds this session's own messages, and in some servers old announcements.
        if matcher.is_matching(now) && (is_own || message.is_announcement()) {
            return false;
        }
        message.is_announcement() || matcher.accept(message.frame())
    }
}
