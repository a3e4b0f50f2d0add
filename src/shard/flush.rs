//! Writing to sockets: one flusher for the shard, and a task for each member whose socket is full.

use std::cell::RefMut;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::Shard;
use super::ended::Ended;
use super::ids::Home;
use super::registry::Registry;
use super::session::{Role, Session, SessionPhase};
use super::turn;
use super::write_round::{WriteRound, has_all};
use crate::channel::{ChannelSettings, Fanout, MemberKey, Verdict};

/// Units of a turn that one member may cost before the next is written to: 256 KiB, or 32 writes.
const MEMBER: u32 = turn::BUDGET / 4;
/// Units that one channel may cost before the next has its turn.
const CHANNEL: u32 = turn::BUDGET / 4;

/// The outcome of writing to a member.
#[derive(Debug)]
pub(super) enum Wrote {
    /// Nothing is queued any more.
    All,
    /// There is more, and the socket takes more; others first.
    Some,
    /// The socket is full.
    Full,
    /// The member's connection is gone.
    Failed(io::Error),
}

impl Shard {
    /// Flushes whenever members have something queued, behind the readers that were woken before it.
    pub(super) async fn flush_forever(self: Rc<Self>) {
        std::future::poll_fn(|cx| {
            *self.flusher.borrow_mut() = Some(cx.waker().clone());
            self.flush();
            if self.registry.borrow().is_dirty() {
                turn::yield_to_sockets(cx);
            }
            std::task::Poll::<()>::Pending
        })
        .await;
    }

    /// Has the flusher write to the members of a channel, for whom something was queued.
    pub(super) fn flush_soon(&self, mut registry: RefMut<'_, Registry>, home: Home) {
        registry.list_if_dirty(home);
        let is_dirty = registry.is_dirty();
        drop(registry);
        if is_dirty {
            self.wake_flusher();
        }
    }

    /// Lets the flusher run: there is something to do.
    pub(super) fn wake_flusher(&self) {
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
    }

    /// Writes to dirty members, of one channel after the other, until a turn is over.
    fn flush(self: &Rc<Self>) {
        let now = Instant::now();
        while turn::spent() < turn::BUDGET {
            // Half of each turn is for those that did not come to an end in the last one.
            let unfinished_first = turn::spent() >= turn::BUDGET / 2;
            let Some(home) = self.registry.borrow_mut().next_dirty(unfinished_first) else {
                return;
            };
            self.flush_channel(home, now);
        }
    }

    /// Writes to dirty members of one channel until its part of the turn is used up.
    fn flush_channel(self: &Rc<Self>, home: Home, now: Instant) {
        let until = turn::spent() + CHANNEL;
        let mut done = Vec::new();
        let mut registry = self.registry.borrow_mut();
        let Some(members) = registry.local_members(home) else {
            return;
        };
        let mut round = WriteRound::new(self.stats(), members.settings, now);
        let mut written = 0;
        while turn::spent() < until
            && let Some(key) = members.local.next_dirty()
        {
            written += 1;
            if let Some(ended) = self.flush_member(members.local, key, &mut round) {
                done.push(ended);
            }
        }
        drop(round);
        registry.had_its_turn(home);
        drop(registry);
        self.has_written(home, written);
        for (session, ended) in done {
            match ended {
                Some(ended) => self.end(&session, ended),
                None => self.close_write(&session),
            }
        }
        self.update_pressure(home);
    }

    /// Writes to a dirty member, and applies the policy to it if its socket is full. Returns the session
    /// if it is to end, or to be closed with nothing left to write.
    #[inline]
    fn flush_member(
        self: &Rc<Self>,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        round: &mut WriteRound<'_>,
    ) -> Option<(Rc<Session>, Option<Ended>)> {
        let member = local.at(key)?;
        if member.is_stalled() {
            return self.enforce_on(local, key, round);
        }
        let is_finishing = member.handle.phase.get() == SessionPhase::Finishing;
        match self.write(local, key, round) {
            Wrote::All if is_finishing => Some((local.at(key)?.handle.clone(), None)),
            Wrote::All => None,
            Wrote::Some => {
                local.mark_dirty(key);
                None
            }
            Wrote::Full => self.enforce_on(local, key, round),
            Wrote::Failed(error) => {
                let session = local.at(key)?.handle.clone();
                let ended = self.after_failure(local, key, &session, error)?;
                Some((session, Some(ended)))
            }
        }
    }

    /// Applies the policy to a member whose socket is full, as a part of the flusher's turn. Returns the session if it
    /// has to go.
    fn enforce_on(
        &self,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        round: &WriteRound<'_>,
    ) -> Option<(Rc<Session>, Option<Ended>)> {
        turn::spend(1);
        let session = local.at(key)?.handle.clone();
        let ended = self.enforce(local, key, &session, round.settings, round.now)?;
        Some((session, Some(ended)))
    }

