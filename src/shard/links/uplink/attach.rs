//! A connection to the upstream becomes a member of the channel.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::connect::Line;
use super::{Attached, Uplink, UpstreamMemory, is_from};
use crate::access::{Access, Rights};
use crate::channel::Origin;
use crate::escape::Escaped;
use crate::peer::echo::EchoGuard;
use crate::peer::status::LinkState;
use crate::protocol::{
    Cid, FrameHeader, HEADER_LEN, Key, LinkHello, MAX_BODY_LEN, Message, NestedFrame, encode_frame,
    encode_resync,
};
use crate::shard::Shard;
use crate::shard::ids::{ChannelId, Home};
use crate::shard::labels::Transport;
use crate::shard::message::Early;
use crate::shard::room::Room;
use crate::shard::session::{Role, Session, SessionPhase};
use crate::shard::socket::configure;
use crate::shard::stream::StreamReader;
use crate::shard::traffic::Traffic;

/// The beginning of a link: its first frame, and what follows it at once.
struct Opening {
    /// The resync.
    frame: Bytes,
    cid: Cid,
    /// The frames of the history in it.
    history: Vec<NestedFrame>,
    /// The rest of the history, which follows it as ordinary frames: no upstream can know these,
    /// and a v1 server does not store what a resync brings to a channel that it has.
    fresh: Vec<NestedFrame>,
    /// These, in few pieces.
    queue: Vec<Bytes>,
    /// The number of the first of all these that did not come from the upstream, or the next number.
    first: u64,
}

impl Shard {
    /// Joins the upstream's channel. The first frame holds the history as it is now, and what is
    /// published from now on follows it.
    ///
    /// # Errors
    ///
    /// The connection failed already.
    pub(super) fn attach(
        self: &Rc<Self>,
        id: ChannelId,
        driver: u32,
        target: usize,
        line: Line,
    ) -> io::Result<()> {
        let (local, peer) = (line.stream.local_addr()?, line.stream.peer_addr()?);
        if let Err(error) = configure(&line.stream, peer, &self.common.settings()) {
            tracing::debug!(%peer, %error, "cannot set socket options");
        }
        let now = Instant::now();
        self.deliver_collected(id.index, now);
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(id) else {
            return Ok(());
        };
        choose_member(room);
        let is_current = |u: &&Uplink| u.driver == driver && !u.link.is_idle();
        let Some(uplink) = room.links.uplink().filter(is_current) else {
            return Ok(());
        };
        let access = self.common.access();
        let key = access.link_key(local, &uplink.member.0, &room.name);
        let opening = self.opening(room, uplink, target, key, now)?;
        let (reader, session) = self.link_conn(line, peer, room, opening.cid);
        let member = session.enter(&mut room.channel.local, 0);
        let opened = std::iter::once(opening.frame.clone()).chain(opening.queue.iter().cloned());
        room.channel.local.replay(member, opened);
        if let Some(uplink) = room.links.uplink_mut() {
            uplink.begin(target, session.clone(), &opening, &room.name, now);
        }
        self.flush_soon(registry, Home::Owned(id.index));
        self.count_session(&session);
        self.serve(session, reader, Early::default());
        Ok(())
    }

    /// Makes the first frame: the join, then what of the history the upstream may know, with the
    /// number of each frame that it does not know from itself. The rest follows.
    fn opening(
        &self,
        room: &Room,
        uplink: &Uplink,
        target: usize,
        key: Key,
        now: Instant,
    ) -> io::Result<Opening> {
        let live = self.common.live();
        let settings = &live.settings;
        let (uid, cid) = &uplink.member;
        let cid = settings.peer.cid.unwrap_or(*cid);
        let join = Message {
            uid,
            channel: &room.name,
            message: &[],
        };
        let join = encode_frame(cid, key, &join).map_err(io::Error::other)?;
        let link = &uplink.targets[target];
        let history = room.channel.history();
        let channel_settings = room.channel.settings();
        let entries: Vec<_> = history.entries(now, channel_settings).collect();
        let mut nested = vec![NestedFrame {
            frame: join,
            seq: None,
        }];
        let is_taken = |nested: &NestedFrame| is_taken(&nested.frame, &room.name, &live.access);
        let sent = link.exchanged.max(link.old).min(link.offered);
        let is_fresh = |nested: &NestedFrame| nested.seq > Some(sent);
        let numbered: Vec<_> = numbered(entries, link, target).collect();
        let fresh = numbered.iter().enumerate();
        let fresh = fresh.filter(|(_, nested)| is_fresh(nested));
        let queue = history.parts(now, channel_settings, fresh.map(|(index, _)| index));
        let (fresh, known): (Vec<_>, Vec<_>) = numbered.into_iter().partition(is_fresh);
        nested.extend(known.into_iter().filter(is_taken));
        let hello = LinkHello {
            server: self.common.server_id,
            id: link.id,
            window: link.known.limit() as u64,
            sent,
            got: link.got,
            old: link.old,
        };
        let max_body = (settings.limits.max_frame - HEADER_LEN).min(MAX_BODY_LEN);
        let (body, left_out) = encode_resync(&nested, Some(&hello), max_body)
            .ok_or_else(|| io::Error::other("the join does not fit into max_frame"))?;
        let history = nested.split_off(1 + left_out);
        let first = history.iter().chain(&fresh).find_map(|nested| nested.seq);
        let header = FrameHeader {
            body_len: body.len(),
            cid,
            key,
        };
        let mut frame = BytesMut::with_capacity(HEADER_LEN + body.len());
        frame.extend_from_slice(&header.encode());
        frame.extend_from_slice(&body);
        Ok(Opening {
            frame: frame.freeze(),
            cid,
            history,
            fresh,
            queue,
            first: first.unwrap_or(link.offered + 1),
        })
    }

