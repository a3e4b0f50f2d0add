//! Frames and notices that come down from an upstream.

use std::rc::Rc;
use std::time::Instant;

use super::{Attached, Uplink};
use crate::channel::FrameRun;
use crate::peer::link::LinkFailure;
use crate::peer::status::LinkState;
use crate::protocol::{FrameHeader, LinkNotice, frames, is_presence};
use crate::shard::ended::Ended;
use crate::shard::ids::Home;
use crate::shard::labels::Transport;
use crate::shard::sequence::{Proposed, Source};
use crate::shard::session::Session;
use crate::shard::{LogLimiter, Shard};

/// A run from the upstream, sorted.
struct Sifted {
    /// New frames, in order.
    runs: Vec<FrameRun>,
    /// Notices to this server, in order.
    notices: Vec<LinkNotice>,
    /// `true` if some frames that the upstream has given will never come.
    has_gap: bool,
    /// Number of frames that were known already.
    known: u64,
    /// `true` if something that went up here has come back.
    is_echo: bool,
    target: usize,
}

impl Shard {
    /// Publishes what the upstream has sent, but for what is known already.
    pub(in crate::shard) fn publish_from_upstream(
        self: &Rc<Self>,
        session: &Session,
        run: &FrameRun,
    ) {
        let Home::Owned(at) = session.home else {
            return;
        };
        let now = Instant::now();
        let Some(sifted) = self.sift(at, session, run, now) else {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        };
        for notice in sifted.notices {
            self.on_notice(at, session, notice);
        }
        if let Some(room) = self.registry.borrow_mut().room(at)
            && let Some(downlinks) = room.links.downlinks_mut()
        {
            downlinks.knew(sifted.target, sifted.has_gap, sifted.known);
        }
        let (from, target) = (session.id, sifted.target);
        let source = Source::Upstream(u8::try_from(target).unwrap_or(u8::MAX));
        for run in sifted.runs {
            self.count_received(Transport::Link, &run);
            self.propose(at, Proposed { run, from, source }, now);
        }
        if sifted.is_echo {
            self.send_probe(at, now);
        }
    }

    fn sift(&self, at: u32, session: &Session, run: &FrameRun, now: Instant) -> Option<Sifted> {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at)?;
        let uplink = room.links.uplink_mut()?;
        let attached = uplink
            .attached
            .take_if(|attached| attached.session.id == session.id)?;
        let (sifted, attached) = uplink.sift(attached, run, now);
        uplink.attached = Some(attached);
        let is_refused = |notice: &LinkNotice| matches!(notice, LinkNotice::Refused(_));
        if !sifted.notices.iter().any(is_refused) {
            uplink.taken(&room.name, now, &self.log);
        }
        Some(sifted)
    }

    fn on_notice(self: &Rc<Self>, at: u32, session: &Session, notice: LinkNotice) {
        match notice {
            LinkNotice::Welcome { path, .. } | LinkNotice::Path(path) => {
                self.on_path(at, session, path);
            }
            LinkNotice::Compared(_) => {}
            LinkNotice::Refused(refusal) => {
                self.give_up(at, session, LinkFailure::Refused(refusal));
            }
        }
    }

    /// Takes in which servers are above this one, as the upstream tells. If this one is among them the links
    /// form a ring, and of the ring's servers the one with the least id gives its link up. The others
    /// pass on what they know of the ring, so that the one gets to know.
    fn on_path(self: &Rc<Self>, at: u32, session: &Session, mut path: Vec<u64>) {
        let own = self.common.server_id;
        let end = path.iter().position(|&server| server == own);
        path.truncate(end.unwrap_or(path.len()));
        if end.is_some() && path.iter().all(|&server| own < server) {
            self.give_up(at, session, LinkFailure::Loop);
        } else {
            self.set_upstream_path(at, path);
        }
    }

    /// Ends the session with the upstream for a reason that it does not show by itself.
    pub(super) fn give_up(self: &Rc<Self>, at: u32, session: &Session, failure: LinkFailure) {
        let mut registry = self.registry.borrow_mut();
        let uplink = registry.room(at).and_then(|room| room.links.uplink_mut());
        let attached = uplink.and_then(|uplink| uplink.attached.as_mut());
        let Some(attached) = attached.filter(|attached| attached.session.id == session.id) else {
            return;
        };
        attached.failure = Some(failure);
        let session = attached.session.clone();
        drop(registry);
        self.end(&session, Ended::Stopping);
    }
}

pub(super) fn key_of(frame: &[u8]) -> Option<u64> {
    let header = FrameHeader::decode(frame).ok().flatten();
    header.map(|header| header.key.0)
}

fn unknown_notice() -> FromAbove {
    tracing::debug!("left out a notice of the upstream that this version does not know");
    FromAbove::Nothing
}

/// A frame from above, told apart.
enum FromAbove {
    Frame,
    Notice(LinkNotice),
    /// Neither for members nor for this server.
    Nothing,
}

