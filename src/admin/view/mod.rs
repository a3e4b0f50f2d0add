//! Views: what there is to see, as JSON. Every field is described in `docs/OPERATIONS.md`.

mod bans;
mod channels;
mod links;
mod server;
mod sessions;
mod shards;

use std::time::{Duration, SystemTime};

pub(super) use bans::bans;
pub(super) use channels::{channel, channel_samples, channels};
pub(super) use links::links;
pub(super) use server::{ListenerView, listener, server};
pub(super) use sessions::sessions;
pub(super) use shards::shards;

use crate::shard::inspect::{Cursor, Ranked};

/// The first entries of an order, and the place of the last if there are more.
struct Page<N, T> {
    entries: Vec<Ranked<N, T>>,
    next: Option<Cursor<N>>,
}

/// Merges what the shards have put in order, one more each than the page has, into a page.
fn page<N: Ord + Clone, T>(shards: Vec<Vec<Ranked<N, T>>>, limit: usize) -> Page<N, T> {
    let mut entries: Vec<_> = shards.into_iter().flatten().collect();
    entries.sort();
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| has_more);
    let next = last.map(|last| Cursor {
        key: last.key,
        name: last.name.clone(),
    });
    Page { entries, next }
}

/// Returns a rate with one digit behind the point.
fn rounded(rate: f32) -> f64 {
    (f64::from(rate) * 10.0).round() / 10.0
}

/// Returns a time in seconds, with three digits behind the point.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Returns the seconds since the epoch of Unix; 0 for what was before.
fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
