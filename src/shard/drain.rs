//! Stopping: clients are let go over a period of time, each with all that was queued for it, and then the links.
//!
//! The order is the same on all shards:
//!
//! 1. The broker is not ready any more, and serves all the same, for `drain_grace`.
//! 2. Nobody new is let in. What has been sent to other shards is waited for.
//! 3. Clients are let go one after the other, over `drain_period`. Those that can be told are told when to come back.
//! 4. Links to upstreams end when all shards have let their clients go: what these publish meanwhile still goes up.
//! 5. Whoever is left at `drain_deadline` is cut off.
//! 6. When that is so on all shards, what is left is handed over to the store, if there is one.

use std::rc::Rc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::ended::Ended;
use super::ids::ShardId;
use super::message::Request;
use super::session::{Role, Session, SessionPhase};
use super::{BrokerPhase, Shard};
use crate::channel::MemberKey;
use crate::protocol::Notice;

/// Time between two looks at what is waited for, and between two groups of clients that are let go.
const TICK: Duration = Duration::from_millis(10);
/// Time between two looks at whether everything has come from other shards.
const CATCH_UP: Duration = Duration::from_millis(1);
/// Connections let go in a tick where no period is set and the time allowed would do for fewer: 5,000 a second.
const GROUP: usize = 50;
/// Time that a client which has got everything may take to close its side.
const LINGER: Duration = Duration::from_millis(250);
/// Time that an upstream may take to close its side, which shows that it has got everything.
const LINK_LINGER: Duration = Duration::from_secs(2);
/// Milliseconds after which clients are told to come back, each after another time.
const RETRY: std::ops::Range<u32> = 1000..5000;

/// Sessions that share a connection.
type Connection = Vec<Rc<Session>>;

/// Returns a time in milliseconds after which a client may come back: another one for each, so that they do not come all
/// at once.
pub(crate) fn retry_after() -> u32 {
    rand::random_range(RETRY)
}

impl Shard {
    /// Serves on for `drain_grace`, although the broker is not ready any more, unless it is stopped before that.
    pub(super) async fn hold_out(&self) {
        tokio::select! {
            () = self.reached(BrokerPhase::Draining) => {}
            () = sleep(self.common.settings().drain_grace) => {
                self.common.advance(BrokerPhase::Draining);
            }
        }
    }

    /// Lets all sessions of this shard go, and waits for them until `drain_deadline` is over.
    pub(super) async fn drain(self: &Rc<Self>) {
        let deadline = Instant::now() + self.common.settings().drain_deadline;
        self.catch_up(deadline).await;
        // Receipts for what has come are given first.
        let allowed = deadline.saturating_duration_since(Instant::now());
        self.all_committed(allowed / 2).await;
        self.lets_go.set(true);
        let sessions = self.registry.borrow().members();
        let (links, clients): (Vec<_>, Vec<_>) = sessions
            .into_iter()
            .partition(|session| session.role == Role::Upstream);
        self.let_go(clients, deadline).await;
        self.common.let_go();
        if !links.is_empty() {
            self.let_links_go(links, deadline).await;
        }
        while self.sessions.get() > 0 && Instant::now() < deadline {
            tick(deadline).await;
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

    /// Lets clients go evenly over the period, in random order so that no channel is the first to lose all of its
    /// members, and waits until they are gone. Those whose connection id a link has are the last: the upstream, which
    /// may be where they go, does not let them in before the link has ended.
    async fn let_go(self: &Rc<Self>, clients: Vec<Rc<Session>>, deadline: Instant) {
        let mut connections = by_connection(clients);
        connections.shuffle(&mut rand::rng());
        connections.sort_by_key(|sessions| sessions.iter().any(|session| self.is_above(session)));
        let (period, allowed) = {
            let settings = self.common.settings();
            (settings.drain_period, settings.drain_deadline)
        };
        let pace = Pace::new(connections.len(), period, allowed);
        let mut ticks = interval(pace.every);
        // What a busy machine has missed is not made up for at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for group in connections.chunks(pace.group) {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep_until(deadline) => return,
            }
            for session in group.iter().flatten() {
                self.finish(session);
            }
        }
        let mut left: Vec<_> = connections.into_iter().flatten().collect();
        while !left.is_empty() && Instant::now() < deadline {
            tick(deadline).await;
            while left.pop_if(|session| session.is_over()).is_some() {}
        }
    }

    /// Lets the links to upstreams go when no client of any shard can publish any more, and all that they have published
    /// has come.
    async fn let_links_go(self: &Rc<Self>, links: Vec<Rc<Session>>, deadline: Instant) {
        while !self.common.has_let_go() && Instant::now() < deadline {
            tick(deadline).await;
        }
        self.catch_up(deadline).await;
        for link in &links {
            self.finish(link);
        }
    }

    /// Waits for what other shards have sequenced, or been sent to sequence, before it was called:
    /// a member whose queue is empty has not got everything while that is on its way. No longer than
    /// until half of the time is over.
    pub(super) async fn catch_up(&self, deadline: Instant) {
        let others = (0..self.common.shards()).filter(|&index| index != self.id.index());
        for shard in others.filter_map(|index| u16::try_from(index).ok().map(ShardId)) {
            self.behind.set(self.behind.get() + 1);
            self.request(shard, Request::Through { shard: self.id });
        }
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / 2;
        while self.behind.get() > 0 && Instant::now() < until {
            sleep(CATCH_UP).await;
        }
    }

