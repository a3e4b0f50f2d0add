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
mod close;
pub(crate) mod counter;
mod dirty;
pub(crate) mod drain;
pub(crate) mod ended;
mod expiry;
pub(crate) mod farewell;
mod flush;
pub(crate) mod frame_deadline;
pub(crate) mod framing;
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
use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use pin_project_lite::pin_project;
use siphasher::sip::SipHasher24;
use tokio::sync::{mpsc, watch};

use crate::access::{Access, Subject};
use crate::channel::{ChannelSettings, SessionId};
use crate::peer::known::Digester;
use crate::peer::status::LinkEntry;
use crate::settings::Settings;
use crate::tcp_info::TcpInspector;
use crate::tls::ClientTls;
pub(crate) use ids::{ChannelId, ShardId};
use input::Scratch;
use inspect::{Inspection, ShardLoad};
use latency::LatencySampler;
use limits::Limiter;
use links::Merging;
use links::received_resync::ResyncMemory;
use live::{Live, LiveRef, ReadLimits};
pub(crate) use log_limiter::LogLimiter;
use mailbox::{MailboxMeter, Outlet};
use message::{Delivery, Request};
use parked::Parked;
use pause::Pause;
use registry::Registry;
use sampler::StalledMembers;
use stats::ShardStats;
use storing::{OpenStore, ShardStore, StoreInfo};
use takeover::Takeovers;
use turn::Lane;
use wake::Wake;
use watchdog::{TaskKind, TurnMark};

/// Lifecycle of a broker. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BrokerPhase {
    /// Clients are served.
    Running,
    /// Clients are served, and new ones as well, but those who choose a server are told to choose another.
    Unready,
    /// No one new is served; clients get what is queued for them and are let go.
    Draining,
    /// No client is left; shards hand over to the store what it does not have yet.
    Saving,
    /// Every shard returns at once.
    Stopped,
}

/// Meters of the mailboxes of all shards, by the shard's index.
#[derive(Debug, Default)]
struct MailboxMeters {
    requests: Vec<MailboxMeter<Request>>,
    deliveries: Vec<MailboxMeter<Delivery>>,
}

/// What waits in the mailboxes of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// Messages to it as the owner of channels.
    pub(crate) requests: usize,
    /// Messages to it as one that relays channels.
    pub(crate) deliveries: usize,
    /// Bytes of frames in all of them.
    pub(crate) bytes: usize,
    /// Time for which there were always some that it had not come to.
    pub(crate) age: Duration,
}

/// State that all shards of a broker share. The message path never touches it, counters aside.
#[derive(Debug)]
pub(crate) struct Common {
    /// The settings in force.
    live: ArcSwap<Live>,
    /// Counts connections and channels against their limits.
    pub(crate) limiter: Arc<Limiter>,
    /// The counters of each shard, by its index.
    pub(crate) stats: Vec<ShardStats>,
    /// Tells every task when the broker begins to drain, and when it stops.
    pub(crate) phase: watch::Sender<BrokerPhase>,
    /// Names this broker to other servers; random.
    pub(crate) server_id: u64,
    /// The TLS configuration for upstreams, if one of them is reached over TLS.
    peer_tls: Option<ClientTls>,
    /// The state of each link to an upstream, for whoever asks for it.
    pub(crate) links: DashMap<ChannelId, Arc<LinkEntry>>,
    /// Hashes frames that pass over links.
    digester: Digester,
    /// The memory for resyncs that are being read and merged.
    resyncs: ResyncMemory,
    /// Chooses the owner of a channel; keyed by a secret of this process.
    hasher: RandomState,
    /// Wakes each shard that sleeps, by its index.
    wakes: Vec<Arc<Wake>>,
    /// Show how full the mailboxes are.
    meters: RwLock<MailboxMeters>,
    /// When the broker was started.
    started: Instant,
    /// Questions of the admin listener to each shard, by its index.
    pub(crate) inspectors: Vec<mpsc::Sender<Inspection>>,
    /// How much each shard has to do, by its index. Locked once in a second, and only while somebody may ask.
    pub(crate) loads: Vec<Mutex<ShardLoad>>,
    /// Shards that accept connections.
    accepting: AtomicUsize,
    /// Shards that still have sessions to let go.
    undrained: AtomicUsize,
    /// Shards that still have clients, who may publish.
    with_clients: AtomicUsize,
    /// Shards that have something to hand over to the store.
    unsaved: AtomicUsize,
    /// Shards that could not hand it over.
    lost: AtomicUsize,
    /// The store, if there is one.
    pub(crate) store: Option<StoreInfo>,
    /// The secret that names of publishers are made with.
    publisher_secret: u128,
    /// Set when a thread or task of the broker has panicked.
    panicked: AtomicBool,
}

