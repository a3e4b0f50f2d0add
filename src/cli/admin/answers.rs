//! Answers of the admin listener, as far as the commands show them. `docs/OPERATIONS.md` has all fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::figures::{bytes, count, micros, percent, whole_seconds};
use crate::escape::Escaped;

/// Share of the time without a processor from which on that is what is wrong with a shard.
const STARVED: f64 = 0.3;
/// Bytes that may be queued for a member which is not slow: what is to be written next.
const IN_PASSING: u64 = 1 << 16;

/// Counters that grow when something does not arrive, or does not get in.
pub(in crate::cli) const LOSSES: [&str; 16] = [
    "stalls",
    "dropped_frames",
    "slow_disconnects",
    "fleet_disconnects",
    "fleet_undecided_frames",
    "fleet_unkept_frames",
    "refused",
    "turned_away",
    "protocol_errors",
    "frames_overdue",
    "partials_evicted",
    "accept_errors",
    "publishes_denied",
    "throttled",
    "bans",
    "congestions",
];

/// Counters by name.
pub(in crate::cli) type Counters = BTreeMap<String, u64>;

/// The server as a whole.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Server {
    pub(in crate::cli) version: String,
    /// When it was started, in seconds since 1970.
    pub(in crate::cli) started: u64,
    pub(in crate::cli) uptime_seconds: u64,
    pub(in crate::cli) pid: u32,
    /// `starting`, `running` or `draining`.
    pub(in crate::cli) state: String,
    pub(in crate::cli) listeners: Vec<Listener>,
    pub(in crate::cli) connections: u64,
    pub(in crate::cli) channels: u64,
    pub(in crate::cli) sessions: u64,
    pub(in crate::cli) limits: Limits,
    pub(in crate::cli) certificate: Option<Certificate>,
    pub(in crate::cli) memory: Memory,
    /// Unknown for a server without a store, or of a version that has none.
    pub(in crate::cli) store: Option<Store>,
    /// Unknown for a server that is in no fleet, or of a version that knows none.
    pub(in crate::cli) fleet: Option<Fleet>,
    pub(in crate::cli) totals: Counters,
}

/// A listener for clients.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Listener {
    pub(in crate::cli) kind: String,
    pub(in crate::cli) address: String,
}

/// Limits that counts are compared with.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Limits {
    pub(in crate::cli) max_connections: u64,
    pub(in crate::cli) max_channels: u64,
}

/// The certificate of the TLS listeners.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Certificate {
    /// When it expires, in seconds since 1970; unknown if it cannot be read.
    pub(in crate::cli) expires: Option<u64>,
}

/// Memory in bytes.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Memory {
    /// Resident memory of the process, where the system tells.
    pub(in crate::cli) resident: Option<u64>,
    pub(in crate::cli) history: u64,
    pub(in crate::cli) history_limit: u64,
    pub(in crate::cli) queued: u64,
}

/// The store of histories on disk.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Store {
    pub(in crate::cli) dir: String,
    /// The mode in which it is synced.
    pub(in crate::cli) sync: String,
    /// Reason for which nothing can be written.
    pub(in crate::cli) failure: Option<String>,
    /// Age of the oldest change that it does not have, in milliseconds.
    pub(in crate::cli) lag_ms: u64,
    pub(in crate::cli) disk_bytes: u64,
}

/// A shard.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Shard {
    pub(in crate::cli) id: u64,
    /// Set while it has not turned its loop for a second.
    pub(in crate::cli) stuck: bool,
    pub(in crate::cli) sessions: u64,
    /// Unknown while it does not answer.
    pub(in crate::cli) channels: Option<u64>,
    /// Share of the last second on a processor, where the system tells.
    pub(in crate::cli) busy: Option<f64>,
    /// Share of the last second in which it had none, and could have run.
    pub(in crate::cli) waiting: Option<f64>,
    /// The tasks that the shard ran in the last seconds, the most frequent first.
    pub(in crate::cli) tasks: Vec<TaskShare>,
    /// Delay of its timers, in microseconds.
    pub(in crate::cli) loop_delay_us: u64,
    pub(in crate::cli) mailbox: Mailbox,
    pub(in crate::cli) congested: bool,
    pub(in crate::cli) counters: Counters,
    /// Messages that are published in its channels in a second.
    pub(in crate::cli) rate: f64,
    /// The task that has its turn.
    pub(in crate::cli) task: Option<String>,
}

/// A task, and its share of a shard's time.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct TaskShare {
    pub(in crate::cli) task: String,
    pub(in crate::cli) share: f64,
}

/// Messages that wait for a shard.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Mailbox {
    pub(in crate::cli) requests: u64,
    pub(in crate::cli) deliveries: u64,
}

/// Channels, in the order that was asked for.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Channels {
    pub(in crate::cli) channels: Vec<Channel>,
}

