//! The server as a whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::unix_seconds;
use crate::admin::process;
use crate::admin::server::AdminState;
use crate::settings::{Limits, ListenerKind, StoreSync};
use crate::shard::Common;
use crate::shard::labels::MemoryKind;
use crate::shard::stats::Stats;

/// The server as a whole.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ServerView {
    version: &'static str,
    /// Seconds since the epoch of Unix.
    started: u64,
    uptime_seconds: u64,
    pid: u32,
    state: &'static str,
    shards: usize,
    listeners: Vec<ListenerView>,
    connections: u64,
    channels: u64,
    sessions: u64,
    limits: LimitsView,
    certificate: Option<CertificateView>,
    memory: MemoryView,
    store: Option<StoreView>,
    fleet: Option<FleetView>,
    /// All counters, by name.
    totals: BTreeMap<&'static str, u64>,
}

/// A listener for clients.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ListenerView {
    kind: &'static str,
    address: String,
}

/// The limits that counts are to be compared with.
#[derive(Debug, Serialize)]
struct LimitsView {
    max_connections: usize,
    max_connections_per_address: usize,
    max_joining: usize,
    max_half_closed: usize,
    max_channels: usize,
    max_frame: usize,
}

/// The certificate of the TLS listeners.
#[derive(Debug, Serialize)]
struct CertificateView {
    file: String,
    /// Seconds since the epoch of Unix, for the first certificate of the chain that expires; `null` if none can be read.
    expires: Option<u64>,
}

/// Memory in bytes.
#[derive(Debug, Serialize)]
struct MemoryView {
    /// Resident memory of the process; `null` where the system does not tell.
    resident: Option<u64>,
    /// Histories of channels, and what is remembered of publishers.
    history: u64,
    history_limit: u64,
    /// Incomplete frames of members.
    partial: u64,
    partial_limit: u64,
    /// Incomplete frames of connections that have not joined.
    joining: u64,
    joining_limit: u64,
    /// Queues of members whose sockets are full.
    queued: u64,
}

/// The store of histories on disk.
#[derive(Debug, Serialize)]
struct StoreView {
    dir: String,
    /// An interval such as `100ms`, `batch` or `os`.
    sync: String,
    /// Reason for which nothing can be written; `null` while it can.
    failure: Option<String>,
    /// Since when, in seconds since the epoch of Unix.
    failing_since: Option<u64>,
    /// Age of the oldest change that is not in the store yet.
    lag_ms: u128,
    disk_bytes: u64,
    written_bytes: u64,
    batches: u64,
    failed_batches: u64,
    commits: u64,
    loaded_channels: usize,
    loaded_messages: u64,
    forgotten_channels: usize,
}

/// The fleet that the server is a node of.
#[derive(Debug, Serialize)]
struct FleetView {
    name: String,
    /// State of the node: `starting`, `serving`, `stalled`, `cut off` or `unusable`.
    phase: &'static str,
    connected: bool,
    /// What is wrong with the log, while something is.
    trouble: Option<Box<str>>,
    epoch: String,
    epoch_number: u64,
    /// Place in the log of the newest record that was applied.
    sequence: u64,
    /// Records of the log that are known and were not applied.
    lag: u64,
    /// Milliseconds since a record of this node came back; `null` before the first.
    own_record_age_ms: Option<u128>,
    batches: u64,
    retries: u64,
    records: u64,
    repeats: u64,
    fenced: u64,
    late: u64,
    let_go_frames: u64,
    unreadable: u64,
    reconnects: u64,
    restarts: u64,
    differences: u64,
}

/// Returns the server as a whole.
pub(in crate::admin) fn server(state: &AdminState) -> ServerView {
    let common = &state.common;
    let stats = Stats::of(common);
    let settings = common.settings();
    let uptime = state.started.elapsed().unwrap_or_default();
    ServerView {
        version: env!("CARGO_PKG_VERSION"),
        started: unix_seconds(state.started),
        uptime_seconds: uptime.as_secs(),
        pid: std::process::id(),
        state: common.state().name(),
        shards: common.shards(),
        listeners: state.directory.listeners().iter().map(listener).collect(),
        connections: stats.connections,
        channels: stats.channels,
        sessions: stats.sessions,
        limits: (&settings.limits).into(),
        certificate: certificate(state),
        memory: memory(common),
        store: store(common),
        fleet: fleet(common),
        totals: stats.entries().collect(),
    }
}