impl Attached {
    /// Returns `true` if a frame from above makes it worth probing for a ring. An upstream that tells who is
    /// above it needs no probe.
    fn is_echo(&mut self, digest: u64, now: Instant) -> bool {
        !self.is_welcome && self.echo.came(digest, now)
    }
}

impl Uplink {
    /// Takes notices and known frames out of a run. What is left shares the run's buffer.
    fn sift(&mut self, mut attached: Attached, run: &FrameRun, now: Instant) -> (Sifted, Attached) {
        let target = attached.target;
        let mut sifted = Sifted {
            runs: Vec::new(),
            notices: Vec::new(),
            has_gap: false,
            known: 0,
            is_echo: false,
            target,
        };
        let (mut start, mut end, mut kept) = (0, 0, 0);
        for frame in frames(run.bytes()) {
            let is_new = match self.read(&attached, frame) {
                FromAbove::Notice(notice) => {
                    sifted.has_gap |= self.on_welcome(&mut attached, &notice);
                    sifted.notices.push(notice);
                    false
                }
                FromAbove::Nothing => false,
                FromAbove::Frame => {
                    let digest = self.digester.digest(frame);
                    let is_new = self.is_new(&mut attached, digest);
                    self.count_down(&mut attached, frame);
                    sifted.known += u64::from(!is_new);
                    sifted.is_echo |= is_new && attached.is_echo(digest, now);
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
        entry.add(|counters| &counters.duplicates_suppressed, sifted.known);
        (sifted, attached)
    }

    /// Frames whose key is the id of the link are not from any client. A probe never comes from above
    /// by itself; members must not see it, as they could bring it back.
    fn read(&self, attached: &Attached, frame: &[u8]) -> FromAbove {
        let id = self.targets[attached.target].id;
        let Some(key) = key_of(frame) else {
            return FromAbove::Frame;
        };
        if key == id {
            return LinkNotice::decode(frame, id).map_or_else(unknown_notice, FromAbove::Notice);
        }
        if self.prober.is_watching() && self.prober.is_probe(key) {
            return FromAbove::Nothing;
        }
        FromAbove::Frame
    }

    /// Takes in what a notice says of the frames themselves. Returns whether some will never come.
    fn on_welcome(&mut self, attached: &mut Attached, notice: &LinkNotice) -> bool {
        let (replay, counted, given) = match *notice {
            LinkNotice::Welcome {
                replay,
                counted,
                given,
                ..
            } => (replay, counted, given),
            LinkNotice::Compared(up_to) => {
                self.suspects.compared(up_to);
                return false;
            }
            LinkNotice::Path(_) | LinkNotice::Refused(_) => return false,
        };
        attached.opened.1 = replay;
        if replay == 0 {
            self.suspects.compared(attached.opened.0);
        }
        attached.is_welcome = true;
        let target = &mut self.targets[attached.target];
        let shown = std::mem::take(&mut attached.shown);
        let compare = replay > 0 && !counted;
        attached.replay = compare.then(|| target.known.begin_rest(replay, &shown));
        // If the replay is just what was missing, each frame of it counts like a live one.
        let is_exact = counted && target.got.map(|got| got + replay) == Some(given);
        if !is_exact {
            target.got = (replay == 0).then_some(given);
            attached.counting = (replay > 0).then_some((replay, given));
        }
        !is_exact
    }

    /// Counts a frame that the upstream has given. It does not count hints of presence.
    fn count_down(&mut self, attached: &mut Attached, frame: &[u8]) {
        let got = &mut self.targets[attached.target].got;
        if !attached.is_welcome || is_presence(frame) {
            return;
        }
        match &mut attached.counting {
            Some((left @ 2.., _)) => *left -= 1,
            Some((_, given)) => {
                *got = Some(*given);
                attached.counting = None;
            }
            None => *got = got.map(|got| got + 1),
        }
        // What was sent up before this session has been compared with the first frame.
        if attached.opened.1 == 1 {
            self.suspects.compared(attached.opened.0);
        }
        attached.opened.1 = attached.opened.1.saturating_sub(1);
    }

    /// Returns `true` if a frame is not known, and records it then.
    fn is_new(&mut self, attached: &mut Attached, digest: u64) -> bool {
        if let Some(replay) = &mut attached.replay {
            let is_known = replay.is_known(digest);
            if replay.is_over() {
                attached.replay = None;
            }
            if is_known {
                return false;
            }
        }
        if !self.suspects.is_empty() && self.suspects.is_known(digest) {
            return false;
        }
        self.targets[attached.target].known.push(digest);
        true
    }

    /// Notes that the upstream has taken the link, as far as one can tell.
    pub(super) fn taken(&mut self, channel: &str, now: Instant, log: &LogLimiter) {
        if let Some(news) = self.link.taken(now) {
            self.entry.shared.add(|counters| &counters.connects, 1);
            self.show(LinkState::Up);
            Self::tell(channel, &self.upstream(), Some(news), log);
        }
    }
}
