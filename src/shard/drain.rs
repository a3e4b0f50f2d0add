//! Stopping: clients are let go over a spread of time, each with all that was queued for it.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Shard;
use super::ended::Ended;
use super::ids::ShardId;
use super::message::Request;
use super::session::{Session, SessionPhase};
use crate::channel::MemberKey;

/// Between two groups of clients that are let go.
const TICK: Duration = Duration::from_millis(10);
/// Time between two looks at whether everything has come from other shards.
const CATCH_UP: Duration = Duration::from_millis(1);
/// Clients let go at once even if the time allowed would do for smaller groups: 5,000 a second.
const GROUP: usize = 50;
/// Time that a client which has got everything may take to close its side.
const LINGER: Duration = Duration::from_millis(250);

impl Shard {
    /// Lets all clients of this shard go, over half of the time allowed at most so that they do
    /// not come back all at once, and waits for them until that time is over.
    pub(super) async fn drain(self: &Rc<Self>) {
        let allowed = self.common.settings().drain_deadline;
        let deadline = Instant::now() + allowed;
        self.catch_up(deadline).await;
        self.lets_go.set(true);
        let sessions = self.registry.borrow().members();
        let ticks = (allowed / 2).as_millis() / TICK.as_millis();
        let group = sessions
            .len()
            .div_ceil(usize::try_from(ticks).unwrap_or(1).max(1))
            .max(GROUP);
        for sessions in sessions.chunks(group) {
            for session in sessions {
                self.finish(session);
            }
            sleep(TICK).await;
        }
        drop(sessions);
        while self.sessions.get() > 0 && Instant::now() < deadline {
            sleep_until((Instant::now() + TICK).min(deadline)).await;
        }
        let (sessions, frames) = self.end_all();
        if sessions > 0 {
            tracing::warn!(
                shard = self.id.0,
                sessions,
                frames,
                "stopped before these sessions had received all their frames"
            );
        }
    }

    /// Waits for what other shards have sequenced, or been sent to sequence, before the stop began:
    /// a member whose queue is empty has not got everything while that is on its way. No longer than
    /// until half of the time is over.
    async fn catch_up(&self, deadline: Instant) {
        let others = (0..self.common.shards()).filter(|&index| index != self.id.index());
        for shard in others.filter_map(|index| u16::try_from(index).ok().map(ShardId)) {
            self.behind.set(self.behind.get() + 1);
            self.request(shard, Request::Through { shard: self.id });
        }
        let until = Instant::now() + (deadline - Instant::now()) / 2;
        while self.behind.get() > 0 && Instant::now() < until {
            sleep(CATCH_UP).await;
        }
    }

    /// Lets one client go: our side is closed as soon as its queue is empty.
    pub(super) fn finish(self: &Rc<Self>, session: &Rc<Session>) {
        match session.phase.get() {
            // It ends when what has come is read.
            SessionPhase::Over | SessionPhase::Unwritable => return,
            SessionPhase::Joined | SessionPhase::HalfClosed | SessionPhase::Finishing => {
                session.phase.set(SessionPhase::Finishing);
            }
        }
        if self.has_empty_queue(session) {
            self.close_write(session);
        }
        let (shard, session) = (self.clone(), session.clone());
        self.spawn(async move {
            while !shard.has_empty_queue(&session) {
                sleep(TICK).await;
            }
            sleep(LINGER).await;
            shard.end(&session, Ended::Stopping);
        });
    }

    /// Returns `true` if nothing is queued for the session any more, or it has given up its seat already.
    fn has_empty_queue(&self, session: &Session) -> bool {
        let mut registry = self.registry.borrow_mut();
        let queued = |key: MemberKey| {
            let members = registry.local_members(session.home)?;
            let is_queued = !members.local.get(key, session.id)?.outbox.is_empty();
            Some(is_queued || !session.writer.is_clear())
        };
        !session.key.get().and_then(queued).unwrap_or(false) && session.writer.is_clear()
    }
}