impl Common {
    fn new(
        settings: Settings,
        peer_tls: Option<ClientTls>,
        wakes: Vec<Arc<Wake>>,
        meters: MailboxMeters,
        inspectors: Vec<mpsc::Sender<Inspection>>,
        store: Option<&OpenStore>,
    ) -> Self {
        let shards = wakes.len();
        Self {
            limiter: Limiter::new(settings.limits.clone()),
            stats: (0..shards).map(|_| ShardStats::default()).collect(),
            phase: watch::Sender::new(BrokerPhase::Running),
            server_id: rand::random(),
            peer_tls,
            links: DashMap::new(),
            digester: Digester::default(),
            resyncs: ResyncMemory::new(settings.limits.max_frame),
            hasher: RandomState::new(),
            wakes,
            meters: RwLock::new(meters),
            started: Instant::now(),
            inspectors,
            loads: (0..shards).map(|_| Mutex::default()).collect(),
            accepting: AtomicUsize::new(0),
            undrained: AtomicUsize::new(shards),
            with_clients: AtomicUsize::new(shards),
            unsaved: AtomicUsize::new(shards),
            lost: AtomicUsize::new(0),
            store: store.map(|store| StoreInfo::new(store, settings.limits.max_channels)),
            publisher_secret: store.map_or_else(rand::random, |store| store.loaded.secret),
            panicked: AtomicBool::new(false),
            live: ArcSwap::from_pointee(Live::new(settings, 0)),
        }
    }

