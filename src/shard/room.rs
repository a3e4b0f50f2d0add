//! A channel on the shard that owns it, with what the shard needs for it.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Instant;

use super::dirty::LocalMembers;
use super::held::HeldRuns;
use super::ids::{ChannelId, ShardId};
use super::limits::{ChannelPermit, Unneeded};
use super::links::Links;
use super::message::ChannelName;
use super::pause::Pause;
use super::presence::Presence;
use super::session::Session;
use super::storing::StoredChannel;
use super::traffic::Traffic;
use super::waiting_publications::WaitingPublications;
use crate::channel::{Channel, FreedSeat, Place, SessionId};
use crate::protocol::Cid;

/// A channel that this shard owns.
#[derive(Debug)]
pub(super) struct Room {
    /// The name of the channel.
    pub(super) name: ChannelName,
    /// Its name among shards.
    pub(super) id: ChannelId,
    /// Its members, their order, and its history.
    pub(super) channel: Channel<Rc<Session>>,
    /// Pauses the publishers among the members on this shard.
    pub(super) pause: Rc<Pause>,
    /// Publications without a seat that wait for the end of a pause. Their task keeps them.
    pub(super) waiting: Weak<WaitingPublications>,
    /// Other shards with a member over its high-water mark.
    pub(super) pressed: Box<[ShardId]>,
    /// Its links with other servers.
    pub(super) links: Links,
    /// Counts of the messages that are published in it.
    pub(super) traffic: Traffic,
    /// Runs that were proposed and may not be committed yet, if there are some.
    pub(super) held: Option<Box<HeldRuns>>,
    /// Its state in the store, if it is kept on disk.
    pub(super) stored: Option<Box<StoredChannel>>,
    /// The names of its members, while somebody wants to know.
    pub(super) presence: Option<Box<Presence>>,
    /// The uids that only one session each may have, if there was one.
    reserved: Option<Box<ReservedUids>>,
    /// `true` if runs are held before they are committed.
    pub(super) holds_runs: bool,
    /// `true` while new members stay on the shard that accepted them.
    pub(super) is_spreading: bool,
    /// `true` while a task is going to deliver the announcements collected.
    pub(super) is_announcing: bool,
    /// `true` while the flusher has it on its list.
    is_listed: bool,
    /// Keeps the channel counted.
    permit: ChannelPermit,
}

/// Sessions of which there may be only one for each uid.
#[derive(Debug, Default)]
struct ReservedUids {
    cids: HashMap<Rc<str>, Cid>,
    uids: HashMap<SessionId, Rc<str>>,
}

impl Room {
    /// Creates the room of a channel that was opened.
    pub(super) fn new(
        name: ChannelName,
        id: ChannelId,
        channel: Channel<Rc<Session>>,
        permit: ChannelPermit,
    ) -> Self {
        let limit = channel.settings().write_deadline;
        let pause = Rc::new(Pause::new(limit));
        Self {
            name,
            id,
            channel,
            pause,
            waiting: Weak::new(),
            pressed: Box::default(),
            links: Links::default(),
            traffic: Traffic::default(),
            held: None,
            stored: None,
            presence: None,
            reserved: None,
            holds_runs: false,
            is_spreading: false,
            is_announcing: false,
            is_listed: false,
            permit,
        }
    }

    /// Gives up the seat of a session, and all else that is kept for it. Returns `None` if it has none.
    pub(super) fn leave(
        &mut self,
        cid: Cid,
        session: SessionId,
        now: Instant,
    ) -> Option<FreedSeat<Rc<Session>>> {
        self.links.left(session);
        self.release_uid(session);
        self.channel.has_ended(session);
        let freed = self.channel.leave(cid, session, now)?;
        self.member_left(&freed);
        Some(freed)
    }

    /// Gives up the seat of a session whose publisher has come back. What it has published on another shard and is
    /// on its way is left out.
    pub(super) fn overtake(
        &mut self,
        cid: Cid,
        session: SessionId,
        now: Instant,
    ) -> Option<FreedSeat<Rc<Session>>> {
        let freed = self.leave(cid, session, now)?;
        if let Place::Relay(_) = freed.seat.place {
            self.channel.overtake(session);
        }
        Some(freed)
    }

    /// Returns its members on this shard.
    #[inline]
    pub(super) fn local_members(&mut self) -> LocalMembers<'_> {
        let (local, settings) = self.channel.local_and_settings();
        LocalMembers {
            local,
            settings,
            is_listed: &mut self.is_listed,
        }
    }

    /// Returns `true` while the channel's publishers have to pause as a shard has a member over its mark.
    pub(super) fn is_pressed(&self) -> bool {
        self.channel.local.is_pressed() || !self.pressed.is_empty()
    }

    /// Returns `true` if the room may be closed: it has expired, and nothing is held.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.channel.is_expired(now) && !self.is_holding()
    }

    /// Returns `true` while who publishes without a seat has to wait: the publishers pause, or others have waited before.
    pub(super) fn has_to_wait(&self) -> bool {
        self.pause.is_on() || self.waiting.strong_count() > 0
    }

    /// Reserves `uid` for `session`, which has the connection id `cid`. Returns `false` if it is another's.
    pub(super) fn reserve_uid(&mut self, uid: &str, cid: Cid, session: SessionId) -> bool {
        let reserved = self.reserved.get_or_insert_default();
        if reserved.cids.contains_key(uid) {
            return false;
        }
        let uid: Rc<str> = uid.into();
        reserved.cids.insert(uid.clone(), cid);
        reserved.uids.insert(session, uid);
        true
    }

    /// Releases the uid that `session` has reserved, if it has.
    pub(super) fn release_uid(&mut self, session: SessionId) {
        let Some(reserved) = &mut self.reserved else {
            return;
        };
        if let Some(uid) = reserved.uids.remove(&session) {
            reserved.cids.remove(&uid);
        }
    }

    /// Returns the connection id of the session that has reserved `uid`.
    pub(super) fn holder_of_uid(&self, uid: &str) -> Option<Cid> {
        self.reserved.as_ref()?.cids.get(uid).copied()
    }

    /// Records whether anybody needs the channel. To be called when a member has come, has closed its sending
    /// side, or has left.
    pub(super) fn update_need(&mut self) {
        self.list_by_need();
        self.mark_unsaved();
    }

    /// Lists the channel among those that may make room for others, if nobody needs it.
    pub(super) fn list_by_need(&mut self) {
        let why = self.unneeded();
        self.permit.set_unneeded(self.id, why);
    }

    /// Lists a channel that nobody needs as one that has only just come to be so.
    pub(super) fn list_anew(&mut self) {
        self.permit.set_unneeded(self.id, None);
        self.update_need();
    }

    /// Returns why nobody needs the channel; `None` while somebody does: a member, a link, which
    /// may have something to bring up, or a run that is held.
    pub(super) fn unneeded(&self) -> Option<Unneeded> {
        if !self.links.is_idle() || self.is_holding() {
            None
        } else if self.channel.is_empty() {
            // A link that is being closed is a member without a seat.
            self.channel.local.is_empty().then_some(Unneeded::Idle)
        } else {
            self.channel.is_deserted().then_some(Unneeded::Deserted)
        }
    }
}
