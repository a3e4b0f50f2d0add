//! Links to an upstream server: one session for each channel that has members.
//!
//! When a channel of this shard gets its first member and the broker has an upstream, the owner
//! opens a session with it, on its own runtime. That session is a member of the channel without a
//! seat: what is published here goes up through its outbox, what comes down is published like any
//! member's. Its first frame is a resync with the history, so that nothing that was published while
//! there was no link is missing above; what the upstream replays is recognised and not passed on
//! twice. When the decisions are not about sockets they are `peer`'s.
//!
//! Invariants:
//!
//! * Members never wait for a link. One that cannot keep up is closed and opened again, whatever
//!   the channel's policy is: only a resync can put right what it missed.
//! * Every frame that is stored here and did not come from an upstream has the next number in that
//!   upstream's eyes (`UpstreamMemory::offered`), whether or not there is a link at that moment.
//! * A channel with a link stores no presence hints.

mod attach;
mod connect;
mod drive;
mod incoming;
mod late_frames;
mod ring_probe;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::backoff::jittered;
use crate::channel::{Dropped, FrameRun, Origin, SessionId};
use crate::escape::Escaped;
use crate::peer::echo::{EchoGuard, Prober};
use crate::peer::known::{Digester, KnownFrames, ReplayFilter};
use crate::peer::link::{Link, LinkFailure, LinkNews, LinkSettings};
use crate::peer::status::{LinkEntry, LinkState};
use crate::peer::suspects::Suspects;
use crate::protocol::{Cid, LinkRefusal, frames};
use crate::settings::PeerSettings;
use crate::shard::ended::{Ended, slow_text};
use crate::shard::ids::{ChannelId, Home};
use crate::shard::links::Links;
use crate::shard::session::Session;
use crate::shard::{Common, LogLimiter, Shard};
pub(in crate::shard) use late_frames::Compared;

/// The fewest digests kept of frames that have passed over a link.
const MIN_KNOWN: usize = 4096;

/// The link of one channel, and what it remembers of each upstream.
#[derive(Debug)]
pub(in crate::shard) struct Uplink {
    link: Link,
    entry: DirectoryEntry,
    /// The uid and connection id in whose name the link joins.
    member: (Box<str>, Cid),
    /// `true` once the upstream has said that somebody there has its connection id. A server that says
    /// so tells of rings as well, so another id may be tried.
    is_cid_taken: bool,
    /// By upstream, in the order of the settings.
    targets: Vec<UpstreamMemory>,
    attached: Option<Attached>,
    /// The servers above this one, the upstream first, as far as it has told them.
    path: Vec<u64>,
    /// `true` once a v1 server above has turned out to be part of a ring.
    is_wary: bool,
    /// Finds out whether it is.
    prober: Prober,
    /// Counts the tasks that drive the link; only the newest may.
    driver: u32,
    digester: Digester,
    /// Late frames that have gone up and may come down.
    suspects: Suspects,
}

/// Memory of one upstream, kept for as long as the channel exists.
#[derive(Debug)]
struct UpstreamMemory {
    /// Names the link to that upstream, over all its sessions.
    id: u64,
    /// Frames stored here that did not come from that upstream: the number of the newest.
    offered: u64,
    /// The newest of them that the upstream has been sent, as far as we know.
    delivered: u64,
    /// The newest of them that the upstream may have got another way.
    old: u64,
    /// The newest of them whose digest is in `known`.
    exchanged: u64,
    known: KnownFrames,
    /// Number of frames given by the upstream on this link that have come, as far as it counts them.
    got: Option<u64>,
}

/// The session that stands, or is being joined.
#[derive(Debug)]
struct Attached {
    session: Rc<Session>,
    target: usize,
    /// Recognises known frames until the upstream's replay is over.
    replay: Option<ReplayFilter>,
    /// During a counted replay: the number of frames still to come, and of those given when it is over.
    counting: Option<(u64, u64)>,
    /// Digests of the frames that the first frame has shown to the upstream, until it answers.
    shown: Vec<u64>,
    /// `true` once it has shown that it is a server like this one, which tells who is above it.
    is_welcome: bool,
    /// Watches for a ring when it is another.
    echo: EchoGuard,
    /// The reason for its end, once one side has decided on it.
    failure: Option<LinkFailure>,
    /// The newest of the frames offered that has gone up with the first frame, and the number of frames of the
    /// upstream's replay that are still to come.
    opened: (u64, u64),
}

/// A link's place in the directory, for as long as the link exists.
#[derive(Debug)]
struct DirectoryEntry {
    common: Arc<Common>,
    id: ChannelId,
    shared: Arc<LinkEntry>,
}

