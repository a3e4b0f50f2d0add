//! Joins that find their place taken by a session that may be dead: that of the same client, from
//! before it was cut off.
//!
//! Such a join waits while the session in its place is tested (`liveness`), on the shard where that
//! session's connection is. If the client is gone its session ends and the join has the place; if it is
//! still there the join is refused, which is what breaks loops between servers.
//!
//! Invariants:
//!
//! * Only a client that has proved the same key for the same uid makes a session be tested. Every
//!   session here has proved the broker's one key, so the uid tells. Servers are told apart by their
//!   links, and one that is linked already comes back for the place of any that is gone.
//! * One join waits for each session, the newest: it is the client's last attempt. It keeps the bytes
//!   that it has, charged to the memory of those who have not joined, and nothing more is read of it.
//! * It gets its history when it gets its place, as any join.
//! * However the session in its place ends, the join has its turn at once; and at the end of
//!   [`PATIENCE`] it is refused.

use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::ended::Ended;
use super::ids::{ChannelId, ShardId};
use super::liveness::PATIENCE;
use super::message::{Arrival, Delivery, Request, Socket};
use super::refusal::Refusal;
use super::session::{Role, Session};
use super::{BrokerPhase, Shard};
use crate::channel::{Place, SessionId};

/// Time for messages between shards, besides the test itself.
const SLACK: Duration = Duration::from_millis(500);

/// The joins that wait, by the session in their place.
pub(super) type Takeovers = HashMap<SessionId, Takeover>;

/// A session that is tested, and the join that wants its place.
#[derive(Debug)]
pub(super) struct Takeover {
    waiting: WaitingJoin,
    /// Ends the test when it is dropped.
    _test: oneshot::Sender<Infallible>,
}

#[derive(Debug)]
struct WaitingJoin {
    arrival: Arrival<Socket>,
    /// The reason to refuse it if the session in its place is alive.
    refusal: Refusal,
    /// Bytes reserved for it in the memory of connections that have not joined.
    charged: usize,
}

/// The session in a join's place.
enum Incumbent {
    Here(Rc<Session>),
    On(ShardId, ChannelId, SessionId),
}

impl Shard {
    /// Has a join wait until it is known whether the session in its place is alive. It is refused at
    /// once if there is no such session, or no memory to wait in.
    pub(super) fn wait_or_refuse(self: &Rc<Self>, arrival: Arrival<Socket>, refusal: Refusal) {
        let Some(holder) = self.holder(&arrival, &refusal) else {
            return self.refuse(arrival, refusal);
        };
        let charged = arrival.weight();
        if self
            .join_scratch
            .borrow_mut()
            .allowance
            .reserve(charged)
            .is_err()
        {
            return self.refuse(arrival, refusal);
        }
        let uid = arrival.identity.uid.clone();
        let waiting = WaitingJoin {
            arrival,
            refusal,
            charged,
        };
        let id = match &holder {
            Incumbent::Here(session) => session.id,
            Incumbent::On(_, _, session) => *session,
        };
        let mut takeovers = self.takeovers.borrow_mut();
        if let Some(takeover) = takeovers.get_mut(&id) {
            let before = std::mem::replace(&mut takeover.waiting, waiting);
            drop(takeovers);
            let (arrival, _) = self.waited(before);
            return self.refuse(arrival, Refusal::Superseded);
        }
        let (test, is_wanted) = oneshot::channel();
        let takeover = Takeover {
            waiting,
            _test: test,
        };
        takeovers.insert(id, takeover);
        drop(takeovers);
        match holder {
            Incumbent::Here(session) => self.spawn(self.clone().test_here(session, is_wanted)),
            Incumbent::On(shard, channel, session) => {
                self.deliver_to(
                    shard,
                    Delivery::Test {
                        channel,
                        session,
                        uid,
                    },
                );
                self.spawn(self.clone().test_there(session, is_wanted));
            }
        }
    }