    /// Returns `true` while every shard turns its loop.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.stats.iter().any(|shard| shard.turn.is_stuck())
    }

    /// Returns what is in force now, for one look. What waits meanwhile takes [`Self::live_arc`].
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// Returns what is in force now, to be kept for a while.
    pub(crate) fn live_arc(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Returns the settings in force, for one look.
    pub(crate) fn settings(&self) -> LiveRef<Settings> {
        LiveRef::new(self.live(), |live| &live.settings)
    }

    /// Returns what decides who may join now, for one look.
    pub(crate) fn access(&self) -> LiveRef<Access> {
        LiveRef::new(self.live(), |live| &live.access)
    }

    /// Returns the nanoseconds since the broker was started.
    fn nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns that time in nanoseconds since the broker was started.
    fn nanos_at(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Returns the age of the oldest change that the store does not have yet.
    pub(crate) fn store_lag(&self) -> Duration {
        let now = self.nanos();
        let waiting = self.stats.iter().map(|shard| shard.unsaved_since.get());
        let oldest = waiting.filter(|&since| since > 0).min();
        oldest.map_or(Duration::ZERO, |since| {
            Duration::from_nanos(now.saturating_sub(since))
        })
    }

    /// Returns how far each shard is behind with what others ask of it, by its index.
    pub(crate) fn backlogs(&self) -> Vec<Backlog> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        let meters = meters.requests.iter().zip(&meters.deliveries);
        meters
            .zip(&self.stats)
            .map(|((requests, deliveries), stats)| {
                let since = stats.backlog_since.get();
                Backlog {
                    requests: requests.messages(),
                    deliveries: deliveries.messages(),
                    bytes: requests.bytes() + deliveries.bytes(),
                    age: if since == 0 {
                        Duration::ZERO
                    } else {
                        Duration::from_nanos(self.nanos().saturating_sub(since))
                    },
                }
            })
            .collect()
    }

    /// Lets go of what is left in the mailboxes, when all shards have ended: a meter keeps it.
    pub(crate) fn close_mailboxes(&self) {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        *meters = MailboxMeters::default();
    }

    /// Returns the TLS configuration for upstreams, if one of them is reached over TLS.
    pub(crate) fn peer_tls(&self) -> Option<ClientTls> {
        self.peer_tls.clone()
    }

    /// Puts other settings in force. Shards apply them to what is open when they are told: see
    /// [`Shard::apply_live`].
    pub(crate) fn replace_settings(&self, settings: Settings) {
        self.limiter.set_limits(settings.limits.clone());
        self.resyncs.make_room(settings.limits.max_frame);
        let generation = self.live().generation.wrapping_add(1);
        self.live.store(Arc::new(Live::new(settings, generation)));
    }

    /// Returns the number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.wakes.len()
    }

    /// Returns `true` once every shard accepts connections.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire) >= self.shards()
    }

    /// Records that one shard has let its sessions go. When all have, the broker stops, once what is left is in the
    /// store, if it has one.
    fn drained(&self) {
        if self.undrained.fetch_sub(1, Ordering::AcqRel) == 1 {
            let has_store = self.store.is_some();
            self.advance(if has_store {
                BrokerPhase::Saving
            } else {
                BrokerPhase::Stopped
            });
        }
    }

    /// Records that one shard has handed over all that it had, or could not. When all have, the broker stops. A shard that
    /// is stopped at once does neither.
    fn saved(&self, has_all: bool) {
        self.lost.fetch_add((!has_all).into(), Ordering::AcqRel);
        if self.unsaved.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.advance(BrokerPhase::Stopped);
        }
    }

    /// Returns `true` if every shard has come to the end of a drain, and of its last batch.
    pub(crate) fn has_drained(&self) -> bool {
        self.unsaved.load(Ordering::Acquire) == 0
    }

    /// Returns `true` if every shard has handed over all that it had, at the end of a drain.
    pub(crate) fn has_saved_all(&self) -> bool {
        self.has_drained() && self.lost.load(Ordering::Acquire) == 0
    }

    /// Records that one shard has let its clients go.
    fn let_go(&self) {
        self.with_clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns `true` if all shards have let their clients go.
    fn has_let_go(&self) -> bool {
        self.with_clients.load(Ordering::Acquire) == 0
    }

    /// Begins to let the clients go: after `drain_grace`, in which the broker is only not ready any more.
    pub(crate) fn begin_drain(&self) {
        let has_grace = !self.settings().drain_grace.is_zero();
        self.advance(if has_grace {
            BrokerPhase::Unready
        } else {
            BrokerPhase::Draining
        });
    }

    /// Stops at once because a thread of this broker has panicked.
    pub(crate) fn fail(&self) {
        self.panicked.store(true, Ordering::Release);
        self.advance(BrokerPhase::Stopped);
    }

    /// Returns `true` if a thread or task of this broker has panicked.
    pub(crate) fn has_failed(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }

    /// Moves on to `phase`. Does nothing if the broker is past it.
    pub(crate) fn advance(&self, phase: BrokerPhase) {
        self.phase.send_if_modified(|current| {
            let later = *current < phase;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// Returns a hash of what somebody publishes, by a key that nobody knows.
    pub(crate) fn content_hash(&self, content: &impl Hash) -> u64 {
        self.hasher.hash_one(content)
    }

    /// Returns the number by which a channel knows a publisher again that names itself with an idempotency key. It is
    /// keyed by a secret, so that nobody can choose keys that meet those of others; and the same key of another subject is
    /// another publisher. A store has the secret, so that a key is known after a restart.
    pub(crate) fn publisher_id(&self, subject: Option<Subject<'_>>, uid: &str, key: &str) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.publisher_secret.to_le_bytes());
        let (kind, subject) = match subject {
            None => (0, ""),
            Some(Subject::Key(name)) => (1, name),
            Some(Subject::Token(uid)) => (2, uid),
        };
        hasher.write(&[kind]);
        for part in [subject, uid, key] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        hasher.finish()
    }

    /// Returns the settings of the channel called `name`.
    fn channel_settings(&self, name: &str) -> Arc<ChannelSettings> {
        self.live().channel_settings(name)
    }

    /// Returns the shard that owns the channel called `name`. The hash is keyed by a secret of this
    /// process, so that nobody can choose names that all fall to one shard.
    pub(crate) fn owner(&self, name: &str) -> ShardId {
        let shards = self.shards() as u64;
        let shard = self.hasher.hash_one(name) % shards;
        ShardId(u16::try_from(shard).unwrap_or_default())
    }
}

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
    /// The store of the channels that keep their history on disk, if there is one.
    store: Option<ShardStore>,
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

    /// Runs a task on this shard. If it panics the broker stops: a shard that lost a task could
    /// serve its channels only in part.
    pub(crate) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let kind = kind_of(&self.stats().turn, &task);
        let guard = PanicGuard {
            shard: self.clone(),
        };
        tokio::task::spawn_local(Guarded { task, guard, kind });
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

/// Returns the kind of `task`, for the watchdog.
fn kind_of<F>(mark: &TurnMark, _task: &F) -> TaskKind {
    mark.kind_of::<F>()
}

pin_project! {
    /// A task and its guard. Not an `async` block, which would hold the task twice over.
    struct Guarded<F> {
        #[pin]
        task: F,
        guard: PanicGuard,
        kind: TaskKind,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let stats = this.guard.shard.stats();
        stats.turn.begin(*this.kind);
        turn::begin();
        let polled = this.task.poll(cx);
        stats.turn.end();
        stats.longest_turn.raise(turn::spent().into());
        polled
    }
}

/// Stops the broker when it is dropped by a panic.
struct PanicGuard {
    shard: Rc<Shard>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                shard = self.shard.id.0,
                "a task of this shard panicked; stopping"
            );
            self.shard.common.fail();
        }
    }
}
