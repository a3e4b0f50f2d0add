//! Servers below this one: their resyncs, what they are told, and what is remembered of them.
//!
//! A server's link is a member like any other. What differs is its first frame, which is merged
//! with the history in the same call that seats it, so that nothing comes between; and that hints
//! of presence which it passes on are not stored.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::Shard;
use super::conn::{Conn, Ended, Phase as ConnPhase};
use super::gate::Permit;
use super::ids::Home;
use super::message::Socket;
use super::registry::Room;
use super::wire::see_off;
use crate::channel::{ConnId, FrameRun};
use crate::peer::known::Digester;
use crate::peer::merge::{Item, Memory, Merge};
use crate::protocol::{
    Cid, LinkHello, LinkNotice, LinkRefusal, NestedFrame, Resync, frames, is_presence,
};

/// New frames of a resync are copied out of it into runs of about this size.
const RUN_BYTES: usize = 32 << 10;
/// How long the server of a refused link may take to let the reason in.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a channel remembers of the servers below, and those that are linked now.
#[derive(Debug)]
pub(super) struct Downlinks {
    memory: Memory,
    linked: Vec<Linked>,
}

/// A server that has told the id of its link.
#[derive(Debug)]
struct Linked {
    conn: Rc<Conn>,
    link: u64,
}

impl Downlinks {
    /// Forgets the session of a server, not the server.
    pub(super) fn leave(&mut self, conn: ConnId) {
        self.linked.retain(|linked| linked.conn.id != conn);
    }

    /// Records what was stored, and who sent it.
    pub(super) fn note_stored(&mut self, from: ConnId, run: &FrameRun, digester: &Digester) {
        for frame in frames(run.bytes()) {
            self.memory.stored(digester.digest(frame));
        }
        if let Some(linked) = self.linked.iter().find(|linked| linked.conn.id == from) {
            self.memory.received(linked.link, run.frames());
        }
    }
}

impl Shard {
    /// Whether a link would close a ring of servers.
    pub(super) fn is_ring(&self, room: &Room, hello: &LinkHello) -> bool {
        hello.server == self.common.server_id || room.path().contains(&hello.server)
    }

    /// Tells a server why its link is not taken, and closes the connection. The connection stays
    /// counted until then.
    pub(crate) fn turn_link_away(
        self: &Rc<Self>,
        socket: Socket,
        permit: Permit,
        link: u64,
        cid: Cid,
        why: LinkRefusal,
    ) {
        let notice = LinkNotice::Refused(why).encode(link, cid);
        if let Ok((mut reader, wire)) = socket.attach() {
            self.spawn(async move {
                let farewell = async {
                    // If the server does not take it, the reason stays untold.
                    let _ = timeout(PATIENCE, wire.write_all(notice)).await;
                    wire.finish();
                    see_off(&mut reader).await;
                };
                permit.unless_let_go(farewell).await;
            });
        }
    }

    /// Ends the session before of a link that has come again.
    fn end_older(self: &Rc<Self>, at: u32, link: u64) {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at);
        let older = room.and_then(|room| room.session_of(link));
        drop(registry);
        if let Some(older) = older {
            self.end(&older, Ended::Replaced);
        }
    }

    /// Takes what is new of a server's history, and sends it what it lacks.
    pub(super) fn merge_resync(
        self: &Rc<Self>,
        at: u32,
        conn: &Rc<Conn>,
        resync: &Resync,
        now: Instant,
    ) {
        let brought = resync.frames.iter().filter(|n| !is_presence(&n.frame));
        let brought: Vec<_> = brought.collect();
        if let Some(hello) = resync.link {
            self.end_older(at, hello.id);
        }
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let is_stranger = resync
            .link
            .is_none_or(|hello| room.received_from(&hello).is_none());
        let (merge, replay) = room.merge(resync, &brought, &self.common.digester, now);
        let welcome = resync.link.map(|hello| {
            let notice = LinkNotice::Welcome {
                replay: merge.replay.len() as u64,
                counted: merge.counted,
                given: merge.given,
                path: self.path_of(room),
            };
            notice.encode(hello.id, conn.cid)
        });
        if let Some(key) = conn.key.get() {
            let replay = welcome.into_iter().chain(replay);
            room.channel.local.replay(key, replay);
        }
        registry.list_if_dirty(Home::Owned(at));
        drop(registry);
        self.wake_flusher();
        let stats = self.stats();
        stats.resyncs.add(1);
        stats.resync_frames.add(merge.new.len() as u64);
        stats
            .resync_known
            .add((brought.len() - merge.new.len()) as u64);
        if is_stranger && !merge.new.is_empty() {
            self.renew_uplink(at, merge.new.len() as u64);
        }
        let new: Vec<_> = merge.new.iter().map(|&index| brought[index]).collect();
        for run in runs(&new) {
            self.note_received(&run);
            self.publish_in(at, conn.id, &run, now);
        }
        // Only now: the merge has counted these frames as come over the link already.
        if let Some(hello) = resync.link {
            self.link_down(at, conn, hello.id);
        }
    }

    /// From now on what the server sends is counted.
    fn link_down(&self, at: u32, conn: &Rc<Conn>, link: u64) {
        let mut registry = self.registry.borrow_mut();
        if let Some(room) = registry.room(at)
            && conn.phase.get() == ConnPhase::Joined
        {
            let conn = conn.clone();
            if let Some(downlinks) = &mut room.downlinks {
                downlinks.linked.push(Linked { conn, link });
            }
        }
    }

    /// The upstream of this server has told which servers are above it for a channel: those below
    /// are told in turn.
    pub(super) fn set_upstream_path(self: &Rc<Self>, at: u32, path: Vec<u64>) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        if !room.set_path(path) {
            return;
        }
        let notice = LinkNotice::Path(self.path_of(room));
        let linked = room
            .downlinks
            .iter()
            .flat_map(|downlinks| &downlinks.linked);
        for linked in linked.filter(|linked| linked.conn.phase.get() == ConnPhase::Joined) {
            if let Some(key) = linked.conn.key.get() {
                let notice = notice.encode(linked.link, linked.conn.cid);
                room.channel.local.replay(key, [notice]);
            }
        }
        registry.list_if_dirty(Home::Owned(at));
        drop(registry);
        self.wake_flusher();
    }

    /// Tells a server below once more which servers are above it, which it has to acknowledge.
    pub(super) fn repeat_path(&self, conn: &Conn) {
        let (Home::Owned(at), Some(key)) = (conn.home, conn.key.get()) else {
            return;
        };
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let path = LinkNotice::Path(self.path_of(room));
        let downlinks = room.downlinks.iter();
        let mut linked = downlinks.flat_map(|downlinks| &downlinks.linked);
        if let Some(linked) = linked.find(|linked| linked.conn.id == conn.id) {
            let notice = path.encode(linked.link, conn.cid);
            room.channel.local.replay(key, [notice]);
        }
        registry.list_if_dirty(conn.home);
        drop(registry);
        self.wake_flusher();
    }

    /// The servers that a server below has above it: this one first.
    fn path_of(&self, room: &Room) -> Vec<u64> {
        std::iter::once(self.common.server_id)
            .chain(room.path().iter().copied())
            .collect()
    }
}