    /// Returns the session in a join's place, if it may be one of the same client.
    fn holder(&self, arrival: &Arrival<Socket>, refusal: &Refusal) -> Option<Incumbent> {
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(&arrival.channel)?;
        let room = registry.room(at)?;
        let cid = match refusal {
            Refusal::CidInUse => arrival.identity.cid,
            Refusal::Duplicate => room.holder_of_uid(&arrival.identity.uid)?,
            _ => return None,
        };
        let seat = *room.channel.seat(cid)?;
        match seat.place {
            Place::Relay(shard) => Some(Incumbent::On(ShardId(shard), room.id, seat.session)),
            Place::Local(key) => {
                let session = &room.channel.local.get(key, seat.session)?.handle;
                let are_servers = session.role == Role::Downstream && arrival.hello().is_some();
                let is_same = are_servers || session.uid == arrival.identity.uid;
                is_same.then(|| Incumbent::Here(session.clone()))
            }
        }
    }

    /// Tests a session of this shard.
    async fn test_here(
        self: Rc<Self>,
        session: Rc<Session>,
        is_wanted: oneshot::Receiver<Infallible>,
    ) {
        let is_there = tokio::select! {
            is_there = self.is_there(&session) => is_there,
            () = self.reached(BrokerPhase::Draining) => true,
            _ = is_wanted => return,
        };
        if is_there {
            self.refuse_waiting(session.id);
        } else {
            self.end(&session, Ended::Replaced);
        }
    }

    /// Waits for what the test of a session on another shard comes to.
    async fn test_there(
        self: Rc<Self>,
        session: SessionId,
        is_wanted: oneshot::Receiver<Infallible>,
    ) {
        tokio::select! {
            () = sleep(PATIENCE + SLACK) => {}
            () = self.reached(BrokerPhase::Draining) => {}
            _ = is_wanted => return,
        }
        self.refuse_waiting(session);
    }

    /// Tests a relay member for the owner of its channel. If it is not there any more, neither is its
    /// seat: the owner was told before.
    pub(super) fn test_relayed(self: &Rc<Self>, channel: ChannelId, session: SessionId, uid: &str) {
        let Some(member) = self.relayed(channel, session) else {
            return;
        };
        if *member.uid != *uid {
            return self.request(channel.owner, Request::Alive { session });
        }
        let shard = self.clone();
        self.spawn(async move {
            if shard.is_there(&member).await {
                shard.request(channel.owner, Request::Alive { session });
            } else {
                shard.end(&member, Ended::Replaced);
            }
        });
    }

    /// Gives the join its turn that waits for a session which has given up its seat, or gives way to any other, as soon as
    /// the caller is done.
    pub(super) fn has_given_way(self: &Rc<Self>, session: SessionId) {
        let takeover = self.takeovers.borrow_mut().remove(&session);
        if let Some(takeover) = takeover {
            let (arrival, _) = self.waited(takeover.waiting);
            let shard = self.clone();
            self.spawn(async move { shard.seat_at_once(arrival) });
        }
    }

    /// Refuses the join that waits for the seat of a session, which is alive.
    pub(super) fn refuse_waiting(self: &Rc<Self>, session: SessionId) {
        let takeover = self.takeovers.borrow_mut().remove(&session);
        if let Some(takeover) = takeover {
            let (arrival, refusal) = self.waited(takeover.waiting);
            let is_running = self.is_running();
            let refusal = if is_running {
                refusal
            } else {
                Refusal::Stopping
            };
            self.refuse(arrival, refusal);
        }
    }

    /// Gives back what a join took while it waited.
    fn waited(&self, waiting: WaitingJoin) -> (Arrival<Socket>, Refusal) {
        let scratch = &mut self.join_scratch.borrow_mut();
        scratch.allowance.refund(waiting.charged);
        (waiting.arrival, waiting.refusal)
    }
}