    /// Lets one session go: it is told so if it can be, and our side is closed as soon as its queue is empty.
    pub(super) fn finish(self: &Rc<Self>, session: &Rc<Session>) {
        match session.phase.get() {
            // It ends when what has come is read.
            SessionPhase::Over | SessionPhase::Unwritable => return,
            SessionPhase::Joined | SessionPhase::HalfClosed => {
                session.phase.set(SessionPhase::Finishing);
                self.tell_stopping(session);
            }
            SessionPhase::Finishing => {}
        }
        if self.has_empty_queue(session) {
            self.close_write(session);
        }
        let linger = match session.role {
            Role::Upstream => LINK_LINGER,
            Role::Client | Role::Downstream => LINGER,
        };
        let (shard, session) = (self.clone(), session.clone());
        self.spawn(async move {
            while !shard.has_empty_queue(&session) {
                sleep(TICK).await;
            }
            sleep(linger).await;
            shard.end(&session, Ended::Stopping);
        });
    }

    /// Returns `true` if the link of the session's channel has its connection id.
    fn is_above(&self, session: &Session) -> bool {
        let mut registry = self.registry.borrow_mut();
        let room = session.home.owned().and_then(|at| registry.room(at));
        room.is_some_and(|room| room.links.has_cid_above(session.cid))
    }

    /// Tells a session that asks for positions when to come back.
    fn tell_stopping(&self, session: &Session) {
        let retry = retry_after().into();
        self.tell(session, &Notice::Stopping { retry });
    }

    /// Tells a session something, if it asks for positions. Returns `true` if it does.
    pub(super) fn tell(&self, session: &Session, notice: &Notice) -> bool {
        let Some(key) = session.key.get() else {
            return false;
        };
        let mut registry = self.registry.borrow_mut();
        let Some(members) = registry.local_members(session.home) else {
            return false;
        };
        let is_there = members.local.get(key, session.id).is_some();
        let is_told = is_there && members.local.notify(key, notice);
        if is_told {
            self.flush_soon(registry, session.home);
        }
        is_told
    }

    /// Returns `true` if nothing is queued for the session any more, or it has given up its seat already.
    fn has_empty_queue(&self, session: &Session) -> bool {
        let mut registry = self.registry.borrow_mut();
        // Its receipt is still to come.
        let room = session.home.owned().and_then(|at| registry.room(at));
        if room.is_some_and(|room| room.holds_of_session(session.id)) {
            return false;
        }
        let queued = |key: MemberKey| {
            let members = registry.local_members(session.home)?;
            let is_queued = !members.local.get(key, session.id)?.outbox.is_empty();
            Some(is_queued || !session.writer.is_clear())
        };
        !session.key.get().and_then(queued).unwrap_or(false) && session.writer.is_clear()
    }
}

/// Waits for a tick, but not beyond the deadline.
async fn tick(deadline: Instant) {
    sleep_until((Instant::now() + TICK).min(deadline)).await;
}

/// Puts sessions together that share a connection: its client cannot tell that one of them is let go while the others
/// stay.
fn by_connection(mut sessions: Vec<Rc<Session>>) -> Vec<Connection> {
    sessions.sort_by_cached_key(|session| session.connection());
    let connections = sessions.chunk_by(|a, b| a.connection() == b.connection());
    connections.map(<[_]>::to_vec).collect()
}

/// Pace at which the connections of a shard are let go.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    /// Time between two groups.
    every: Duration,
    /// Connections in a group.
    group: usize,
}

impl Pace {
    /// Returns the pace at which `count` connections are let go evenly over `period`. Without one it is half of the time
    /// that is allowed, and not as slow as that for a few.
    fn new(count: usize, period: Option<Duration>, allowed: Duration) -> Self {
        let least = if period.is_some() { 1 } else { GROUP };
        let period = period.unwrap_or(allowed / 2).min(allowed);
        let ticks = usize::try_from(period.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
        let group = count.div_ceil(ticks.max(1)).max(least);
        let groups = u32::try_from(count.div_ceil(group)).unwrap_or(u32::MAX);
        let every = match least {
            1 => period / groups.max(1),
            _ => TICK,
        };
        Self {
            every: every.max(Duration::from_millis(1)),
            group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pace(every: u64, group: usize) -> Pace {
        Pace {
            every: Duration::from_millis(every),
            group,
        }
    }

    #[test]
    fn a_period_is_kept_however_many_there_are() {
        let allowed = Duration::from_secs(100);
        for (count, period, expected) in [
            (0, 10_000, pace(10_000, 1)),
            (1, 10_000, pace(10_000, 1)),
            (10, 10_000, pace(1000, 1)),
            (1000, 10_000, pace(10, 1)),
            (10_000, 10_000, pace(10, 10)),
            (10_001, 10_000, pace(10, 11)),
            (100, 0, pace(1, 100)),
        ] {
            let period = Duration::from_millis(period);
            let found = Pace::new(count, Some(period), allowed);
            // A group that is not full makes the others come a little less often.
            let is_close = found.every.abs_diff(expected.every) <= Duration::from_millis(1);
            assert!(
                is_close && found.group == expected.group,
                "{count}: {found:?}"
            );
            let groups = u32::try_from(count.div_ceil(found.group)).unwrap_or(0);
            assert!(found.every * groups <= period + Duration::from_millis(groups.into()));
        }
    }

    #[test]
    fn without_a_period_a_few_go_at_once() {
        let allowed = Duration::from_secs(10);
        for (count, group) in [(1, GROUP), (GROUP, GROUP), (25_000, GROUP), (50_000, 100)] {
            assert_eq!(Pace::new(count, None, allowed), pace(10, group));
        }
    }

    #[test]
    fn a_period_is_no_longer_than_what_is_allowed() {
        let second = Duration::from_secs(1);
        assert_eq!(Pace::new(10, Some(10 * second), second), pace(100, 1));
    }
}