/// A channel.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Channel {
    pub(in crate::cli) name: String,
    pub(in crate::cli) members: u64,
    /// Messages per second.
    pub(in crate::cli) rate: f64,
    /// Bytes per second.
    pub(in crate::cli) byte_rate: f64,
    pub(in crate::cli) queued_bytes: u64,
    pub(in crate::cli) history_bytes: u64,
}

/// Sessions, in the order that was asked for.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Sessions {
    pub(in crate::cli) sessions: Vec<Session>,
}

/// A session.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Session {
    pub(in crate::cli) uid: String,
    pub(in crate::cli) channel: String,
    pub(in crate::cli) address: String,
    pub(in crate::cli) transport: String,
    pub(in crate::cli) queued_bytes: u64,
    /// Messages that it publishes in a second.
    pub(in crate::cli) rate: f64,
    /// Set while its socket takes nothing.
    pub(in crate::cli) stalled: bool,
    /// Time for which it has taken nothing, in seconds.
    pub(in crate::cli) stalled_seconds: Option<f64>,
    /// Set while it is not read, because others are behind.
    pub(in crate::cli) paused: bool,
}

/// Links to the upstream.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Links {
    pub(in crate::cli) links: Vec<Link>,
}

/// A link to the upstream, for one channel.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Link {
    pub(in crate::cli) channel: String,
    pub(in crate::cli) upstream: String,
    pub(in crate::cli) state: String,
    pub(in crate::cli) last_failure: Option<String>,
}

/// The fleet that the server is a node of.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Fleet {
    pub(in crate::cli) name: String,
    pub(in crate::cli) phase: String,
    /// What is wrong with its log.
    pub(in crate::cli) trouble: Option<String>,
    pub(in crate::cli) epoch_number: u64,
    pub(in crate::cli) sequence: u64,
    /// Records of the log that were not applied.
    pub(in crate::cli) lag: u64,
    pub(in crate::cli) own_record_age_ms: Option<u64>,
}

impl Fleet {
    /// Returns `true` while its clients are served.
    pub(in crate::cli) fn is_serving(&self) -> bool {
        self.phase == "serving"
    }

    /// Returns its name and how it is, in one line.
    pub(in crate::cli) fn condition(&self) -> String {
        let lag = match self.lag {
            0 => String::new(),
            lag => format!(", {} records behind", count(lag)),
        };
        let age = self.own_record_age_ms.map(|age| micros(1000 * age));
        let age = age.map(|age| format!(", own record {age} ago"));
        let trouble = self.trouble.as_ref();
        let trouble = trouble.map(|trouble| format!(": {}", Escaped(trouble)));
        format!(
            "{}, {}{}, record {} of epoch {}{lag}{}",
            Escaped(&self.name),
            Escaped(&self.phase),
            trouble.unwrap_or_default(),
            count(self.sequence),
            self.epoch_number,
            age.unwrap_or_default()
        )
    }
}

impl Store {
    /// Returns where it is and how, in one line.
    pub(in crate::cli) fn condition(&self) -> String {
        let state = match &self.failure {
            Some(reason) => format!("nothing can be written: {}", Escaped(reason)),
            None => format!("{} on disk", bytes(self.disk_bytes)),
        };
        let lag = match self.lag_ms {
            0 => String::new(),
            lag => format!(", {} behind", micros(1000 * lag)),
        };
        format!("{}, sync {}, {state}{lag}", Escaped(&self.dir), self.sync)
    }
}

impl Session {
    /// Returns `true` if it does not get what is queued for it.
    pub(in crate::cli) const fn is_behind(&self) -> bool {
        self.stalled || self.queued_bytes >= IN_PASSING
    }

    /// Returns what keeps it back, in a word or two.
    pub(in crate::cli) fn condition(&self) -> String {
        match (self.stalled_seconds, self.paused) {
            (Some(time), _) => format!("stalled {}", whole_seconds(time)),
            (None, true) => "paused".to_owned(),
            (None, false) => String::new(),
        }
    }
}

impl Shard {
    /// Returns how it is, in a few words: what is wrong, else what it does most.
    pub(in crate::cli) fn condition(&self) -> String {
        if self.stuck {
            let task = self.task.as_deref().unwrap_or("no task");
            return format!("stuck: {task}");
        }
        if self.congested {
            return "congested".to_owned();
        }
        let tasks = self.tasks.iter();
        let tasks = tasks.map(|of| format!("{} {}", of.task, percent(of.share)));
        let mut does = tasks.collect::<Vec<_>>().join(", ");
        if does.is_empty() {
            "idle".clone_into(&mut does);
        }
        if self.is_starved() {
            let waits = percent(self.waiting.unwrap_or_default());
            return format!("waits for a processor {waits}; {does}");
        }
        does
    }

    /// Returns `true` if it does not keep up, or not for lack of a processor.
    pub(in crate::cli) fn is_behind(&self) -> bool {
        self.stuck || self.congested || self.is_starved()
    }

    /// Returns `true` if others have the processor for most of the time in which it could run.
    fn is_starved(&self) -> bool {
        self.waiting.unwrap_or_default() > STARVED
    }
}
