//! Who is in a channel, for those who want to know: they ask, or they watch.
//!
//! The owner of a channel knows its members by their connection ids, and the uids only of those on its own shard. Names
//! of the others are kept from the first question on: the owner asks each shard with members once, and from then on
//! follows who comes and leaves. When nobody watches and nobody has asked for [`KEPT`], the names are let go.
//!
//! Invariants:
//!
//! * A name is kept for a session that has its seat, on another shard, and for no other. A name that comes for a session
//!   which has left meanwhile is dropped; one whose session leaves later goes with it.
//! * Nobody is answered before all shards that were asked have named their members. Who comes after the question was
//!   sent is known from the join.
//! * Servers below are no members here. Half-closed sessions are.
//! * A name costs up to 80 bytes and the uid, for each member on another shard.

mod relayed;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ask::{MemberList, Reply};
use super::ids::ShardId;
use super::message::Delivery;
use super::refusal::Refusal;
use super::room::Room;
use super::session::{Role, Session};
use super::{Shard, turn};
use crate::channel::{FreedSeat, NameLimit, SessionId};
pub(crate) use relayed::NamedMembers;
use watching::Watchers;

/// Time for which names are kept when nobody asks any more: who asks now and then makes no shard name its members anew.
const KEPT: Duration = Duration::from_secs(10);
/// Most names in a list.
pub(crate) const MAX_NAMES: usize = 1000;
/// Most bytes of names in a list, unless a single one is longer. It is no longer than a frame may be, either.
const MAX_BYTES: usize = 256 << 10;

/// The members of one channel, as its owner knows them while somebody wants to know.
#[derive(Debug)]
pub(super) struct Presence {
    /// The uids of members on other shards.
    relayed: HashMap<SessionId, Box<str>>,
    /// Number of members that are servers below.
    servers: usize,
    /// Shards that have been asked, and have not named all of their members yet.
    awaited: Vec<ShardId>,
    /// Those who wait for that, each with the bounds of its list.
    waiting: Vec<(NameLimit, Reply<MemberList>)>,
    /// Sessions that are told who comes and leaves.
    watchers: Watchers,
    /// When somebody last asked.
    asked_at: Instant,
}

impl Shard {
    /// Lists the members of a channel of this shard for somebody who asks, at once or when all shards have named theirs.
    pub(super) fn list_members_for(&self, channel: &str, names: usize, reply: Reply<MemberList>) {
        if !self.is_running() {
            let _ = reply.send(Err(Refusal::Stopping));
            return;
        }
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(channel);
        let Some(room) = at.and_then(|at| registry.room(at)) else {
            // Nobody is in it, and it need not be opened to say so.
            let _ = reply.send(Ok(MemberList::default()));
            return;
        };
        let to_ask = room.ask_for_members(self.limit_names(names), reply);
        let channel = room.id;
        drop(registry);
        for shard in to_ask {
            self.deliver_to(shard, Delivery::NameMembers { channel });
        }
    }

    /// Takes in names that another shard has sent.
    pub(super) fn on_named(self: &Rc<Self>, named: NamedMembers) {
        turn::spend_each(named.members.len());
        let channel = named.channel;
        if let Some(room) = self.registry.borrow_mut().room_of(channel) {
            room.take_names(named);
        }
        self.tell_members_soon(channel.index);
    }

    /// Returns the bounds of a list of `names` names.
    fn limit_names(&self, names: usize) -> NameLimit {
        NameLimit {
            names: names.min(MAX_NAMES),
            bytes: MAX_BYTES.min(self.common.settings().limits.max_frame / 2),
        }
    }
}

impl Room {
    /// Answers who asks for the members now, or keeps the question until all are known by name. Returns the shards that
    /// have to be asked for names.
    fn ask_for_members(&mut self, limit: NameLimit, reply: Reply<MemberList>) -> Vec<ShardId> {
        let count = self.count_members();
        if count == 0 || limit.names == 0 {
            let uids = Vec::new();
            // Nobody waits for it when the connection is gone.
            let _ = reply.send(Ok(MemberList { count, uids }));
            return Vec::new();
        }
        let to_ask = self.know_members();
        match &mut self.presence {
            Some(presence) if !presence.awaited.is_empty() => {
                presence.waiting.push((limit, reply));
            }
            _ => _ = reply.send(Ok(self.list_members(limit))),
        }
        to_ask
    }

