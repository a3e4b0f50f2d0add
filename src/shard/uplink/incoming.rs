//! What comes down from an upstream.

use std::rc::Rc;
use std::time::Instant;

use super::{UpSession, Uplink};
use crate::channel::{FrameRun, Origin};
use crate::peer::link::Failure;
use crate::peer::status::LinkState;
use crate::protocol::{FrameHeader, LinkNotice, frames};
use crate::shard::Shard;
use crate::shard::conn::{Conn, Ended};
use crate::shard::ids::Home;

/// A run from the upstream, sorted.
struct Sifted {
    /// What is new, in order.
    runs: Vec<FrameRun>,
    /// What the upstream has told this server.
    notices: Vec<LinkNotice>,
    target: usize,
}

impl Shard {
    /// Publishes what the upstream has sent, but for what is known already.
    pub(in crate::shard) fn publish_from_upstream(self: &Rc<Self>, conn: &Conn, run: &FrameRun) {
        let Home::Owned(at) = conn.home else {
            return;
        };
        let now = Instant::now();
        let Some(sifted) = self.sift(at, conn, run, now) else {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        };
        for notice in sifted.notices {
            self.on_notice(at, conn, notice);
        }
        let origin = Origin::Upstream(u8::try_from(sifted.target).unwrap_or(u8::MAX));
        for run in &sifted.runs {
            self.note_received(run);
            self.publish_as(at, conn.id, run, origin, now);
        }
    }

    fn sift(&self, at: u32, conn: &Conn, run: &FrameRun, now: Instant) -> Option<Sifted> {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at)?;
        let uplink = room.uplink.as_deref_mut()?;
        let session = uplink
            .session
            .take_if(|session| session.conn.id == conn.id)?;
        let (sifted, session) = uplink.sift(session, run);
        uplink.session = Some(session);
        let is_refused = |notice: &LinkNotice| matches!(notice, LinkNotice::Refused(_));
        if !sifted.notices.iter().any(is_refused) {
            uplink.taken(&room.name, now);
        }
        Some(sifted)
    }

    fn on_notice(self: &Rc<Self>, at: u32, conn: &Conn, notice: LinkNotice) {
        match notice {
            LinkNotice::Welcome { path, .. } | LinkNotice::Path(path) => self.on_path(at, path),
            LinkNotice::Refused(refusal) => {
                self.give_up(at, conn, Failure::Refused(refusal));
            }
        }
    }

    /// The upstream tells which servers are above this one. If this one is among them the links
    /// form a ring, and of the ring's servers the one with the least id gives its link up.
    fn on_path(self: &Rc<Self>, at: u32, path: Vec<u64>) {
        let own = self.common.server_id;
        match path.iter().position(|&server| server == own) {
            None => self.set_upstream_path(at, path),
            Some(end) if path[..end].iter().all(|&server| own < server) => {
                let mut registry = self.registry.borrow_mut();
                let uplink = registry.room(at).and_then(|room| room.uplink.as_deref());
                let conn = uplink.and_then(|uplink| uplink.session.as_ref());
                let conn = conn.map(|session| session.conn.clone());
                drop(registry);
                if let Some(conn) = conn {
                    self.give_up(at, &conn, Failure::Loop);
                }
            }
            Some(_) => {}
        }
    }

    /// Ends the session with the upstream for a reason that it does not show by itself.
    fn give_up(self: &Rc<Self>, at: u32, conn: &Conn, failure: Failure) {
        let mut registry = self.registry.borrow_mut();
        let uplink = registry
            .room(at)
            .and_then(|room| room.uplink.as_deref_mut());
        let session = uplink.and_then(|uplink| uplink.session.as_mut());
        let Some(session) = session.filter(|session| session.conn.id == conn.id) else {
            return;
        };
        session.failure = Some(failure);
        let conn = session.conn.clone();
        drop(registry);
        self.end(&conn, Ended::Stopping);
    }
}

impl Uplink {
    /// Takes notices and known frames out of a run. What is left shares the run's buffer.
    fn sift(&mut self, mut session: UpSession, run: &FrameRun) -> (Sifted, UpSession) {
        let target = session.target;
        let mut sifted = Sifted {
            runs: Vec::new(),
            notices: Vec::new(),
            target,
        };
        let (mut start, mut end, mut kept) = (0, 0, 0);
        let mut suppressed = 0;
        for frame in frames(run.bytes()) {
            let is_new = match self.notice(&session, frame) {
                Some(notice) => {
                    self.on_welcome(&mut session, &notice);
                    sifted.notices.push(notice);
                    false
                }
                None => {
                    let is_new = self.is_new(&mut session, frame);
                    suppressed += u64::from(!is_new);
                    is_new
                }
            };
            if is_new {
                kept += 1;
            } else {
                sifted.runs.extend(run.part(start..end, kept));
                (start, kept) = (end + frame.len(), 0);
            }
            end += frame.len();
        }
        sifted.runs.extend(run.part(start..end, kept));
        let passed = |run: &FrameRun| (run.frames() as u64, run.bytes().len() as u64);
        let entry = &self.entry.shared;
        for (frames, bytes) in sifted.runs.iter().map(passed) {
            entry.add(|counters| &counters.frames_down, frames);
            entry.add(|counters| &counters.bytes_down, bytes);
        }
        entry.add(|counters| &counters.duplicates_suppressed, suppressed);
        (sifted, session)
    }

    fn notice(&self, session: &UpSession, frame: &[u8]) -> Option<LinkNotice> {
        let id = self.targets[session.target].id;
        let header = FrameHeader::decode(frame).ok().flatten()?;
        (header.key.0 == id).then(|| LinkNotice::decode(frame, id))?
    }

    fn on_welcome(&mut self, session: &mut UpSession, notice: &LinkNotice) {
        if let &LinkNotice::Welcome { replay, .. } = notice {
            session.is_welcome = true;
            let known = &self.targets[session.target].known;
            session.replay = (replay > 0).then(|| known.begin_replay(Some(replay)));
        }
    }

    /// Whether a frame is not known, and records it if so.
    fn is_new(&mut self, session: &mut UpSession, frame: &[u8]) -> bool {
        let digest = self.digester.digest(frame);
        if let Some(replay) = &mut session.replay {
            let is_known = replay.is_known(digest);
            if replay.is_over() {
                session.replay = None;
            }
            if is_known {
                return false;
            }
        }
        self.targets[session.target].known.push(digest);
        true
    }

    /// The upstream has taken the link, as far as one can tell.
    pub(super) fn taken(&mut self, channel: &str, now: Instant) {
        if let Some(news) = self.link.taken(now) {
            self.entry.shared.add(|counters| &counters.connects, 1);
            self.show(LinkState::Up);
            self.tell(channel, Some(news));
        }
    }
}
