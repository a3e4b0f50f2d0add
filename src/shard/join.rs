//! Joins: the way of a session to the owner of its channel, and who gets a seat there.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::farewell::refusal_notice;
use super::labels::Transport;
use super::limits::LimitReached;
use super::links::SeatedServer;
use super::message::{Arrival, Delivery, Identity, Introduced, Request, Socket};
use super::refusal::{Attempt, Refusal};
use super::rights::Purpose;
use super::room::Room;
use super::seat::Newcomer;
use super::{BrokerPhase, Shard};
use crate::access::Permissions;
use crate::channel::{Channel, PublisherId};
use crate::protocol::{Cid, LinkNotice};
use crate::settings::DeniedPublish;

/// What tells when it is a session's turn, and the longest wait for that.
type Turn = (oneshot::Receiver<()>, Duration);

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
    pub(super) fn seat(self: &Rc<Self>, arrival: Arrival<Socket>) {
        if arrival.resync.is_some() {
            return self.seat_server(arrival, false);
        }
        let now = Instant::now();
        let Some(arrival) = self.wait_for_fleet(arrival, now) else {
            return;
        };
        let Some(mut arrival) = self.wait_for_turn(arrival, now) else {
            return;
        };
        match self.admit(&mut arrival, now) {
            Ok(at) => self.seat_client(at, arrival, now),
            Err(refusal) => self.wait_or_refuse(arrival, refusal),
        }
    }

    /// Returns the session unless it names a publisher that has to wait, or is refused. One that waits is seated then.
    fn wait_for_turn(
        self: &Rc<Self>,
        mut arrival: Arrival<Socket>,
        now: Instant,
    ) -> Option<Arrival<Socket>> {
        let named = arrival.resume.as_ref().and_then(|resume| resume.publisher);
        let Some(publisher) = named.filter(|_| self.is_running()).map(PublisherId) else {
            return Some(arrival);
        };
        let mut turn = Ok(self.turn_behind_own(publisher, &arrival, now));
        if let Ok(None) = turn {
            turn = self.turn_behind_introduction(publisher, &mut arrival, now);
        }
        match turn {
            Ok(None) => return Some(arrival),
            Ok(Some((turn, limit))) => self.spawn(self.clone().seat_in_turn(arrival, turn, limit)),
            Err(refusal) => self.refuse(arrival, refusal),
        }
        None
    }

    /// Returns what tells when it is on disk that a publisher is counted anew, and how long that is waited for: its session
    /// is told so. It ends the session before. `None` if nothing has to be written for that.
    fn turn_behind_introduction(
        self: &Rc<Self>,
        publisher: PublisherId,
        arrival: &mut Arrival<Socket>,
        now: Instant,
    ) -> Result<Option<Turn>, Refusal> {
        let holds_runs = {
            let mut registry = self.registry.borrow_mut();
            let at = registry.find(&arrival.channel);
            let room = at.and_then(|at| registry.room(at));
            room.is_some_and(|room| room.holds_runs)
        };
        if !holds_runs || self.fleet.is_some() || self.end_ghost(arrival, now).is_err() {
            return Ok(None);
        }
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(&arrival.channel);
        let Some(room) = at.and_then(|at| registry.room(at)) else {
            return Ok(None);
        };
        // One that was forgotten again meanwhile is counted anew on disk as well.
        if arrival.introduced == Introduced::No
            || room.channel.first_receipt(publisher, now).is_some()
        {
            let since = arrival.resume.as_ref().and_then(|resume| resume.since);
            if self.introduce(room, publisher, since, now)? {
                arrival.introduced = Introduced::Anew;
            }
        }
        let turn = room.introduction(publisher);
        let limit = room.channel.settings().write_deadline;
        Ok(turn.map(|turn| (turn, limit)))
    }

    /// Returns what tells when all is committed that a publisher has published before and is held, and how long that is
    /// waited for: its session is told how much has its place. It ends the session before, which could publish on and on.
    /// `None` if nothing is held.
    fn turn_behind_own(
        self: &Rc<Self>,
        publisher: PublisherId,
        arrival: &Arrival<Socket>,
        now: Instant,
    ) -> Option<Turn> {
        let holding = || {
            let mut registry = self.registry.borrow_mut();
            let at = registry.find(&arrival.channel)?;
            let room = registry.room(at)?;
            let limit = room.channel.settings().write_deadline;
            let is_held = room.holds_of(publisher);
            Some((is_held.then(|| room.turn())??, limit))
        };
        if holding().is_none() || self.end_ghost(arrival, now).is_err() {
            return None;
        }
        holding()
    }

    async fn seat_in_turn(
        self: Rc<Self>,
        arrival: Arrival<Socket>,
        turn: oneshot::Receiver<()>,
        limit: Duration,
    ) {
        tokio::select! {
            _ = turn => self.seat(arrival),
            () = self.reached(BrokerPhase::Draining) => self.refuse(arrival, Refusal::Stopping),
            () = sleep(limit) => {
                let why = self.why_held();
                self.refuse(arrival, why);
            }
        }
    }

    /// Gives a seat to a session that has waited for one.
    pub(super) fn seat_at_once(self: &Rc<Self>, arrival: Arrival<Socket>) {
        if arrival.resync.is_some() {
            return self.seat_server(arrival, true);
        }
        let now = Instant::now();
        let Some(mut arrival) = self.wait_for_turn(arrival, now) else {
            return;
        };
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

    /// Counts and logs that there is no seat for a session, and tells whoever waits for it, a server below, or a client
    /// that has asked for notices, why.
    pub(super) fn refuse(self: &Rc<Self>, arrival: Arrival<Socket>, refusal: Refusal) {
        let Identity { peer, uid, .. } = &arrival.identity;
        let channel = &arrival.channel;
        self.note_refusal(*peer, Attempt::Enter { uid, channel }, &refusal);
        let (hello, asks) = (arrival.hello(), arrival.resume.is_some());
        let Identity {
            session,
            cid,
            permit,
            ..
        } = arrival.identity;
        let words = match (hello, refusal.for_link()) {
            (Some(hello), Some(why)) => Some(LinkNotice::Refused(why).encode(hello.id, cid)),
            _ => asks.then(|| refusal_notice(&refusal)),
        };
        match (arrival.socket, words, permit) {
            (Socket::Parked(kept), ..) => kept.refuse(refusal),
            (Socket::Elsewhere, ..) => {
                let why = Box::new(refusal);
                self.deliver_to(arrival.origin, Delivery::Refuse { session, why });
            }
            (socket, Some(words), Some(permit)) => self.refuse_with(socket, permit, words),
            _ => {}
        }
    }

    /// Finds or opens the room of a session, if it may have a seat there.
    fn admit(self: &Rc<Self>, arrival: &mut Arrival<Socket>, now: Instant) -> Result<u32, Refusal> {
        if !self.is_running() {
            return Err(Refusal::Stopping);
        }
        Self::check_use(arrival)?;
        self.check_message(arrival)?;
        self.end_ghost(arrival, now)?;
        let at = self.find_or_open(&arrival.channel, arrival.identity.peer.ip(), now)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        self.catch_up_with_fleet(room);
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
        } else if brings_message(arrival) && self.awaits_commit(room) {
            // It would be held, and there is no end to who may come; members pause meanwhile.
            self.why_held()
        } else if is_sole && !reserve_uid(room, &arrival.identity) {
            Refusal::Duplicate
        } else {
            return Ok(at);
        };
        drop(registry);
        self.close_or_update_need(at, now);
        Err(refusal)
    }

    /// Finds or opens the room called `name`, for somebody from `ip`. Where there are as many
    /// channels as there may be, one that nobody needs makes room.
    pub(super) fn find_or_open(
        self: &Rc<Self>,
        name: &str,
        ip: IpAddr,
        now: Instant,
    ) -> Result<u32, Refusal> {
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
        let channel = Channel::new(settings, registry.new_history(), now);
        let at = registry.open(self.id, name, channel, permit);
        let gone_to = registry.gone_to();
        if let Some(room) = registry.room(at) {
            self.apply_storage(room);
            self.enter_fleet(room, gone_to);
        }
        Ok(at)
    }
}

