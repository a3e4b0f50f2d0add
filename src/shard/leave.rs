//! How sessions end.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::ended::{Ended, slow_text};
use super::ids::{Home, ShardId};
use super::limits::LimitReached;
use super::message::{Delivery, Request};
use super::session::{Role, Session, SessionPhase};
use super::{BrokerPhase, Shard};
use crate::channel::{Dropped, FreedSeat, Member, MemberKey, Place, SessionId, SlowReason};
use crate::escape::Escaped;

/// Outcome of giving up a seat.
#[derive(Default)]
struct Left {
    /// Frames that were still queued.
    unsent: Dropped,
    /// `true` if no other session shares the connection, which only the last of them closes.
    is_last: bool,
}

impl Shard {
    /// Ends a session: gives up its seat and shuts its socket down. Does nothing if it is over.
    pub(crate) fn end(self: &Rc<Self>, session: &Rc<Session>, ended: Ended) {
        if session.phase.replace(SessionPhase::Over) == SessionPhase::Over {
            return;
        }
        let words = self.last_words(session, &ended);
        let unsent = self.leave(session).unsent;
        // Sessions that share a connection are let go one after the other, in peace.
        let is_let_go = matches!(ended, Ended::Stopping) && session.shares_its_connection();
        if !is_let_go {
            match words {
                Some(words) => session.writer.say_last(words),
                None => session.say_why(&ended),
            }
            session.shut_down();
        }
        self.report_end(session, &ended, unsent);
    }

    fn report_end(self: &Rc<Self>, session: &Rc<Session>, ended: &Ended, unsent: Dropped) {
        if session.role == Role::Upstream {
            self.stats().sessions.of(session.transport).sub(1);
            self.link_ended(session, ended, unsent);
        } else {
            self.report_member_end(session, ended, unsent);
        }
    }

    /// Counts a session of this shard, until its end is reported. It may have ended already.
    pub(super) fn count_session(&self, session: &Session) {
        self.stats().sessions.of(session.transport).add(1);
    }

    /// Closes our side of a session that has got all that was queued for it, when the broker is stopping.
    /// The session ends when the client closes its own.
    pub(super) fn close_write(self: &Rc<Self>, session: &Rc<Session>) {
        if self.leave(session).is_last {
            session.say_why(&Ended::Stopping);
            session.writer.finish();
        }
    }

    /// Gives up the session's seat.
    fn leave(self: &Rc<Self>, session: &Session) -> Left {
        let Some(key) = session.key.take() else {
            return Left::default();
        };
        let unsent = match session.home {
            Home::Owned(at) => self.leave_room(at, session, key),
            Home::Relayed(at) => self.leave_relay(at, session, key),
        };
        // What a link has not taken is still in the history, and goes up with the next resync.
        if session.role != Role::Upstream {
            self.stats().dropped_frames.add(unsent.frames as u64);
        }
        let is_last = session
            .writer
            .layered()
            .is_none_or(|layered| layered.leave_seat(session.id));
        Left { unsent, is_last }
    }

    fn leave_room(self: &Rc<Self>, at: u32, session: &Session, key: MemberKey) -> Dropped {
        let now = Instant::now();
        let mut registry = self.registry.borrow_mut();
        let member = registry.room(at).and_then(|room| {
            if session.role == Role::Upstream {
                return room.channel.local.remove(key, session.id);
            }
            room.leave(session.cid, session.id, now)?.member
        });
        drop(registry);
        self.update_pressure(session.home);
        self.after_leaving(at, session.id, now);
        member
            .map(|mut member| member.drop_all())
            .unwrap_or_default()
    }

    /// Does what follows when a session has left a room: a join may wait for its place, others may watch, and a link or
    /// the room may not be needed any more.
    pub(super) fn after_leaving(self: &Rc<Self>, at: u32, session: SessionId, now: Instant) {
        self.has_given_way(session);
        self.tell_members_soon(at);
        self.close_link_later(at);
        self.close_or_update_need(at, now);
    }

    fn leave_relay(self: &Rc<Self>, at: u32, session: &Session, key: MemberKey) -> Dropped {
        let mut registry = self.registry.borrow_mut();
        let Some(relay) = registry.relay_at(at) else {
            return Dropped::default();
        };
        let channel = relay.id;
        let member = relay.local.remove(key, session.id);
        let is_empty = relay.local.is_empty();
        drop(registry);
        let Some(mut member) = member else {
            return Dropped::default();
        };
        self.update_pressure(session.home);
        let (cid, session) = (session.cid, session.id);
        self.request(
            channel.owner,
            Request::Leave {
                channel,
                cid,
                session,
            },
        );
        if is_empty && self.is_running() {
            self.registry.borrow_mut().close_relay(at);
        }
        member.drop_all()
    }