    fn link_conn(
        &self,
        line: Line,
        peer: std::net::SocketAddr,
        room: &Room,
        cid: Cid,
    ) -> (StreamReader, Rc<Session>) {
        let (reader, writer) = line.sides();
        let session = Session {
            has_publisher: false,
            id: self.common.limiter.next_session(),
            role: Role::Upstream,
            rights: RefCell::new(Rights::UPSTREAM),
            generation: Cell::new(0),
            expiry: RefCell::default(),
            cid,
            peer,
            uid: Box::default(),
            channel: room.name.clone(),
            home: Home::Owned(room.id.index),
            key: Cell::new(None),
            phase: Cell::new(SessionPhase::Joined),
            is_contested: Cell::new(false),
            pause: room.pause.clone(),
            guard: RefCell::default(),
            writer,
            over: OnceCell::new(),
            permit: None,
            transport: Transport::Link,
            joined_at: Instant::now(),
            traffic: Traffic::default(),
        };
        (reader, Rc::new(session))
    }
}

/// Chooses the member that the link speaks for: that for which it was opened, as long as that is there and its
/// connection id is free above; else another one on this shard, each in turn.
fn choose_member(room: &mut Room) {
    let Some(uplink) = room.links.uplink_mut() else {
        return;
    };
    let (_, cid) = uplink.member;
    let was_taken = std::mem::take(&mut uplink.is_cid_taken);
    if room.channel.has_seat(cid) && !was_taken {
        return;
    }
    let members = room.channel.local.iter().map(|(_, member)| &member.handle);
    let others = members.filter(|session| session.role != Role::Upstream && session.cid != cid);
    let next = others.min_by_key(|session| (session.cid < cid, session.cid));
    if let Some(session) = next {
        uplink.member = (session.uid.clone(), session.cid);
    } else if was_taken {
        // The members are all on other shards, as those with TLS or WebSocket often are.
        uplink.member.1 = Cid(rand::random());
    }
}

/// Returns `true` if a server with the same limits takes a frame in a resync of that channel. Unless names are
/// checked members can send any frame, and one that is not taken has the whole resync refused.
fn is_taken(frame: &[u8], channel: &str, access: &Access) -> bool {
    let message = frame.get(HEADER_LEN..).map(Message::decode);
    matches!(message, Some(Ok(m)) if m.channel == channel && access.check_names(m.uid, channel).is_ok())
}

/// Gives each frame of a history that did not come from the upstream its number.
fn numbered(
    history: Vec<(Bytes, Origin)>,
    link: &UpstreamMemory,
    target: usize,
) -> impl Iterator<Item = NestedFrame> {
    let own = history
        .iter()
        .filter(|(_, origin)| !is_from(*origin, target));
    let mut seq = link.offered.saturating_sub(own.count() as u64);
    history.into_iter().map(move |(frame, origin)| {
        let seq = (!is_from(origin, target)).then(|| {
            seq += 1;
            seq
        });
        NestedFrame { frame, seq }
    })
}

impl Uplink {
    /// Begins with the first frame, which is queued.
    fn begin(
        &mut self,
        target: usize,
        session: Rc<Session>,
        opening: &Opening,
        channel: &str,
        now: Instant,
    ) {
        let link = &mut self.targets[target];
        let lost = (opening.first - 1).saturating_sub(link.delivered);
        link.delivered += lost;
        let digest = |nested: &NestedFrame| self.digester.digest(&nested.frame);
        let shown: Vec<_> = opening.history.iter().map(digest).collect();
        let shown_too = opening.history.iter().zip(shown.iter().copied());
        let fresh = opening.fresh.iter().map(|nested| (nested, digest(nested)));
        for (nested, digest) in shown_too.chain(fresh) {
            if nested.seq > Some(link.exchanged) {
                link.known.push(digest);
            }
        }
        link.exchanged = link.offered;
        let offered = link.offered;
        self.prober.reset();
        self.attached = Some(Attached {
            session,
            target,
            replay: Some(link.known.begin_replay()),
            counting: None,
            shown,
            is_welcome: false,
            echo: EchoGuard::default(),
            failure: None,
            opened: (offered, 0),
        });
        self.link.connected(now);
        let entry = &self.entry.shared;
        let resynced = opening.history.len();
        entry.add(|counters| &counters.resyncs, u64::from(resynced > 0));
        entry.add(|counters| &counters.frames_lost, lost);
        let fresh: usize = opening.fresh.iter().map(|nested| nested.frame.len()).sum();
        self.count_up(resynced + opening.fresh.len(), opening.frame.len() + fresh);
        self.shared_with(target);
        self.show(LinkState::Joining);
        if lost > 0 {
            tracing::warn!(
                channel = %Escaped(channel), frames = lost,
                "frames published without a link had left the history, or did not fit into one \
                 resync: the upstream does not get them"
            );
        }
    }
}