fn store(common: &Common) -> Option<StoreView> {
    let store = common.store.as_ref()?;
    let settings = common.settings();
    let (status, failure) = (&store.status, store.status.failure());
    let dir = settings.store.dir.as_ref();
    Some(StoreView {
        dir: dir.map_or_else(String::new, |dir| dir.display().to_string()),
        sync: match settings.store.sync {
            StoreSync::Interval(interval) => format!("{interval:?}"),
            StoreSync::Batch => "batch".to_owned(),
            StoreSync::Os => "os".to_owned(),
        },
        failing_since: failure.as_ref().map(|failure| unix_seconds(failure.since)),
        failure: failure.map(|failure| failure.reason.to_string()),
        lag_ms: common.store_lag().as_millis(),
        disk_bytes: status.disk_space.get(),
        written_bytes: status.bytes.get(),
        batches: status.batches.get(),
        failed_batches: status.failed_batches.get(),
        commits: status.commits.get(),
        loaded_channels: store.channels,
        loaded_messages: store.messages.load(Ordering::Relaxed),
        forgotten_channels: store.forgotten,
    })
}

fn fleet(common: &Common) -> Option<FleetView> {
    let status = common.fleet.as_ref()?.status();
    let name = common.settings().fleet.name.clone();
    let epoch = status.epoch();
    Some(FleetView {
        name: name.map_or_else(String::new, |name| name.to_string()),
        phase: status.phase().name(),
        connected: status.is_connected(),
        trouble: status.trouble(),
        epoch: epoch.id.to_string(),
        epoch_number: epoch.number,
        sequence: status.applied().0,
        lag: status.lag(),
        own_record_age_ms: status.own_record_age().map(|age| age.as_millis()),
        batches: status.batches.get(),
        retries: status.retries.get(),
        records: status.records.get(),
        repeats: status.repeats.get(),
        fenced: status.fenced.get(),
        late: status.late.get(),
        let_go_frames: status.let_go_frames.get(),
        unreadable: status.unreadable.get(),
        reconnects: status.reconnects.get(),
        restarts: status.restarts.get(),
        differences: status.differences.get(),
    })
}

fn memory(common: &Common) -> MemoryView {
    let used = |kind| {
        let shards = common.stats.iter();
        shards.map(|shard| shard.memory_bytes.of(kind).get()).sum()
    };
    let limit = |kind| {
        let shards = common.stats.iter();
        shards
            .map(|shard| shard.memory_limit_bytes.of(kind).get())
            .sum()
    };
    MemoryView {
        resident: process::resident_bytes(),
        history: used(MemoryKind::History),
        history_limit: limit(MemoryKind::History),
        partial: used(MemoryKind::Partial),
        partial_limit: limit(MemoryKind::Partial),
        joining: used(MemoryKind::Joining),
        joining_limit: limit(MemoryKind::Joining),
        queued: used(MemoryKind::Queues),
    }
}

pub(in crate::admin) fn listener(&(kind, address): &(ListenerKind, SocketAddr)) -> ListenerView {
    ListenerView {
        kind: match kind {
            ListenerKind::Mles => "tcp",
            ListenerKind::MlesTls => "tls",
            ListenerKind::WebSocket => "ws",
            ListenerKind::WebSocketTls => "wss",
        },
        address: address.to_string(),
    }
}

fn certificate(state: &AdminState) -> Option<CertificateView> {
    let tls = state.directory.tls()?;
    Some(CertificateView {
        file: tls.certificate_file().display().to_string(),
        expires: tls.expires().map(unix_seconds),
    })
}

impl From<&Limits> for LimitsView {
    fn from(limits: &Limits) -> Self {
        Self {
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            max_joining: limits.max_joining,
            max_half_closed: limits.max_half_closed,
            max_channels: limits.max_channels,
            max_frame: limits.max_frame,
        }
    }
}