impl DirectoryEntry {
    fn new(common: &Arc<Common>, id: ChannelId, channel: &str) -> Self {
        let shared = Arc::new(LinkEntry::new(channel));
        common.links.insert(id, shared.clone());
        let common = common.clone();
        Self { common, id, shared }
    }
}

impl Drop for DirectoryEntry {
    fn drop(&mut self) {
        self.common.links.remove(&self.id);
    }
}

impl Uplink {
    fn new(
        common: &Arc<Common>,
        id: ChannelId,
        channel: &str,
        member: (&str, Cid),
        history: usize,
    ) -> Self {
        let settings = common.settings();
        let peer = &settings.peer;
        let target = |_| UpstreamMemory {
            id: rand::random(),
            offered: 0,
            delivered: 0,
            old: 0,
            exchanged: 0,
            known: KnownFrames::new(known_limit(history)),
            got: None,
        };
        Self {
            link: Link::new(link_settings(peer), jittered),
            entry: DirectoryEntry::new(common, id, channel),
            member: (member.0.into(), member.1),
            is_cid_taken: false,
            targets: peer.upstreams.iter().map(target).collect(),
            attached: None,
            path: Vec::new(),
            is_wary: false,
            prober: Prober::default(),
            driver: 0,
            digester: common.digester.clone(),
            suspects: Suspects::default(),
        }
    }

    /// Returns the servers above this one, the upstream first, as far as it has told them.
    pub(in crate::shard::links) fn path(&self) -> &[u64] {
        &self.path
    }

    /// Returns the connection id that the link has at its upstream, while it is attached.
    pub(in crate::shard::links) fn cid_above(&self) -> Option<Cid> {
        self.attached.as_ref().map(|attached| attached.session.cid)
    }

    /// Records the servers above this one. Returns `true` if that is news.
    pub(in crate::shard::links) fn set_path(&mut self, path: Vec<u64>) -> bool {
        let is_news = self.path != path;
        self.path = path;
        is_news
    }

    /// Records that all upstreams but one may get what was offered from that one.
    fn shared_with(&mut self, target: usize) {
        let others = self.targets.iter_mut().enumerate();
        for (_, other) in others.filter(|(index, _)| *index != target) {
            other.old = other.offered;
        }
    }

    /// Numbers frames that were stored, for each upstream they did not come from.
    pub(in crate::shard::links) fn stored(&mut self, run: &FrameRun, origin: Origin) {
        let linked = self.attached.as_ref().map(|attached| attached.target);
        for (index, target) in self.targets.iter_mut().enumerate() {
            if is_from(origin, index) {
                continue;
            }
            target.offered += run.frames() as u64;
            if linked == Some(index) {
                for frame in frames(run.bytes()) {
                    target.known.push(self.digester.digest(frame));
                }
                target.exchanged = target.offered;
            }
        }
        if let Some(linked) = linked {
            self.shared_with(linked);
        }
    }

    /// Counts a run that was queued for all members but `except`. Returns whether to probe for a
    /// ring.
    pub(in crate::shard::links) fn passed(
        &mut self,
        run: &FrameRun,
        except: SessionId,
        now: Instant,
    ) -> bool {
        let Some(attached) = self.attached.as_mut().filter(|s| s.session.id != except) else {
            return false;
        };
        let mut is_suspect = false;
        if !attached.is_welcome {
            for frame in frames(run.bytes()).take(EchoGuard::WATCHED) {
                is_suspect |= attached.echo.sent(self.digester.digest(frame), now);
            }
        }
        self.count_up(run.frames(), run.bytes().len());
        is_suspect
    }

    fn count_up(&self, frames: usize, bytes: usize) {
        let entry = &self.entry.shared;
        entry.add(|counters| &counters.frames_up, frames as u64);
        entry.add(|counters| &counters.bytes_up, bytes as u64);
    }

    /// Tells where the link stands.
    fn show(&self, state: LinkState) {
        self.entry.shared.set(state, &self.upstream());
    }

    /// Returns the name of the upstream in use, or to be tried next.
    fn upstream(&self) -> String {
        let settings = self.entry.common.settings();
        let upstreams = &settings.peer.upstreams;
        let name = upstreams.get(self.link.target()).map(ToString::to_string);
        name.unwrap_or_default()
    }

    /// Returns `true` if no link is wanted.
    pub(in crate::shard::links) fn is_idle(&self) -> bool {
        self.link.is_idle()
    }

    /// Logs what has changed, once.
    fn tell(channel: &str, upstream: &str, news: Option<LinkNews>, log: &LogLimiter) {
        let channel = Escaped(channel);
        match news {
            None => {}
            Some(_) if !log.admit() => {}
            Some(LinkNews::Up) => tracing::info!(%channel, upstream, "link up"),
            Some(LinkNews::Failed(failure)) => {
                tracing::warn!(%channel, upstream, "{failure}; trying again");
            }
        }
    }
}