    /// Returns `true` until a stop keeps new clients out.
    pub(crate) fn is_running(&self) -> bool {
        *self.common.phase.borrow() < BrokerPhase::Draining
    }

    /// Disconnects a half-closed session that has lost its seat: to a new session with its connection
    /// id, or to make room at `limit`.
    pub(super) fn evict(
        self: &Rc<Self>,
        at: u32,
        freed: FreedSeat<Rc<Session>>,
        limit: Option<LimitReached>,
    ) {
        match (freed.seat.place, freed.member) {
            (Place::Local(_), Some(mut member)) => {
                let unsent = member.drop_all();
                self.stats().dropped_frames.add(unsent.frames as u64);
                if let Some(room) = self.registry.borrow_mut().room(at) {
                    room.links.left(freed.seat.session);
                }
                member.handle.phase.set(SessionPhase::Over);
                member.handle.shut_down();
                self.update_pressure(Home::Owned(at));
                self.report_member_end(&member.handle, &evicted(limit), unsent);
            }
            (Place::Relay(shard), _) => {
                let id = self.registry.borrow_mut().room(at).map(|room| room.id);
                if let Some(channel) = id {
                    let evict = Delivery::Evict {
                        channel,
                        session: freed.seat.session,
                        limit,
                    };
                    self.deliver_to(ShardId(shard), evict);
                }
            }
            (Place::Local(_), None) => {}
        }
    }

    /// Records that a session's client has closed its sending side. Most such clients are gone, and
    /// with nothing to send to them nothing else would show it: so these sessions are the first to
    /// make room when a limit is reached.
    pub(super) fn half_close(self: &Rc<Self>, session: &Rc<Session>) {
        session.phase.set(SessionPhase::HalfClosed);
        session.over.get_or_init(Rc::default);
        self.stats().half_closed.add(1);
        let (cid, id) = (session.cid, session.id);
        let mut registry = self.registry.borrow_mut();
        match session.home {
            Home::Owned(at) => {
                if let Some(room) = registry.room(at) {
                    room.channel.half_close(cid, id);
                    room.update_need();
                }
                self.has_given_way(id);
            }
            Home::Relayed(at) => {
                if let Some(channel) = registry.relay_at(at).map(|relay| relay.id) {
                    self.request(
                        channel.owner,
                        Request::HalfClose {
                            channel,
                            cid,
                            session: id,
                        },
                    );
                }
            }
        }
        let members = registry.local_members(session.home);
        let member = members.zip(session.key.get());
        let member = member.and_then(|(members, key)| members.local.get(key, id));
        let is_stalled = member.is_some_and(Member::is_stalled);
        if let Some(permit) = &session.permit {
            permit.half_close(is_stalled);
        }
    }

    /// Counts and logs frames that the policy dropped from a member's queue.
    pub(super) fn log_dropped(&self, session: &Session, dropped: Dropped) {
        self.stats().dropped_frames.add(dropped.frames as u64);
        if dropped.frames > 0 && self.log.admit() {
            let (uid, channel) = (Escaped(&session.uid), Escaped(&session.channel));
            tracing::warn!(
                peer = %session.peer, %uid, %channel,
                frames = dropped.frames, bytes = dropped.bytes,
                "member is slow: dropped the oldest frames of its queue"
            );
        }
    }

