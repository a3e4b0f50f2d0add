//! How a session that may join takes its seat: the owner keeps its connection, or sends it back as a relay
//! member.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::ids::{Home, ShardId};
use super::links::SeatedServer;
use super::message::{Adoption, Arrival, Delivery, Socket};
use super::parked::AfterJoin;
use super::pause::pause_of;
use super::refusal::Refusal;
use super::session::{Role, Seating, Session, SessionPhase};
use super::turn;
use crate::access::Permissions;
use crate::channel::{FrameRun, Place};
use crate::protocol::{Cid, ResumeRequest};

/// Time for which announcements of joins are collected before they are delivered. They are hints: a few
/// milliseconds do not matter to who reads them, and a crowd of joiners becomes one run.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(5);

/// A session that has a seat on this shard and is not served yet.
pub(super) struct Newcomer {
    pub(super) session: Rc<Session>,
    pub(super) then: AfterJoin,
}

fn names_publisher(resume: Option<&ResumeRequest>) -> bool {
    resume.is_some_and(|resume| resume.publisher.is_some())
}

impl Shard {
    /// Gives a client a seat, on this shard or on another, and publishes the message of its join.
    pub(super) fn try_seat(
        self: &Rc<Self>,
        at: u32,
        mut arrival: Arrival<Socket>,
        now: Instant,
    ) -> Result<Option<Newcomer>, Refusal> {
        if !arrival.is_silent {
            self.deliver_collected(at, now);
        }
        let spread_to = match &arrival.socket {
            Socket::Elsewhere => Some(arrival.origin),
            Socket::Here(_) | Socket::Moved(_) => self.spread_to(at, arrival.origin),
            Socket::Parked(_) | Socket::Tls(_) => None,
        };
        let (session, cid) = (arrival.identity.session, arrival.identity.cid);
        let (uid, transport) = (arrival.identity.uid.clone(), arrival.identity.transport);
        let rights = &arrival.identity.rights;
        let may_publish = rights.permits(Permissions::PUBLISH);
        if let Some(resume) = &mut arrival.resume
            && !rights.permits(Permissions::PRESENCE)
        {
            resume.members = None;
        }
        let names = arrival.resume.as_ref().and_then(|resume| resume.members);
        let publishes = (!arrival.is_silent).then(|| FrameRun::exact(arrival.join.clone(), 1));
        if publishes.is_some() && !may_publish {
            self.stats().publishes_denied.add(1);
        }
        let publishes = publishes.filter(|_| may_publish);
        let newcomer = match spread_to {
            Some(shard) => self.seat_remote(at, shard, arrival, now).map(|()| None)?,
            None => Some(self.seat_local(at, arrival, Role::Client, now)?),
        };
        if let Some(room) = self.registry.borrow_mut().room(at) {
            room.member_joined(session, &uid, spread_to);
        }
        if let Some(names) = names {
            self.watch_members(at, session, spread_to, names);
        }
        self.tell_members_soon(at);
        self.after_joining(at, &uid, cid);
        if let Some(run) = publishes {
            self.count_received(transport, &run);
            let sampled = self.latency.count();
            self.propose_of_member(at, session, run, now);
            if let Some(read) = sampled {
                self.follow(Home::Owned(at), read);
            }
        }
        self.announce_soon(at);
        Ok(newcomer)
    }

    /// Gives a server below a seat, and compares what it has brought. Servers carry many members' frames, and what
    /// they bring is merged here: they are never spread.
    pub(super) fn try_seat_server(
        self: &Rc<Self>,
        at: u32,
        mut arrival: Arrival<Socket>,
        now: Instant,
    ) -> Result<SeatedServer, Refusal> {
        let brought = arrival.resync.take().ok_or(Refusal::Stopping)?;
        let (cid, uid) = (arrival.identity.cid, arrival.identity.uid.clone());
        self.deliver_collected(at, now);
        let newcomer = self.seat_local(at, arrival, Role::Downstream, now)?;
        if let Some(room) = self.registry.borrow_mut().room(at) {
            room.server_joined();
        }
        self.after_joining(at, &uid, cid);
        let seated = self.compare(at, newcomer, *brought, now);
        self.announce_soon(at);
        seated.ok_or(Refusal::TooManyChannels)
    }

    /// Does what follows when a member has joined: its channel is needed, and may want a link.
    fn after_joining(self: &Rc<Self>, at: u32, uid: &str, cid: Cid) {
        self.stats().joined.add(1);
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        room.update_need();
        let (id, history) = (room.id, room.channel.settings().history_frames);
        let member = (uid, cid);
        if room
            .links
            .joined(&self.common, id, &room.name, member, history)
        {
            drop(registry);
            self.drive_uplink(id);
        }
    }