/// Returns `true` if a frame of that origin came from the upstream with that index.
fn is_from(origin: Origin, upstream: usize) -> bool {
    matches!(origin, Origin::Upstream(index) if usize::from(index) == upstream)
}

/// Returns the number of digests that are kept for a history of `frames`.
fn known_limit(frames: usize) -> usize {
    MIN_KNOWN.max(frames.saturating_mul(2).min(1 << 20))
}

fn link_settings(peer: &PeerSettings) -> LinkSettings {
    LinkSettings {
        upstreams: peer.upstreams.len(),
        backoff: peer.backoff,
        backoff_max: peer.backoff_max,
        stable_after: peer.stable_after,
    }
}

impl Links {
    /// Sees to it that a channel which a member has joined has a link, if the broker has an upstream. Returns
    /// `true` if it has to be connected.
    pub(in crate::shard) fn joined(
        &mut self,
        common: &Arc<Common>,
        id: ChannelId,
        channel: &str,
        member: (&str, Cid),
        history: usize,
    ) -> bool {
        if common.settings().peer.upstreams.is_empty() {
            return false;
        }
        let pair = self.0.get_or_insert_default();
        let uplink = pair
            .up
            .get_or_insert_with(|| Box::new(Uplink::new(common, id, channel, member, history)));
        let starts = uplink.link.start(Instant::now());
        if starts {
            uplink.member = (member.0.into(), member.1);
        }
        starts
    }
}

impl Shard {
    /// Notes that a session with the upstream has ended.
    pub(in crate::shard) fn link_ended(
        self: &Rc<Self>,
        session: &Rc<Session>,
        ended: &Ended,
        unsent: Dropped,
    ) {
        let Home::Owned(at) = session.home else {
            return;
        };
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let Some(uplink) = room.links.uplink_mut() else {
            return;
        };
        let Some(attached) = uplink.attached.take_if(|s| Rc::ptr_eq(&s.session, session)) else {
            return;
        };
        if uplink.link.is_up() {
            // What one upstream has is not lost to the others.
            for target in &mut uplink.targets {
                let sent = target.offered.saturating_sub(unsent.frames as u64);
                target.delivered = target.delivered.max(sent);
            }
        }
        let id = room.id;
        if uplink.link.is_idle() || !self.is_running() {
            return uplink.show(LinkState::Idle);
        }
        let failure = attached.failure.unwrap_or_else(|| failure_of(ended));
        uplink.is_wary = failure == LinkFailure::Loop && !attached.is_welcome;
        uplink.fail(&room.name, failure, &self.log);
        drop(registry);
        self.set_upstream_path(at, Vec::new());
        self.drive_uplink(id);
    }
}

impl Uplink {
    /// Notes that the attempt or the session has failed.
    fn fail(&mut self, channel: &str, failure: LinkFailure, log: &LogLimiter) {
        let state = state_after(&failure);
        self.is_cid_taken = failure == LinkFailure::Refused(LinkRefusal::Cid);
        self.entry.shared.add(|counters| &counters.failures, 1);
        self.entry.shared.set_failure(failure.to_string());
        let upstream = self.upstream();
        let news = self.link.ended(failure, Instant::now());
        self.show(state);
        Self::tell(channel, &upstream, news, log);
    }
}

fn failure_of(ended: &Ended) -> LinkFailure {
    match ended {
        Ended::ByPeer(error) => LinkFailure::Broken(error.to_string()),
        Ended::Slow(reason) => LinkFailure::Dropped(slow_text(*reason).to_owned()),
        Ended::Protocol(error) => {
            LinkFailure::Dropped(format!("the upstream sent no frame: {error}"))
        }
        Ended::Overdrawn => {
            LinkFailure::Dropped("no memory left for incomplete frames (partial_bytes)".to_owned())
        }
        Ended::ByOperator => LinkFailure::Dropped("ended by an operator".to_owned()),
        Ended::Overdue => LinkFailure::Dropped(
            "an incomplete frame did not progress within frame_deadline".to_owned(),
        ),
        Ended::Replaced
        | Ended::LetGo(_)
        | Ended::Stopping
        | Ended::CutOff
        | Ended::Fault(_)
        | Ended::RightsLost(_)
        | Ended::Denied(_) => LinkFailure::Broken("closed here".to_owned()),
    }
}

fn state_after(failure: &LinkFailure) -> LinkState {
    match failure {
        LinkFailure::Loop | LinkFailure::Refused(LinkRefusal::Loop) => LinkState::Loop,
        LinkFailure::Refused(_) | LinkFailure::Closed => LinkState::Refused,
        LinkFailure::Unreachable(_) | LinkFailure::Broken(_) | LinkFailure::Dropped(_) => {
            LinkState::Waiting
        }
    }
}
