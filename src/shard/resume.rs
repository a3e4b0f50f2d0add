//! Sessions that ask for positions: their seats on the owner of their channel, and the ghosts that they leave behind.
//!
//! Invariants:
//!
//! * A channel is numbered from the first session on that asks.
//! * What a session is told first, its welcome, is made in the call that gives it its seat. What it has missed and what
//!   is published next come behind it.
//! * A publisher is known by its number together with what its client has proved.
//! * A publisher that has named itself has one session in a channel. When it comes back, nothing of the session before
//!   is committed behind the new welcome, which says how many of its messages have their place: that session ends at
//!   once, and what it has sent from another shard is left out when it comes.

use std::rc::Rc;
use std::time::Instant;

use super::ended::Ended;
use super::message::{Arrival, Socket};
use super::refusal::Refusal;
use super::room::Room;
use super::session::Session;
use super::{Common, Shard, turn};
use crate::access::{Permissions, Rights};
use crate::channel::{CidInUse, Fanout, Joined, Place, PublisherId, SessionId};
use crate::protocol::{Cid, Epoch, ResumeRequest};

impl Common {
    /// Makes the publisher that a client names its own: the same number from another subject is another publisher, so
    /// that nobody ends a session of somebody else, or has messages taken for repeated ones.
    pub(crate) fn own_publisher(&self, rights: &Rights, request: &mut ResumeRequest) {
        if let (Some(subject), Some(publisher)) = (rights.subject(), &mut request.publisher) {
            *publisher = self.own_number(subject, *publisher);
        }
    }
}

impl Room {
    /// Numbers the messages from now on, unless they are numbered.
    pub(super) fn number(&mut self) {
        if self.channel.newest().is_none() {
            turn::spend_each(self.channel.history().frames());
            self.channel.number(|| Epoch(rand::random()));
        }
    }

    /// Gives a client a seat, and all of the history or what follows the position that it knows, if its rights let it
    /// have that.
    pub(super) fn join(
        &mut self,
        (cid, session): (Cid, SessionId),
        rights: &Rights,
        resume: Option<&ResumeRequest>,
        announcement: Option<&[u8]>,
        now: Instant,
        place: impl FnOnce(&mut Fanout<Rc<Session>>, u32) -> Place,
    ) -> Result<Joined<Rc<Session>>, CidInUse> {
        let channel = &mut self.channel;
        let mut joined = match resume {
            None => channel.join(cid, session, announcement, now, place)?,
            Some(request) => {
                self.number();
                let seat = (cid, session);
                let channel = &mut self.channel;
                channel.join_resuming(seat, request, announcement, now, place)?
            }
        };
        let to_read = Permissions::SUBSCRIBE.with(Permissions::HISTORY);
        let is_back = resume.is_some_and(|request| request.since.is_some());
        if !rights.permits(to_read) {
            joined.withhold_history(is_back);
        } else if is_back {
            // Frames are looked at in the first run.
            turn::spend_bytes(joined.replay.first().map_or(0, |run| run.len()));
        }
        Ok(joined)
    }
}

impl Shard {
    /// Ends the session that the publisher of a new one has left behind.
    ///
    /// # Errors
    ///
    /// The new session is the older one: it has been under way for longer.
    pub(super) fn end_ghost(
        self: &Rc<Self>,
        arrival: &Arrival<Socket>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let publisher = arrival.resume.as_ref().and_then(|resume| resume.publisher);
        let Some(publisher) = publisher.map(PublisherId) else {
            return Ok(());
        };
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(&arrival.channel);
        let Some((at, room)) = at.and_then(|at| Some((at, registry.room(at)?))) else {
            return Ok(());
        };
        let Some((cid, ghost)) = room.channel.holder(publisher) else {
            return Ok(());
        };
        if ghost > arrival.identity.session {
            return Err(Refusal::Superseded);
        }
        drop(registry);
        self.end_holder(at, cid, ghost, now);
        Ok(())
    }

    /// Ends the session that holds the seat of a connection id, wherever its connection is.
    pub(super) fn end_holder(self: &Rc<Self>, at: u32, cid: Cid, ghost: SessionId, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let place = room.channel.seat(cid).map(|seat| seat.place);
        if let Some(Place::Local(key)) = place {
            let member = room.channel.local.get(key, ghost);
            let session = member.map(|member| member.handle.clone());
            drop(registry);
            if let Some(session) = session {
                self.end(&session, Ended::Replaced);
            }
        } else {
            let freed = room.overtake(cid, ghost, now);
            drop(registry);
            if let Some(freed) = freed {
                self.evict(at, freed, None);
                self.after_leaving(at, ghost, now);
            }
        }
    }

    /// Counts a session that has come back with a position.
    pub(super) fn count_resumed<T>(&self, request: Option<&ResumeRequest>, joined: &Joined<T>) {
        let is_back = request.is_some_and(|request| request.since.is_some());
        if let (true, Some(resumed)) = (is_back, &joined.resumed) {
            let stats = self.stats();
            let counter = if resumed.welcome.recovered {
                &stats.resumed
            } else {
                &stats.resumed_partly
            };
            counter.add(1);
        }
    }
}
