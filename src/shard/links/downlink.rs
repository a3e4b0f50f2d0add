//! Servers below this one: their resyncs, what they are told, and what is remembered of them.
//!
//! A server's link is a member like any other. What differs is its first frame, which is compared
//! with the history in the same call that seats it, so that nothing comes between; that it may send
//! late frames, which are compared as well; and that hints of presence which it passes on are not
//! stored.

mod compare;

use std::rc::Rc;

use bytes::Bytes;

use crate::channel::{FrameRun, Origin, SessionId};
use crate::peer::known::Digester;
use crate::peer::merge::LinkMemory;
use crate::protocol::{LinkHello, LinkNotice, frames};
use crate::shard::Shard;
use crate::shard::ended::Ended;
use crate::shard::ids::Home;
use crate::shard::refusal::Refusal;
use crate::shard::room::Room;
use crate::shard::sequence::Source;
use crate::shard::session::{Session, SessionPhase};
pub(in crate::shard) use compare::MAX_LATE;

/// The memory of a channel for the servers below, and those that are linked now.
#[derive(Debug)]
pub(in crate::shard) struct Downlinks {
    memory: LinkMemory,
    digester: Digester,
    linked: Vec<Linked>,
    /// Runs of the history that are not in `memory` yet, the oldest first.
    backlog: Vec<(Bytes, Origin)>,
}

/// A server that has told the id of its link.
#[derive(Debug)]
struct Linked {
    session: Rc<Session>,
    link: u64,
}

impl Downlinks {
    /// Forgets the session of a server, not the server.
    pub(super) fn left(&mut self, session: SessionId) {
        self.linked.retain(|linked| linked.session.id != session);
    }

    /// Records what was stored, and who sent it.
    pub(super) fn stored(&mut self, run: &FrameRun, from: SessionId, source: Source) {
        let digests = frames(run.bytes()).map(|frame| self.digester.digest(frame));
        self.memory.stored(digests, source.origin().upstream());
        let link = match source {
            Source::Resync { link } | Source::Late { link, .. } => link,
            Source::Member | Source::Upstream(_) => None,
        };
        if let Some(link) = link {
            self.memory.brought(link, run.frames());
        } else if let Some(link) = self.link_of(from) {
            self.memory.received(link, run.frames());
        }
    }

    /// Frames that an upstream has given were known, and before them there may be a gap of frames that
    /// have never come.
    pub(super) fn knew(&mut self, upstream: usize, has_gap: bool, count: u64) {
        if has_gap {
            self.memory.missed_from(upstream);
        }
        self.memory.knew_from(upstream, count);
    }

    /// Returns how many of the newest frames that an upstream has given are remembered.
    pub(super) fn seen_from(&self, upstream: usize) -> u64 {
        self.memory.seen_from(upstream)
    }

    pub(super) fn link_of(&self, session: SessionId) -> Option<u64> {
        let linked = self
            .linked
            .iter()
            .find(|linked| linked.session.id == session)?;
        Some(linked.link)
    }
}

impl Shard {
    /// Decides whether a server may open its link. The session before of the same link gives way.
    ///
    /// # Errors
    ///
    /// A later session of the link has been here, or the link would close a ring of servers.
    pub(in crate::shard) fn admit_link(
        &self,
        room: &mut Room,
        hello: &LinkHello,
    ) -> Result<(), Refusal> {
        if room.is_overtaken(hello) {
            return Err(Refusal::Overtaken);
        }
        room.release(hello.id);
        let own = self.common.server_id;
        if hello.server == own || room.links.path().contains(&hello.server) {
            return Err(Refusal::Ring);
        }
        Ok(())
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

    /// Tells the servers below which servers are above for a channel, as the upstream of this server has told.
    pub(in crate::shard) fn set_upstream_path(self: &Rc<Self>, at: u32, path: Vec<u64>) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let uplink = room.links.uplink_mut();
        if !uplink.is_some_and(|uplink| uplink.set_path(path)) {
            return;
        }
        let notice = LinkNotice::Path(self.path_of(room));
        let downlinks = room.links.downlinks().into_iter();
        let linked = downlinks.flat_map(|downlinks| &downlinks.linked);
        for linked in linked.filter(|linked| linked.session.phase.get() == SessionPhase::Joined) {
            if let Some(key) = linked.session.key.get() {
                let notice = notice.encode(linked.link, linked.session.cid);
                room.channel.local.replay(key, [notice]);
            }
        }
        self.flush_soon(registry, Home::Owned(at));
    }

    /// Tells a server below once more which servers are above it, which it has to acknowledge.
    pub(in crate::shard) fn repeat_path(&self, session: &Session) {
        let (Home::Owned(at), Some(key)) = (session.home, session.key.get()) else {
            return;
        };
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let path = LinkNotice::Path(self.path_of(room));
        let downlinks = room.links.downlinks().into_iter();
        let mut linked = downlinks.flat_map(|downlinks| &downlinks.linked);
        if let Some(linked) = linked.find(|linked| linked.session.id == session.id) {
            let notice = path.encode(linked.link, session.cid);
            room.channel.local.replay(key, [notice]);
        }
        self.flush_soon(registry, session.home);
    }

    /// Returns the servers that a server below has above it: this one first.
    fn path_of(&self, room: &Room) -> Vec<u64> {
        std::iter::once(self.common.server_id)
            .chain(room.links.path().iter().copied())
            .collect()
    }
}

impl Room {
    fn session_of(&self, link: u64) -> Option<Rc<Session>> {
        let mut linked = self.links.downlinks()?.linked.iter();
        let linked = linked.find(|linked| linked.link == link)?;
        Some(linked.session.clone())
    }

    /// Makes the session before of a link that has come again give up its connection id. A server
    /// opens a link again only when it is done with the session before, even if nothing of that
    /// has come here: it could not, when the network failed.
    fn release(&mut self, link: u64) {
        if let Some(older) = self.session_of(link) {
            self.channel.half_close(older.cid, older.id);
        }
    }

    /// Returns `true` if a session of a link has been overtaken by a later one, which may be over as well:
    /// it was given up below, and what it brings has come already, what follows its first frame
    /// included.
    fn is_overtaken(&self, hello: &LinkHello) -> bool {
        self.received_from(hello) > Some(hello.sent)
    }

    fn received_from(&self, hello: &LinkHello) -> Option<u64> {
        self.links.downlinks()?.memory.received_from(hello.id)
    }
}
