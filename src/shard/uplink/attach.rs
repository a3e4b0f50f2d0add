//! A connection to the upstream becomes a member of the channel.

use std::cell::{Cell, OnceCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;

use super::{Target, UpSession, Uplink, is_from};
use crate::channel::{Origin, SlowPolicy};
use crate::escape::Escaped;
use crate::peer::echo::EchoGuard;
use crate::peer::status::LinkState;
use crate::protocol::{
    Cid, FrameHeader, HEADER_LEN, Key, LinkHello, MAX_BODY_LEN, Message, NestedFrame, encode_frame,
    encode_resync,
};
use crate::shard::Shard;
use crate::shard::conn::{Conn, Phase, Role};
use crate::shard::ids::{ChannelId, Home};
use crate::shard::message::Early;
use crate::shard::registry::Room;
use crate::shard::socket::configure;

/// The first frame of a link.
struct Opening {
    frame: Bytes,
    cid: Cid,
    /// The frames of the history in it.
    history: Vec<NestedFrame>,
    /// The number of the first of them that did not come from the upstream, or the next number.
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
        stream: TcpStream,
    ) -> io::Result<()> {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        if let Err(error) = configure(&stream, peer, &self.common.settings) {
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
        let Some(uplink) = room.uplink.as_deref().filter(is_current) else {
            return Ok(());
        };
        let keyring = &self.common.settings.keyring;
        let key = keyring.session_key(local, &uplink.member.0, &room.name);
        let opening = self.opening(room, uplink, target, key, now)?;
        let (reader, conn) = self.link_conn(stream, peer, room, opening.cid);
        let member = room.channel.local.insert(conn.id, conn.clone(), 0);
        room.channel
            .local
            .set_policy(member, SlowPolicy::Disconnect);
        room.channel.local.replay(member, [opening.frame.clone()]);
        conn.key.set(Some(member));
        if let Some(uplink) = room.uplink.as_deref_mut() {
            uplink.begin(target, conn.clone(), &opening, &room.name, now);
        }
        registry.list_if_dirty(Home::Owned(id.index));
        drop(registry);
        self.wake_flusher();
        self.serve(conn, reader, Early::default());
        Ok(())
    }

    /// Makes the first frame: the join, then the history, with the number of each frame that the
    /// upstream does not know from itself.
    fn opening(
        &self,
        room: &Room,
        uplink: &Uplink,
        target: usize,
        key: Key,
        now: Instant,
    ) -> io::Result<Opening> {
        let settings = &self.common.settings;
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
        let history: Vec<_> = history.entries(now, room.channel.settings()).collect();
        let mut nested = vec![NestedFrame {
            frame: join,
            seq: None,
        }];
        let max_uid = settings.limits.max_uid;
        let is_taken = |nested: &NestedFrame| is_taken(&nested.frame, &room.name, max_uid);
        nested.extend(numbered(history, link, target).filter(is_taken));
        let hello = LinkHello {
            server: self.common.server_id,
            id: link.id,
            window: link.known.limit() as u64,
            sent: link.offered,
            got: link.got,
            old: link.old,
        };
        let max_body = (settings.limits.max_frame - HEADER_LEN).min(MAX_BODY_LEN);
        let (body, left_out) = encode_resync(&nested, Some(&hello), max_body)
            .ok_or_else(|| io::Error::other("the join does not fit into max_frame"))?;
        let history = nested.split_off(1 + left_out);
        let first = history.iter().find_map(|nested| nested.seq);
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
            first: first.unwrap_or(link.offered + 1),
        })
    }

    fn link_conn(
        &self,
        stream: TcpStream,
        peer: std::net::SocketAddr,
        room: &Room,
        cid: Cid,
    ) -> (tokio::net::tcp::OwnedReadHalf, Rc<Conn>) {
        let (reader, writer) = stream.into_split();
        let conn = Conn {
            id: self.common.gate.next_conn(),
            role: Role::Upstream,
            cid,
            peer,
            uid: Box::default(),
            channel: room.name.clone(),
            home: Home::Owned(room.id.index),
            key: Cell::new(None),
            phase: Cell::new(Phase::Joined),
            hold: room.hold.clone(),
            hold_limit: room.channel.settings().write_deadline,
            writer,
            over: OnceCell::new(),
            _permit: None,
        };
        (reader, Rc::new(conn))
    }
}

/// The link speaks for the member for which it was opened, as long as that is there and its
/// connection id is free above; else for another one on this shard, each in turn.
fn choose_member(room: &mut Room) {
    let Some(uplink) = room.uplink.as_deref_mut() else {
        return;
    };
    let (_, cid) = uplink.member;
    let was_taken = std::mem::take(&mut uplink.is_cid_taken);
    if room.channel.has_seat(cid) && !was_taken {
        return;
    }
    let members = room.channel.local.iter().map(|(_, member)| &member.handle);
    let others = members.filter(|conn| conn.role != Role::Upstream && conn.cid != cid);
    let next = others.min_by_key(|conn| (conn.cid < cid, conn.cid));
    if let Some(conn) = next {
        uplink.member = (conn.uid.clone(), conn.cid);
    }
}

/// Whether a server with the same limits takes a frame in a resync of that channel. Unless names are
/// checked members can send any frame, and one that is not taken has the whole resync refused.
fn is_taken(frame: &[u8], channel: &str, max_uid: usize) -> bool {
    let message = frame.get(HEADER_LEN..).map(Message::decode);
    matches!(message, Some(Ok(m)) if m.channel == channel && m.uid.len() <= max_uid)
}

/// Gives each frame of a history that did not come from the upstream its number.
fn numbered(
    history: Vec<(Bytes, Origin)>,
    link: &Target,
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
    /// The first frame is queued.
    fn begin(
        &mut self,
        target: usize,
        conn: Rc<Conn>,
        opening: &Opening,
        channel: &str,
        now: Instant,
    ) {
        let link = &mut self.targets[target];
        let lost = (opening.first - 1).saturating_sub(link.delivered);
        link.delivered += lost;
        let history = opening.history.iter();
        let shown: Vec<_> = history.map(|n| self.digester.digest(&n.frame)).collect();
        for (nested, &digest) in opening.history.iter().zip(&shown) {
            if nested.seq > Some(link.exchanged) {
                link.known.push(digest);
            }
        }
        link.exchanged = link.offered;
        self.session = Some(UpSession {
            conn,
            target,
            replay: Some(link.known.begin_replay()),
            counting: None,
            shown,
            is_welcome: false,
            echo: EchoGuard::default(),
            failure: None,
            is_renewed: false,
        });
        self.link.connected(now);
        let entry = &self.entry.shared;
        let frames = opening.history.len();
        entry.add(|counters| &counters.resyncs, u64::from(frames > 0));
        entry.add(|counters| &counters.frames_lost, lost);
        self.count_up(frames, opening.frame.len());
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
