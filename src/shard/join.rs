//! How a session gets its seat: routed to the channel's owner, which keeps the connection or sends
//! it back as a relay member.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::ids::{Home, ShardId};
use super::limits::LimitReached;
use super::links::SeatedServer;
use super::message::{Adoption, Arrival, Delivery, Identity, Request, Socket};
use super::parked::AfterJoin;
use super::refusal::{Attempt, Refusal};
use super::room::Room;
use super::session::{Role, Seating, Session, SessionPhase};
use super::turn;
use crate::channel::{FrameRun, Place};
use crate::protocol::Cid;

/// How long announcements of joins are collected before they are delivered. They are hints: a few
/// milliseconds do not matter to who reads them, and a crowd of joiners becomes one run.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(5);

/// A session that has a seat on this shard and is not served yet.
pub(super) struct Newcomer {
    pub(super) session: Rc<Session>,
    pub(super) then: AfterJoin,
}

impl Shard {
    /// Takes a session that has proved that it may join to the owner of its channel.
    pub(crate) fn route(self: &Rc<Self>, arrival: Arrival<Socket>) {
        let owner = self.common.owner(&arrival.channel);
        if owner == self.id {
            return self.seat(arrival);
        }
        let (peer, session) = (arrival.identity.peer, arrival.identity.session);
        let (uid, channel) = (arrival.identity.uid.clone(), arrival.channel.clone());
        let detached = arrival.try_map(|socket| match socket {
            Socket::Parked(kept) => {
                self.parked.borrow_mut().insert(session, kept);
                Ok(None)
            }
            socket => socket.detach(),
        });
        match detached {
            Ok(arrival) => {
                self.stats()
                    .handed_over
                    .add(u64::from(arrival.socket.is_some()));
                self.request(owner, Request::Join(Box::new(arrival)));
            }
            Err(error) => {
                let (uid, channel) = (&uid, &channel);
                self.note_refusal(peer, Attempt::Enter { uid, channel }, &Refusal::Io(error));
            }
        }
    }

    /// Gives a session a seat in a channel of this shard, and has it served. It waits for a seat that may
    /// become free.
    pub(super) fn seat(self: &Rc<Self>, mut arrival: Arrival<Socket>) {
        if arrival.resync.is_some() {
            return self.seat_server(arrival, false);
        }
        let now = Instant::now();
        match self.admit(&mut arrival, now) {
            Ok(at) => self.seat_client(at, arrival, now),
            Err(refusal) => self.wait_or_refuse(arrival, refusal),
        }
    }

    /// Gives a seat to a session that has waited for one.
    pub(super) fn seat_at_once(self: &Rc<Self>, mut arrival: Arrival<Socket>) {
        if arrival.resync.is_some() {
            return self.seat_server(arrival, true);
        }
        let now = Instant::now();
        match self.admit(&mut arrival, now) {
            Ok(at) => self.seat_client(at, arrival, now),
            Err(refusal) => self.refuse(arrival, refusal),
        }
    }

    fn seat_client(self: &Rc<Self>, at: u32, arrival: Arrival<Socket>, now: Instant) {
        let try_seat = |arrival| self.try_seat(at, arrival, now);
        let newcomer = self.seat_or_refuse(at, arrival, now, try_seat);
        // Only now: what came behind the join frame follows it in the channel's order.
        if let Some(Newcomer { session, then }) = newcomer.flatten() {
            self.begin(session, then);
        }
    }

    /// Gives a server below its seat, and compares what it has brought. It waits for a seat that may become
    /// free, unless it has.
    pub(super) fn seat_and_compare(
        self: &Rc<Self>,
        mut arrival: Arrival<Socket>,
        has_waited: bool,
    ) -> Option<SeatedServer> {
        let now = Instant::now();
        match self.admit(&mut arrival, now) {
            Ok(at) => {
                let try_seat = |arrival| self.try_seat_server(at, arrival, now);
                return self.seat_or_refuse(at, arrival, now, try_seat);
            }
            Err(refusal) if has_waited => self.refuse(arrival, refusal),
            Err(refusal) => {
                if let Some(brought) = &mut arrival.resync {
                    brought.let_go_of_memory();
                }
                self.wait_or_refuse(arrival, refusal);
            }
        }
        None
    }