impl Room {
    /// The servers above this one for the channel.
    fn path(&self) -> &[u64] {
        self.uplink.as_deref().map_or(&[], |uplink| uplink.path())
    }

    /// Records them. Returns whether that is news.
    fn set_path(&mut self, path: Vec<u64>) -> bool {
        self.uplink
            .as_deref_mut()
            .is_some_and(|uplink| uplink.set_path(path))
    }

    fn session_of(&self, link: u64) -> Option<Rc<Conn>> {
        let mut linked = self.downlinks.as_deref()?.linked.iter();
        let linked = linked.find(|linked| linked.link == link)?;
        Some(linked.conn.clone())
    }

    /// Makes the session before of a link that has come again give up its connection id. A server
    /// opens a link again only when it is done with the session before, even if nothing of that
    /// has come here: it could not, when the network failed.
    pub(super) fn release(&mut self, link: u64) {
        if let Some(older) = self.session_of(link) {
            self.channel.half_close(older.cid, older.id);
        }
    }

    /// Whether a session of a link has been overtaken by a later one: it was given up below, and
    /// what it brings has come already.
    pub(super) fn is_overtaken(&self, hello: &LinkHello) -> bool {
        let received = self.received_from(hello);
        self.session_of(hello.id).is_some() && received > Some(hello.sent)
    }

    fn received_from(&self, hello: &LinkHello) -> Option<u64> {
        self.downlinks.as_ref()?.memory.received_from(hello.id)
    }

    /// Finds out which of what was brought is new, and which of the history the server lacks.
    fn merge(
        &mut self,
        resync: &Resync,
        brought: &[&NestedFrame],
        digester: &Digester,
        now: Instant,
    ) -> (Merge, Vec<Bytes>) {
        let item = |nested: &&NestedFrame| Item {
            digest: digester.digest(&nested.frame),
            seq: nested.seq,
        };
        let items: Vec<_> = brought.iter().map(item).collect();
        let history = self.channel.history();
        let settings = self.channel.settings();
        let entries = history.entries(now, settings);
        let history: Vec<_> = entries.map(|(frame, _)| frame).collect();
        let downlinks = self.downlinks.get_or_insert_with(|| {
            let digests = history.iter().map(|frame| digester.digest(frame));
            Box::new(Downlinks {
                // 48 bits, so that 65,536 times as many frames can be counted.
                memory: Memory::new(
                    digests,
                    settings.history_frames,
                    rand::random::<u64>() >> 16,
                ),
                linked: Vec::new(),
            })
        });
        let merge = downlinks
            .memory
            .merge(resync.link.as_ref(), history.len(), &items);
        let lacking = merge.replay.iter().copied();
        let replay = self.channel.history().parts(now, settings, lacking);
        (merge, replay)
    }
}

/// Copies frames into runs of their own: slices would keep the whole resync alive.
fn runs(frames: &[&NestedFrame]) -> Vec<FrameRun> {
    let mut runs = Vec::new();
    let (mut bytes, mut count) = (Vec::new(), 0);
    let mut end = |bytes: &mut Vec<u8>, count: &mut u32| {
        let bytes = std::mem::take(bytes);
        let capacity = bytes.capacity();
        runs.push(FrameRun::slice_of(
            bytes.into(),
            std::mem::take(count),
            capacity,
        ));
    };
    for nested in frames {
        if count > 0 && bytes.len() + nested.frame.len() > RUN_BYTES {
            end(&mut bytes, &mut count);
        }
        bytes.extend_from_slice(&nested.frame);
        count += 1;
    }
    if count > 0 {
        end(&mut bytes, &mut count);
    }
    runs
}
