//! State that the shards of a broker share.

use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use siphasher::sip::SipHasher24;
use tokio::sync::{mpsc, watch};

use super::backlog::MailboxMeters;
use super::ids::{ChannelId, ShardId};
use super::inspect::{Inspection, ShardLoad};
use super::limits::Limiter;
use super::links::received_resync::ResyncMemory;
use super::live::{Live, LiveRef};
use super::phase::BrokerPhase;
use super::stats::ShardStats;
use super::storing::{OpenStore, StoreInfo};
use super::wake::Wake;
use crate::access::{Access, Subject};
use crate::channel::ChannelSettings;
use crate::fleet::{FleetHandle, OpenFleet};
use crate::peer::known::Digester;
use crate::peer::status::LinkEntry;
use crate::protocol::Epoch;
use crate::settings::Settings;
use crate::store::PublisherSecret;
use crate::tls::ClientTls;

/// Returns the secret that the nodes of a fleet share whose log was made with `epoch`.
fn shared_secret(epoch: Epoch) -> PublisherSecret {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&epoch.0.to_le_bytes());
    bytes[8..].copy_from_slice(&(!epoch.0).to_le_bytes());
    PublisherSecret::from_bytes(bytes)
}

/// State that all shards of a broker share. The message path never touches it, counters aside.
#[derive(Debug)]
pub(crate) struct Common {
    /// The settings in force.
    pub(super) live: ArcSwap<Live>,
    /// Counts connections and channels against their limits.
    pub(crate) limiter: Arc<Limiter>,
    /// The counters of each shard, by its index.
    pub(crate) stats: Vec<ShardStats>,
    /// Tells every task when the broker begins to drain, and when it stops.
    pub(crate) phase: watch::Sender<BrokerPhase>,
    /// Names this broker to other servers; random.
    pub(crate) server_id: u64,
    /// The TLS configuration for upstreams, if one of them is reached over TLS.
    pub(super) peer_tls: Option<ClientTls>,
    /// The state of each link to an upstream, for whoever asks for it.
    pub(crate) links: DashMap<ChannelId, Arc<LinkEntry>>,
    /// Hashes frames that pass over links.
    pub(super) digester: Digester,
    /// The memory for resyncs that are being read and merged.
    pub(super) resyncs: ResyncMemory,
    /// Chooses the owner of a channel; keyed by a secret of this process.
    pub(super) hasher: RandomState,
    /// Wakes each shard that sleeps, by its index.
    pub(super) wakes: Vec<Arc<Wake>>,
    /// Show how full the mailboxes are.
    pub(super) meters: RwLock<MailboxMeters>,
    /// When the broker was started.
    pub(super) started: Instant,
    /// Questions of the admin listener to each shard, by its index.
    pub(crate) inspectors: Vec<mpsc::Sender<Inspection>>,
    /// The load of each shard, by its index. Locked once in a second, and only while somebody may ask.
    pub(crate) loads: Vec<Mutex<ShardLoad>>,
    /// Shards that accept connections.
    pub(super) accepting: AtomicUsize,
    /// Shards that still have sessions to let go.
    pub(super) undrained: AtomicUsize,
    /// Shards that still have clients, who may publish.
    pub(super) with_clients: AtomicUsize,
    /// Shards that have something to hand over to the store.
    pub(super) unsaved: AtomicUsize,
    /// Shards that could not hand it over.
    pub(super) lost: AtomicUsize,
    /// The store, if there is one.
    pub(crate) store: Option<StoreInfo>,
    /// The fleet that this broker is a node of, if it is.
    pub(crate) fleet: Option<Arc<FleetHandle>>,
    /// The secret that names of publishers are made with.
    publisher_secret: ArcSwap<PublisherSecret>,
    /// Set when a thread or task of the broker has panicked.
    pub(super) panicked: AtomicBool,
}

impl Common {
    pub(super) fn new(
        settings: Settings,
        peer_tls: Option<ClientTls>,
        wakes: Vec<Arc<Wake>>,
        meters: MailboxMeters,
        inspectors: Vec<mpsc::Sender<Inspection>>,
        store: Option<&OpenStore>,
        fleet: Option<&OpenFleet>,
    ) -> Self {
        let shards = wakes.len();
        let stored = store.map(|store| store.loaded.secret);
        let shared = fleet.map(|fleet| shared_secret(fleet.handle.made_with().id));
        let secret = stored.or(shared).unwrap_or_else(PublisherSecret::random);
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
            fleet: fleet.map(|fleet| fleet.handle.clone()),
            publisher_secret: ArcSwap::from_pointee(secret),
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
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns that time in nanoseconds since the broker was started.
    pub(super) fn nanos_at(&self, at: Instant) -> u64 {
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

    /// Returns the TLS configuration for upstreams, if one of them is reached over TLS.
    pub(crate) fn peer_tls(&self) -> Option<ClientTls> {
        self.peer_tls.clone()
    }

    /// Puts other settings in force. Shards apply them to what is open when they are told: see
    /// [`super::Shard::apply_live`].
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

    /// Has names of publishers made with a secret that all nodes of the fleet have whose log was made with `epoch`.
    #[cfg(feature = "fleet")]
    pub(crate) fn share_secret(&self, epoch: Epoch) {
        self.publisher_secret.store(Arc::new(shared_secret(epoch)));
    }

    /// Returns a hasher that is keyed by the secret of this broker, of its store, or of its fleet.
    fn secret_hasher(&self) -> SipHasher24 {
        SipHasher24::new_with_key(&self.publisher_secret.load().to_bytes())
    }

    /// Returns a hash of what somebody publishes, by a key that is secret.
    pub(crate) fn content_hash(&self, content: &impl Hash) -> u64 {
        let mut hasher = self.secret_hasher();
        content.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns what a publisher is called that `subject` names so: the same number from another subject is another
    /// publisher.
    pub(super) fn own_number(&self, subject: Subject<'_>, publisher: u64) -> u64 {
        self.content_hash(&(subject, publisher))
    }

    /// Returns the number by which a channel knows a publisher again that names itself with an idempotency key. It is
    /// keyed by a secret, so that nobody can choose keys that meet those of others; and the same key of another subject is
    /// another publisher. A store has the secret, so that a key is known after a restart, and so do all nodes of a fleet.
    pub(crate) fn publisher_id(&self, subject: Option<Subject<'_>>, uid: &str, key: &str) -> u64 {
        let mut hasher = self.secret_hasher();
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
    pub(super) fn channel_settings(&self, name: &str) -> Arc<ChannelSettings> {
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