    /// Does `seat`, and tells why if it fails.
    fn seat_or_refuse<T>(
        self: &Rc<Self>,
        at: u32,
        arrival: Arrival<Socket>,
        now: Instant,
        seat: impl FnOnce(Arrival<Socket>) -> Result<T, Refusal>,
    ) -> Option<T> {
        let (peer, session) = (arrival.identity.peer, arrival.identity.session);
        let (uid, channel) = (arrival.identity.uid.clone(), arrival.channel.clone());
        let is_elsewhere = matches!(arrival.socket, Socket::Elsewhere);
        let origin = arrival.origin;
        let refusal = match seat(arrival) {
            Ok(seated) => return Some(seated),
            Err(refusal) => refusal,
        };
        if let Some(room) = self.registry.borrow_mut().room(at) {
            room.release_uid(session);
        }
        self.close_or_update_need(at, now);
        let (uid, channel) = (&uid, &channel);
        self.note_refusal(peer, Attempt::Enter { uid, channel }, &refusal);
        if is_elsewhere {
            let why = Box::new(refusal);
            self.deliver_to(origin, Delivery::Refuse { session, why });
        }
        None
    }

    /// Counts and logs that there is no seat for a session, and tells whoever waits for it, or a server
    /// below, why.
    pub(super) fn refuse(self: &Rc<Self>, arrival: Arrival<Socket>, refusal: Refusal) {
        let Identity { peer, uid, .. } = &arrival.identity;
        let channel = &arrival.channel;
        self.note_refusal(*peer, Attempt::Enter { uid, channel }, &refusal);
        let hello = arrival.hello();
        let Identity {
            session,
            cid,
            permit,
            ..
        } = arrival.identity;
        match (arrival.socket, hello, refusal.for_link()) {
            (Socket::Parked(kept), ..) => kept.refuse(refusal),
            (Socket::Elsewhere, ..) => {
                let why = Box::new(refusal);
                self.deliver_to(arrival.origin, Delivery::Refuse { session, why });
            }
            (socket, Some(hello), Some(why)) => {
                if let Some(permit) = permit {
                    self.refuse_link(socket, permit, hello.id, cid, why);
                }
            }
            _ => {}
        }
    }

    /// Finds or opens the room of a session, if it may have a seat there.
    fn admit(self: &Rc<Self>, arrival: &mut Arrival<Socket>, now: Instant) -> Result<u32, Refusal> {
        if !self.is_running() {
            return Err(Refusal::Stopping);
        }
        let at = self.find_or_open(&arrival.channel, arrival.identity.peer.ip(), now)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        let hello = arrival.hello();
        let link = hello.map_or(Ok(()), |hello| self.admit_link(room, &hello));
        if arrival.gateway.is_some() {
            while room.channel.is_taken(arrival.identity.cid) {
                arrival.change_cid(Cid(rand::random()));
            }
        }
        let is_sole = arrival.gateway.is_some_and(|gateway| gateway.is_sole);
        let refusal = if let Err(refusal) = link {
            refusal
        } else if room.channel.is_taken(arrival.identity.cid) {
            Refusal::CidInUse
        } else if is_sole && !reserve_uid(room, &arrival.identity) {
            Refusal::Duplicate
        } else {
            return Ok(at);
        };
        drop(registry);
        self.close_or_update_need(at, now);
        Err(refusal)
    }

    fn try_seat(
        self: &Rc<Self>,
        at: u32,
        arrival: Arrival<Socket>,
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
        let uid = arrival.identity.uid.clone();
        let publishes = (!arrival.is_silent).then(|| FrameRun::exact(arrival.join.clone(), 1));
        let newcomer = match spread_to {
            Some(shard) => self.seat_remote(at, shard, arrival, now).map(|()| None)?,
            None => Some(self.seat_local(at, arrival, Role::Client, now)?),
        };
        self.count_joined(at, &uid, cid);
        if let Some(run) = publishes {
            self.publish_in(at, session, run, now);
        }
        self.announce_soon(at);
        Ok(newcomer)
    }