impl Shard {
    /// Checks that there is anything that a session may do in its channel.
    fn check_use(arrival: &Arrival<Socket>) -> Result<(), Refusal> {
        if arrival.resync.is_some() {
            return Ok(());
        }
        let identity = &arrival.identity;
        let members = arrival.resume.as_ref().and_then(|resume| resume.members);
        let purpose = Purpose {
            publishes: identity.transport != Transport::Events,
            watches: members.is_some(),
        };
        purpose.check(&identity.rights, &identity.uid, &arrival.channel)?;
        Ok(())
    }

    /// Checks that a session whose join brings a message may publish it. Where that is ignored, it is left out.
    fn check_message(&self, arrival: &Arrival<Socket>) -> Result<(), Refusal> {
        let Identity { uid, rights, .. } = &arrival.identity;
        let publishes = !arrival.is_silent && arrival.resync.is_none();
        let right = rights.require(Permissions::PUBLISH, uid, &arrival.channel);
        let (true, Err(denied)) = (publishes, right) else {
            return Ok(());
        };
        match self.common.settings().on_denied_publish {
            DeniedPublish::Disconnect => {
                self.stats().publishes_denied.add(1);
                Err(denied.into())
            }
            DeniedPublish::Ignore => Ok(()),
        }
    }
}

/// Returns `true` if a message is published with the join.
fn brings_message(arrival: &Arrival<Socket>) -> bool {
    let may_publish = arrival.identity.rights.permits(Permissions::PUBLISH);
    !arrival.is_silent && arrival.resync.is_none() && may_publish
}

fn reserve_uid(room: &mut Room, identity: &Identity) -> bool {
    room.reserve_uid(&identity.uid, identity.cid, identity.session)
}