    fn report_member_end(&self, session: &Session, ended: &Ended, unsent: Dropped) {
        let stats = self.stats();
        stats.sessions.of(session.transport).sub(1);
        let counter = match ended {
            Ended::ByPeer(_) if session.is_contested.get() => &stats.replaced,
            Ended::ByPeer(error) if has_not_read(error, unsent) => {
                stats.slow_disconnects.of(SlowReason::NoProgress)
            }
            Ended::ByPeer(_) | Ended::Stopping => &stats.left,
            Ended::Protocol(_) | Ended::Fault(_) => &stats.protocol_errors,
            Ended::Denied(denied) if denied.is_expiry() => &stats.tokens_expired,
            Ended::Denied(_) => &stats.denied_disconnects,
            Ended::Overdrawn => &stats.partials_evicted,
            Ended::Overdue => &stats.frames_overdue,
            Ended::Slow(reason) => stats.slow_disconnects.of(*reason),
            Ended::Replaced => &stats.replaced,
            Ended::LetGo(_) => &stats.half_closed_evicted,
            Ended::ByOperator => &stats.ended_by_operator,
            Ended::RightsLost(_) => &stats.rights_lost,
            Ended::CutOff => &stats.fleet_disconnects,
        };
        counter.add(1);
        let (peer, frames) = (session.peer, unsent);
        let unsent = unsent.frames;
        let (uid, channel) = (Escaped(&session.uid), Escaped(&session.channel));
        match ended {
            Ended::ByPeer(error) if !has_not_read(error, frames) => {
                tracing::debug!(%peer, %uid, %channel, unsent, %error, "session ended");
            }
            Ended::Stopping | Ended::Replaced | Ended::CutOff => {
                tracing::debug!(%peer, %uid, %channel, unsent, "session ended: {ended:?}");
            }
            _ if !self.log.admit() => {}
            Ended::ByPeer(_) => tracing::warn!(
                %peer, %uid, %channel, unsent,
                "session ended: slow member, its connection timed out with data that it has not taken: it does not read, or it \
                 is gone"
            ),
            Ended::Protocol(error) => tracing::warn!(
                %peer, %uid, %channel, unsent, %error, "session ended: protocol error"
            ),
            Ended::Fault(why) => tracing::warn!(
                %peer, %uid, %channel, unsent, error = %why, "session ended: protocol error"
            ),
            Ended::Denied(denied) => tracing::warn!(
                %peer, %uid, %channel, unsent, "session ended: {denied}"
            ),
            Ended::Overdrawn => tracing::warn!(
                %peer, %uid, %channel, unsent,
                "session ended: closed to free memory for incomplete frames (partial_bytes); its \
                 frame had not progressed for longest"
            ),
            Ended::Overdue => tracing::warn!(
                %peer, %uid, %channel, unsent,
                "session ended: an incomplete frame did not progress within frame_deadline"
            ),
            Ended::Slow(reason) => tracing::warn!(
                %peer, %uid, %channel, unsent, "session ended: {}", slow_text(*reason)
            ),
            Ended::ByOperator => tracing::info!(
                %peer, %uid, %channel, unsent, "session ended by an operator"
            ),
            Ended::RightsLost(denied) => tracing::warn!(
                %peer, %uid, %channel, unsent,
                "session ended: it has lost its rights in a reload: {denied}"
            ),
            Ended::LetGo(full) => tracing::warn!(
                %peer, %uid, %channel, unsent, limit = full.limit(),
                "session ended: half-closed, and made room at the limit"
            ),
        }
    }

    /// Ends what is left of the sessions when a stop may wait no longer. Returns how many there
    /// were and how many frames they did not get.
    pub(super) fn end_all(self: &Rc<Self>) -> (usize, usize) {
        let sessions = self.registry.borrow().members();
        let mut frames = 0;
        for session in &sessions {
            if session.phase.replace(SessionPhase::Over) != SessionPhase::Over {
                let unsent = self.leave(session).unsent;
                frames += unsent.frames;
                session.say_why(&Ended::Stopping);
                session.shut_down();
                self.report_end(session, &Ended::Stopping, unsent);
            }
        }
        (sessions.len(), frames)
    }
}

/// Returns `true` if the system has given up a connection whose client took nothing of what was left. Its timer may be over
/// before `write_deadline` is: it runs from the first byte that the client does not take, and not from when the socket is full.
fn has_not_read(error: &io::Error, unsent: Dropped) -> bool {
    error.kind() == io::ErrorKind::TimedOut && unsent.frames > 0
}

/// Returns how a session ends that has lost its seat.
pub(super) fn evicted(limit: Option<LimitReached>) -> Ended {
    limit.map_or(Ended::Replaced, Ended::LetGo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_timeout_with_something_left_shows_a_slow_member() {
        let unsent = |frames| Dropped {
            frames,
            ..Dropped::default()
        };
        let timed_out = io::Error::from(io::ErrorKind::TimedOut);
        assert!(has_not_read(&timed_out, unsent(1)));
        assert!(!has_not_read(&timed_out, unsent(0)));
        let reset = io::ErrorKind::ConnectionReset.into();
        assert!(!has_not_read(&reset, unsent(1)));
    }
}