    /// Returns why a member whose connection has failed has to go at once; `None` if its client may have sent
    /// something before that, which is in the socket and has not been read. A session that reads ends when it comes to
    /// the end of that. Until then nothing is queued for it.
    fn after_failure(
        &self,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        session: &Session,
        error: io::Error,
    ) -> Option<Ended> {
        let is_reading = matches!(
            session.phase.get(),
            SessionPhase::Joined | SessionPhase::Unwritable
        );
        if session.role != Role::Client || !is_reading {
            return Some(Ended::ByPeer(error));
        }
        session.phase.set(SessionPhase::Unwritable);
        let unsent = local.mute(key);
        self.stats().dropped_frames.add(unsent.frames as u64);
        None
    }

    /// Applies the policy to a member whose socket is full. Returns why it has to go, if it does.
    fn enforce(
        &self,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        session: &Session,
        settings: &ChannelSettings,
        now: Instant,
    ) -> Option<Ended> {
        if let Some(at) = session.writer.progress() {
            local.progressed(key, at);
        }
        match local.enforce(key, now, settings) {
            Verdict::Keep => None,
            Verdict::Disconnect(reason) => Some(Ended::Slow(reason)),
            Verdict::Dropped(dropped) => {
                self.log_dropped(session, dropped);
                None
            }
        }
    }

    /// Writes what is queued for a member, as much as its socket takes, up to its part of a turn. A
    /// member whose socket is full gets a task that goes on when there is room.
    fn write(
        self: &Rc<Self>,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        round: &mut WriteRound<'_>,
    ) -> Wrote {
        let until = turn::spent() + MEMBER;
        let (now, settings) = (round.now, round.settings);
        loop {
            let written = local.write_with(key, now, settings, |member| round.write(member));
            match written {
                None => return Wrote::All,
                Some(Ok(member)) if has_all(member) => return Wrote::All,
                Some(Ok(_)) => {}
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.wait_for_room(local, key, now);
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => return Wrote::Failed(error),
            }
            if turn::spent() >= until {
                return Wrote::Some;
            }
        }
    }

    /// Has a task wait until the socket of a member has room, if none does.
    fn wait_for_room(
        self: &Rc<Self>,
        local: &mut Fanout<Rc<Session>>,
        key: MemberKey,
        now: Instant,
    ) -> Wrote {
        let Some(member) = local.at(key) else {
            return Wrote::All;
        };
        let session = member.handle.clone();
        if local.set_stalled(key, true, now) {
            session.set_stalled(true);
            self.spawn(self.clone().write_when_ready(session, key));
        }
        Wrote::Full
    }

    /// Writes to a member whose socket is full, until all is written or the member is gone.
    async fn write_when_ready(self: Rc<Self>, session: Rc<Session>, key: MemberKey) {
        let _stalled = self.list_stalled(&session);
        loop {
            let Some(deadline) = self.stall_deadline(&session, key) else {
                return;
            };
            let ended = match timeout_at(deadline.into(), session.writer.writable(session.id)).await
            {
                Ok(Ok(())) => match self.resume_write(&session, key) {
                    Wrote::All => return self.caught_up(&session, key),
                    Wrote::Some => {
                        self.yield_turn().await;
                        None
                    }
                    Wrote::Full => None,
                    Wrote::Failed(error) => return self.fail(&session, key, error),
                },
                Ok(Err(error)) => return self.fail(&session, key, error),
                Err(_elapsed) => self.overdue(&session, key),
            };
            if let Some(ended) = ended {
                return self.end(&session, ended);
            }
        }
    }

    /// Ends a session whose connection has failed, at once or when what it has sent is read.
    fn fail(self: &Rc<Self>, session: &Rc<Session>, key: MemberKey, error: io::Error) {
        let mut registry = self.registry.borrow_mut();
        let Some(members) = registry.local_members(session.home) else {
            return;
        };
        if members.local.get(key, session.id).is_none() {
            return;
        }
        let ended = self.after_failure(members.local, key, session, error);
        drop(registry);
        self.update_pressure(session.home);
        if let Some(ended) = ended {
            self.end(session, ended);
        }
    }

    fn stall_deadline(&self, session: &Session, key: MemberKey) -> Option<Instant> {
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(session.home)?;
        members.local.get(key, session.id)?;
        if let Some(at) = session.writer.progress() {
            members.local.progressed(key, at);
        }
        members.local.deadline(key, members.settings)
    }

    fn resume_write(self: &Rc<Self>, session: &Rc<Session>, key: MemberKey) -> Wrote {
        let now = Instant::now();
        let mut registry = self.registry.borrow_mut();
        let Some(members) = registry.local_members(session.home) else {
            return Wrote::All;
        };
        if members.local.get(key, session.id).is_none() {
            return Wrote::All;
        }
        let mut round = WriteRound::new(self.stats(), members.settings, now);
        let wrote = self.write(members.local, key, &mut round);
        drop(round);
        if matches!(wrote, Wrote::All) {
            members.local.set_stalled(key, false, now);
            session.set_stalled(false);
        }
        drop(registry);
        if matches!(wrote, Wrote::All) && session.phase.get() == SessionPhase::Finishing {
            self.close_write(session);
        }
        self.update_pressure(session.home);
        wrote
    }

    fn overdue(&self, session: &Session, key: MemberKey) -> Option<Ended> {
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(session.home)?;
        members.local.get(key, session.id)?;
        self.enforce(
            members.local,
            key,
            session,
            members.settings,
            Instant::now(),
        )
    }
}