    /// Returns the shard on which a new member of a hot channel stays, if that is not this one. The
    /// channel is hot from the threshold on, until it has shrunk to less than half of it.
    fn spread_to(&self, at: u32, origin: ShardId) -> Option<ShardId> {
        let threshold = self.common.settings().spread_threshold;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at)?;
        let members = room.channel.len();
        room.is_spreading = members
            >= if room.is_spreading {
                threshold.div_ceil(2)
            } else {
                threshold
            };
        (room.is_spreading && origin != self.id).then_some(origin)
    }

    fn seat_local(
        self: &Rc<Self>,
        at: u32,
        arrival: Arrival<Socket>,
        role: Role,
        now: Instant,
    ) -> Result<Newcomer, Refusal> {
        let Arrival {
            socket,
            identity,
            join,
            is_silent,
            resume,
            early,
            ..
        } = arrival;
        let (writer, then) = socket.seat(early).map_err(Refusal::Io)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        let settings = room.channel.settings().clone();
        let announcement = (is_silent && settings.announce_joins).then_some(&join[..]);
        let (id, cid) = (identity.session, identity.cid);
        let seating = Seating {
            role,
            guard: self.guard_of(role, &identity, &room.name),
            has_publisher: names_publisher(resume.as_deref()),
            channel: room.name.clone(),
            home: Home::Owned(at),
            pause: room.pause.clone(),
        };
        let session = Session::new(writer, identity, seating);
        let place = |local: &mut _, skip| Place::Local(session.enter(local, skip));
        let joined = match role {
            // A server is told what it lacks when what it has brought is compared.
            Role::Downstream => {
                let channel = &mut room.channel;
                channel.join_without_history(cid, id, announcement, now, place)
            }
            _ => {
                let (rights, resume) = (&*session.rights.borrow(), resume.as_deref());
                room.join((cid, id), rights, resume, announcement, now, place)
            }
        };
        let joined = joined.map_err(|_| {
            session.phase.set(SessionPhase::Over);
            Refusal::CidInUse
        })?;
        self.count_resumed(resume.as_deref(), &joined);
        turn::spend(turn::SYSTEM_CALL);
        turn::spend_each(joined.replay.len());
        if let Some(key) = session.key.get() {
            let local = &mut room.channel.local;
            match &joined.resumed {
                Some(resumed) => {
                    local.resume(key, &room.name, resumed, joined.replay);
                    session.tell_rights(local, key);
                }
                None => local.replay(key, joined.replay),
            }
        }
        if let Some(freed) = &joined.replaced {
            room.member_left(freed);
        }
        self.flush_soon(registry, Home::Owned(at));
        if let Some(freed) = joined.replaced {
            self.evict(at, freed, None);
        }
        Ok(Newcomer { session, then })
    }

    fn seat_remote(
        self: &Rc<Self>,
        at: u32,
        shard: ShardId,
        arrival: Arrival<Socket>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Arrival {
            socket,
            identity,
            channel,
            join,
            is_silent,
            resume,
            early,
            ..
        } = arrival;
        let socket = socket.detach().map_err(Refusal::Io)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        let announces = is_silent && room.channel.settings().announce_joins;
        let announcement = announces.then_some(&join[..]);
        let place = |_: &mut _, _| Place::Relay(shard.0);
        let seat = (identity.cid, identity.session);
        let (rights, request) = (&identity.rights, resume.as_deref());
        let joined = room.join(seat, rights, request, announcement, now, place);
        let joined = joined.map_err(|_| Refusal::CidInUse)?;
        self.count_resumed(resume.as_deref(), &joined);
        turn::spend_each(joined.replay.len());
        if let Some(freed) = &joined.replaced {
            room.member_left(freed);
        }
        let adoption = Adoption {
            socket,
            identity,
            id: room.id,
            channel,
            replay: joined.replay,
            resumed: joined.resumed.map(Box::new),
            skip: joined.skip,
            has_publisher: names_publisher(request),
            is_paused: room.pause.is_on(),
            early,
        };
        let pause = room.pause.is_unlimited().then(|| pause_of(room));
        drop(registry);
        self.stats().spread.add(1);
        self.deliver_to(shard, Delivery::Adopt(Box::new(adoption)));
        if let Some(pause) = pause {
            self.deliver_to(shard, pause);
        }
        if let Some(freed) = joined.replaced {
            self.evict(at, freed, None);
        }
        Ok(())
    }

    /// Sees to it that announcements collected in a room are delivered.
    fn announce_soon(self: &Rc<Self>, at: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        if !room.channel.has_collected() || std::mem::replace(&mut room.is_announcing, true) {
            return;
        }
        let id = room.id;
        let shard = self.clone();
        self.spawn(async move {
            tokio::time::sleep(ANNOUNCE_DELAY).await;
            let known = shard
                .registry
                .borrow_mut()
                .room_of(id)
                .map(|r| r.is_announcing = false);
            if known.is_some() {
                shard.deliver_collected(id.index, Instant::now());
            }
        });
    }
}