    /// Servers carry many members' frames, and what they bring is merged here: they are never spread.
    fn try_seat_server(
        self: &Rc<Self>,
        at: u32,
        mut arrival: Arrival<Socket>,
        now: Instant,
    ) -> Result<SeatedServer, Refusal> {
        let brought = arrival.resync.take().ok_or(Refusal::Stopping)?;
        let (cid, uid) = (arrival.identity.cid, arrival.identity.uid.clone());
        self.deliver_collected(at, now);
        let newcomer = self.seat_local(at, arrival, Role::Downstream, now)?;
        self.count_joined(at, &uid, cid);
        let seated = self.compare(at, newcomer, *brought, now);
        self.announce_soon(at);
        seated.ok_or(Refusal::TooManyChannels)
    }

    fn count_joined(self: &Rc<Self>, at: u32, uid: &str, cid: Cid) {
        self.stats().joined.add(1);
        if let Some(room) = self.registry.borrow_mut().room(at) {
            room.update_need();
        }
        self.link_joined(at, uid, cid);
    }

    /// Finds or opens the room called `name`, for somebody from `ip`. Where there are as many
    /// channels as there may be, one that nobody needs makes room.
    fn find_or_open(self: &Rc<Self>, name: &str, ip: IpAddr, now: Instant) -> Result<u32, Refusal> {
        if let Some(at) = self.registry.borrow().find(name) {
            return Ok(at);
        }
        let opened = self.common.limiter.open_channel(ip);
        let (permit, unneeded) = opened.map_err(|_: LimitReached| Refusal::TooManyChannels)?;
        match unneeded {
            Some(channel) if channel.owner == self.id => self.free_channel(channel),
            Some(channel) => self.request(channel.owner, Request::Free { channel }),
            None => {}
        }
        let settings = self.common.channel_settings(name);
        let mut registry = self.registry.borrow_mut();
        Ok(registry.open(self.id, name, settings, permit, now))
    }

    /// The shard on which a new member of a hot channel stays, if that is not this one. The
    /// channel is hot from the threshold on, until it has shrunk to less than half of it.
    fn spread_to(&self, at: u32, origin: ShardId) -> Option<ShardId> {
        let threshold = self.common.settings.spread_threshold;
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
            channel: room.name.clone(),
            home: Home::Owned(at),
            pause: room.pause.clone(),
            pause_limit: settings.write_deadline,
        };
        let session = Session::new(writer, identity, seating);
        let place = |local: &mut _, skip| Place::Local(session.enter(local, skip));
        let channel = &mut room.channel;
        // A server is told what it lacks when what it has brought is compared.
        let joined = if role == Role::Downstream {
            channel.join_without_history(cid, id, announcement, place)
        } else {
            channel.join(cid, id, announcement, now, place)
        };
        let joined = joined.map_err(|_| {
            session.phase.set(SessionPhase::Over);
            Refusal::CidInUse
        })?;
        turn::spend(turn::SYSTEM_CALL);
        turn::spend_each(joined.replay.len());
        if let Some(key) = session.key.get() {
            room.channel.local.replay(key, joined.replay);
        }
        self.flush_soon(registry, Home::Owned(at));
        if let Some(vacated) = joined.replaced {
            self.evict(at, vacated, None);
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
            early,
            ..
        } = arrival;
        let socket = socket.detach().map_err(Refusal::Io)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        let announces = is_silent && room.channel.settings().announce_joins;
        let announcement = announces.then_some(&join[..]);
        let place = |_: &mut _, _| Place::Relay(shard.0);
        let joined = room
            .channel
            .join(identity.cid, identity.session, announcement, now, place);
        let joined = joined.map_err(|_| Refusal::CidInUse)?;
        turn::spend_each(joined.replay.len());
        let adoption = Adoption {
            socket,
            identity,
            id: room.id,
            channel,
            replay: joined.replay,
            skip: joined.skip,
            is_paused: room.pause.is_on(),
            early,
        };
        drop(registry);
        self.stats().spread.add(1);
        self.deliver_to(shard, Delivery::Adopt(Box::new(adoption)));
        if let Some(vacated) = joined.replaced {
            self.evict(at, vacated, None);
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

fn reserve_uid(room: &mut Room, identity: &Identity) -> bool {
    room.reserve_uid(&identity.uid, identity.cid, identity.session)
}
