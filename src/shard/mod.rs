//! Shards: one thread each, with a runtime of its own and the channels that hash to it.
//!
//! A shard owns its sessions' sockets, the rooms of its channels, and relays of channels that
//! other shards own. Nothing of that is shared: between shards there are only the mailboxes, the
//! wake flags, the counters, and the [`limits`] of the control plane.
//!
//! Invariants:
//!
//! * The owner of a channel alone decides its order. A publish by a relay member travels to the
//!   owner and comes back to the members in that order.
//! * A publish only queues. Sockets are written by the flusher, when every reader that was ready
//!   has had its turn, or by the task of a member whose socket was full.
//! * State is borrowed within one synchronous call and never across an `await`.
//! * A panic in any task of a shard ends the broker: see [`Shard::spawn`].
//!
//! It must not know about listeners, the handshakes of TLS and Mles over TCP, HTTP, WebSocket, or configuration
//! files: that is `net`'s, `gateway`'s and `config`'s.

mod admission;
pub(crate) mod allowance;
pub(crate) mod ask;
mod backlog;
mod close;
mod common;
pub(crate) mod counter;
mod dirty;
pub(crate) mod drain;
pub(crate) mod ended;
mod expiry;
pub(crate) mod farewell;
mod fleet;
mod flush;
pub(crate) mod frame_deadline;
pub(crate) mod framing;
mod held;
mod held_early;
mod ids;
mod inbox;
pub(crate) mod input;
pub(crate) mod inspect;
mod join;
pub(crate) mod labels;
mod latency;
pub(crate) mod layered;
mod leave;
pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod live;
mod liveness;
mod log_limiter;
mod mailbox;
#[cfg(test)]
mod mailbox_tests;
pub(crate) mod message;
mod parked;
pub(crate) mod pause;
pub(crate) mod pending_join;
mod phase;
pub(crate) mod presence;
pub(crate) mod processor;
mod publish;
mod publish_guard;
pub(crate) mod refusal;
mod registry;
mod relay;
mod reload;
mod resume;
mod rights;
mod room;
mod sampler;
mod seat;
mod sequence;
pub(crate) mod session;
mod session_task;
pub(crate) mod socket;
pub(crate) mod stats;
pub(crate) mod storing;
pub(crate) mod stream;
mod sync;
mod takeover;
mod task_guard;
pub(crate) mod thread;
mod token_refresh;
mod traffic;
pub(crate) mod turn;
mod waiting_publications;
mod wake;
pub(crate) mod watchdog;
mod write_round;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::channel::SessionId;
use crate::tcp_info::TcpInspector;
pub(crate) use common::Common;
use fleet::ShardFleet;
use held::HeldTotal;
pub(crate) use ids::{ChannelId, ShardId};
use input::Scratch;
use latency::LatencySampler;
use links::Merging;
use live::ReadLimits;
pub(crate) use log_limiter::LogLimiter;
use mailbox::Outlet;
use message::{Delivery, Request};
use parked::Parked;
use pause::Pause;
pub(crate) use phase::BrokerPhase;
use registry::Registry;
use sampler::StalledMembers;
use stats::ShardStats;
use storing::ShardStore;
use takeover::Takeovers;
use turn::Lane;

/// The state of one shard, which only its own thread touches.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Its place among the shards.
    pub(crate) id: ShardId,
    /// The state that it shares with the other shards.
    pub(crate) common: Arc<Common>,
    /// Limits how many log lines clients can cause.
    pub(crate) log: LogLimiter,
    /// The limits that every read looks at.
    read_limits: Cell<ReadLimits>,
    /// Number of the settings that this shard has applied, or is applying, to what is open.
    generation: Cell<u32>,
    /// The channels that this shard owns or relays.
    registry: RefCell<Registry>,
    /// The read buffer of all members, and the memory for their incomplete frames.
    scratch: RefCell<Scratch>,
    /// Buffer and memory of connections that have not joined: members must not suffer from what anyone can send.
    join_scratch: RefCell<Scratch>,
    /// Mailboxes of the owners of channels, by shard.
    requests: Vec<Outlet<Request>>,
    /// Mailboxes of the shards with relay members, by shard.
    deliveries: Vec<Outlet<Delivery>>,
    /// Pauses every reader of this shard while another shard's mailbox is full.
    congestion: Pause,
    /// Channels in which a server below is being seated.
    merging: RefCell<Merging>,
    /// Connections that stay here while their session waits for a seat elsewhere.
    parked: RefCell<HashMap<SessionId, Parked>>,
    /// Joins that wait while the session in their place is tested.
    takeovers: RefCell<Takeovers>,
    /// Asks the kernel about the connections of sessions that are tested.
    tcp_inspector: TcpInspector,
    /// While the broker stops: shards from which runs may still come.
    behind: Cell<usize>,
    /// Set once a stop has begun to let sessions go: one that is adopted later goes at once.
    lets_go: Cell<bool>,
    /// Sessions by the time at which their rights are over.
    expiries: Rc<expiry::Expiries>,
    /// Wakes the flusher.
    flusher: RefCell<Option<Waker>>,
    /// The queue of tasks whose last turn was expensive.
    lane: Lane,
    /// Number of sessions with a running task.
    sessions: Cell<usize>,
    /// Samples how long runs take.
    latency: LatencySampler,
    /// The members whose sockets are full.
    stalled: StalledMembers,
    /// The runs that rooms hold before they are committed.
    held: HeldTotal,
    /// The store of the channels that keep their history on disk, if there is one.
    store: Option<ShardStore>,
    /// The fleet that this broker is a node of, if it is.
    fleet: Option<ShardFleet>,
}

impl Shard {
    /// Returns the counters of this shard.
    pub(crate) fn stats(&self) -> &ShardStats {
        &self.common.stats[self.id.index()]
    }

    /// Returns the limits that every read looks at.
    pub(crate) fn read_limits(&self) -> ReadLimits {
        self.read_limits.get()
    }

    /// Returns the size of the largest body that is accepted, in bytes.
    pub(crate) fn max_body(&self) -> usize {
        self.read_limits.get().max_body
    }

    /// Returns the read buffer and allowance of connections that have not joined.
    pub(crate) fn join_scratch(&self) -> &RefCell<Scratch> {
        &self.join_scratch
    }

    /// Returns the read buffer and allowance of members, or those of connections that have not joined.
    pub(crate) fn scratch_of(&self, has_joined: bool) -> &RefCell<Scratch> {
        if has_joined {
            &self.scratch
        } else {
            &self.join_scratch
        }
    }

    /// Returns the pause that all readers of this shard wait for while another shard's mailbox is full.
    pub(crate) fn congestion(&self) -> &Pause {
        &self.congestion
    }

    /// Counts a task that serves sessions. A stop waits until all have ended.
    pub(crate) fn task_began(&self) {
        self.sessions.set(self.sessions.get() + 1);
    }

    /// Counts a task that serves sessions no more.
    pub(crate) fn task_ended(&self) {
        self.sessions.set(self.sessions.get() - 1);
    }

    /// Sends to the owner of a channel. Only for other shards.
    fn request(&self, to: ShardId, request: Request) {
        if !self.requests[to.index()].send(request) {
            self.begin_congestion();
        }
    }

    /// Sends to a shard with relay members. Only for other shards.
    fn deliver_to(&self, to: ShardId, delivery: Delivery) {
        if !self.deliveries[to.index()].send(delivery) {
            self.begin_congestion();
        }
    }

    fn begin_congestion(&self) {
        if !self.congestion.is_on() {
            self.congestion.set(true);
            self.stats().congestions.add(1);
            self.stats().congested.set(1);
        }
    }
}
