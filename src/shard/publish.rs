//! The first step of a published run: from a session of this shard to the owner of the channel.

use std::rc::Rc;
use std::time::Instant;

use super::Shard;
use super::ids::Home;
use super::labels::Transport;
use super::message::Request;
use super::sequence::{Proposed, Source};
use super::session::{Role, Session};
use crate::channel::{FrameRun, SessionId};

impl Shard {
    /// Publishes what a session of this shard has sent.
    pub(crate) fn publish(self: &Rc<Self>, session: &Rc<Session>, run: FrameRun) {
        if let Some(guard) = session.guard()
            && !self.pass_guard(session, &guard, &run)
        {
            return;
        }
        // At a stop it gives up its seat before it ends, and nothing is counted for its publisher from then on: who sends
        // this again at the next start would not be told that it has its place.
        if session.has_publisher && session.key.get().is_none() {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        }
        self.stats().turn.publishes(session.id);
        let run = session.as_others_see(run);
        session.traffic.count(run.frames(), run.bytes().len());
        let sampled = self.latency.count();
        match (session.role, session.home) {
            (Role::Upstream, _) => self.publish_from_upstream(session, &run),
            (Role::Downstream, Home::Owned(at)) => self.publish_from_below(at, session, run),
            (_, Home::Owned(at)) => self.publish_in(at, session, run, Instant::now()),
            (_, Home::Relayed(at)) => self.send_to_owner(at, session, run),
        }
        if let Some(read) = sampled {
            self.follow(session.home, read);
        }
    }

    /// Publishes what a member of a room has sent, whose session is on this shard.
    #[inline]
    pub(super) fn publish_in(
        self: &Rc<Self>,
        at: u32,
        session: &Session,
        run: FrameRun,
        now: Instant,
    ) {
        self.count_received(session.transport, &run);
        self.propose_of_member(at, session.id, run, now);
    }

    /// Proposes what a member of a room has sent.
    #[inline]
    pub(super) fn propose_of_member(
        self: &Rc<Self>,
        at: u32,
        from: SessionId,
        run: FrameRun,
        now: Instant,
    ) {
        let source = Source::Member;
        self.propose(at, Proposed { run, from, source }, now);
    }

    fn send_to_owner(&self, at: u32, session: &Session, run: FrameRun) {
        self.count_received(session.transport, &run);
        let relay_id = self
            .registry
            .borrow_mut()
            .relay_at(at)
            .map(|relay| relay.id);
        let Some(channel) = relay_id else {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        };
        let request = Request::Publish {
            channel,
            session: session.id,
            run,
        };
        self.request(channel.owner, request);
    }

    /// Counts frames that were published over `transport`.
    #[inline]
    pub(super) fn count_received(&self, transport: Transport, run: &FrameRun) {
        let stats = self.stats();
        stats.frames_in.of(transport).add(run.frames() as u64);
        stats.bytes_in.of(transport).add(run.bytes().len() as u64);
    }
}