    /// Has the members known by name from now on. Returns the shards that have to be asked for that.
    fn know_members(&mut self) -> Vec<ShardId> {
        let now = Instant::now();
        if let Some(presence) = &mut self.presence {
            presence.asked_at = now;
            return Vec::new();
        }
        let awaited: Vec<_> = self.channel.relays().map(ShardId).collect();
        self.presence = Some(Box::new(Presence {
            relayed: HashMap::new(),
            servers: self.count_servers(),
            awaited: awaited.clone(),
            waiting: Vec::new(),
            watchers: Watchers::default(),
            asked_at: now,
        }));
        awaited
    }

    /// Takes in the names of members on another shard.
    fn take_names(&mut self, named: NamedMembers) {
        let Some(presence) = &mut self.presence else {
            return;
        };
        for member in named.members {
            let seat = self.channel.seat(member.cid);
            if seat.is_some_and(|seat| seat.session == member.session) {
                presence.relayed.insert(member.session, member.uid);
            }
        }
        if let Some(shard) = named.is_last_of {
            presence.awaited.retain(|awaited| *awaited != shard);
            self.answer_those_who_wait();
        }
    }

    /// Answers those who wait for names, if all are known.
    fn answer_those_who_wait(&mut self) {
        let Some(presence) = &mut self.presence else {
            return;
        };
        if presence.awaited.is_empty() || self.channel.is_empty() {
            for (limit, reply) in std::mem::take(&mut presence.waiting) {
                let _ = reply.send(Ok(self.list_members(limit)));
            }
        }
    }

    /// Records that a client has joined, on another shard if one is given.
    pub(super) fn member_joined(&mut self, session: SessionId, uid: &str, relay: Option<ShardId>) {
        let Some(presence) = &mut self.presence else {
            return;
        };
        if relay.is_some() {
            presence.relayed.insert(session, uid.into());
        }
        if presence.is_watched() {
            presence.watchers.changes.join(uid);
        }
    }

    /// Records that a server below has joined.
    pub(super) fn server_joined(&mut self) {
        if let Some(presence) = &mut self.presence {
            presence.servers += 1;
        }
    }

    /// Records that a member has left. To be called for every seat that is given up.
    pub(super) fn member_left(&mut self, freed: &FreedSeat<Rc<Session>>) {
        let Some(presence) = &mut self.presence else {
            return;
        };
        let session = freed.seat.session;
        let relayed = presence.relayed.remove(&session);
        let uid = match &freed.member {
            Some(member) if member.handle.role == Role::Downstream => {
                presence.servers -= 1;
                None
            }
            Some(member) => Some(&*member.handle.uid),
            None => relayed.as_deref(),
        };
        if let Some(uid) = uid.filter(|_| presence.is_watched()) {
            presence.watchers.changes.leave(uid);
        }
        self.forget_watcher(session);
        if self.channel.is_empty() {
            self.answer_those_who_wait();
        }
    }

    /// Lets the names go if nobody has asked for them for a while.
    pub(super) fn trim_presence(&mut self, now: Instant) {
        let is_spent = self.presence.as_ref().is_some_and(|presence| {
            let is_asked = now.saturating_duration_since(presence.asked_at) < KEPT;
            !is_asked && presence.awaited.is_empty() && presence.watchers.is_empty()
        });
        if is_spent {
            self.presence = None;
        }
    }

    /// Returns the number of members, and so many of their uids.
    fn list_members(&self, mut limit: NameLimit) -> MemberList {
        let presence = self.presence.iter();
        let uids = presence.flat_map(|presence| self.uids(presence));
        let uids = uids.take_while(|uid| limit.admit(uid)).map(Box::from);
        let uids: Vec<_> = uids.collect();
        turn::spend_each(uids.len());
        let count = self.count_members();
        MemberList { count, uids }
    }

    /// Returns the uids of all members that are known by name.
    fn uids<'a>(&'a self, presence: &'a Presence) -> impl Iterator<Item = &'a str> + 'a {
        let here = self.channel.local.iter().map(|(_, member)| &*member.handle);
        let here = here.filter(|session| session.role == Role::Client);
        let here = here.map(|session| &*session.uid);
        here.chain(presence.relayed.values().map(|uid| &**uid))
    }

    fn count_members(&self) -> usize {
        let known = self.presence.as_ref().map(|presence| presence.servers);
        self.channel.len() - known.unwrap_or_else(|| self.count_servers())
    }

    /// Counts the servers below, of which most channels have none.
    fn count_servers(&self) -> usize {
        if self.links.is_none() {
            return 0;
        }
        let local = &self.channel.local;
        turn::spend_each(local.len() / 8);
        let is_server = |session: &Session| session.role == Role::Downstream;
        local
            .iter()
            .filter(|(_, member)| is_server(&member.handle))
            .count()
    }
}
