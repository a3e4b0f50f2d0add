//! The shards, side by side.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;

use super::rounded;
use crate::admin::server::AdminState;
use crate::shard::labels::MemoryKind;

/// One shard.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct ShardView {
    id: usize,
    /// Set while it has not turned its loop for a second.
    stuck: bool,
    /// The task that has its turn.
    task: Option<String>,
    /// Share of the last second on a processor.
    busy: Option<f64>,
    /// Share of the last second in which it could have run and had no processor.
    waiting: Option<f64>,
    /// The tasks that the shard ran in the last seconds, the most frequent first.
    tasks: Vec<TaskView>,
    sessions: u64,
    stalled: u64,
    channels: usize,
    relays: usize,
    rate: f64,
    queued_bytes: u64,
    history_bytes: u64,
    loop_delay_us: u64,
    longest_turn: u64,
    mailbox: MailboxView,
    congested: bool,
    counters: BTreeMap<&'static str, u64>,
}

/// A task, and its share of a shard's time.
#[derive(Debug, Serialize)]
struct TaskView {
    task: String,
    share: f64,
}

/// Messages of other shards that a shard has not come to.
#[derive(Debug, Serialize)]
struct MailboxView {
    requests: usize,
    deliveries: usize,
    bytes: usize,
    age_us: u64,
}

/// Returns all shards, as they were last measured.
pub(in crate::admin) fn shards(state: &AdminState) -> Vec<ShardView> {
    let common = &state.common;
    let shards = common
        .stats
        .iter()
        .zip(common.backlogs())
        .zip(&common.loads);
    let shards = shards.enumerate().map(|(id, ((stats, backlog), load))| {
        let load = load.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report = stats.processor.report();
        ShardView {
            id,
            stuck: stats.turn.is_stuck(),
            task: stats.turn.task(),
            busy: report.busy.map(share),
            waiting: report.waiting.map(share),
            tasks: report.tasks.into_iter().map(TaskView::from).collect(),
            sessions: stats.sessions.get(),
            stalled: stats.stalled.get(),
            channels: load.channels,
            relays: load.relays,
            rate: rounded(load.rate),
            queued_bytes: load.queued_bytes,
            history_bytes: stats.memory_bytes.of(MemoryKind::History).get(),
            loop_delay_us: micros(stats.loop_delay.recent()),
            longest_turn: stats.longest_turn.get(),
            mailbox: MailboxView {
                requests: backlog.requests,
                deliveries: backlog.deliveries,
                bytes: backlog.bytes,
                age_us: micros(backlog.age),
            },
            congested: stats.congested.get() > 0,
            counters: stats.entries().collect(),
        }
    });
    shards.collect()
}

impl From<(String, f64)> for TaskView {
    fn from((task, of_all): (String, f64)) -> Self {
        Self {
            task,
            share: share(of_all),
        }
    }
}

/// Returns a share with three digits behind the point.
fn share(of_all: f64) -> f64 {
    (of_all * 1000.0).round() / 1000.0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
