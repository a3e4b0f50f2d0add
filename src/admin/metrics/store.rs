//! Metrics of the store of histories.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::MetricType;

use super::Metrics;
use super::encoder::{Encoder, count, figure, seconds};

impl Metrics {
    /// Writes figures of the store, if there is one.
    pub(super) fn encode_store(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        let Some(store) = &self.common.store else {
            return Ok(());
        };
        let status = &store.status;
        for (name, help, value) in [
            (
                "mles_store_failing",
                "1 while nothing can be written to the store: histories go on in memory, or publishers wait where each batch is synced.",
                f64::from(u8::from(status.failure().is_some())),
            ),
            (
                "mles_store_lag_seconds",
                "Age of the oldest change that is not in the store yet; with an interval, up to that and a sync.",
                seconds(self.common.store_lag()),
            ),
            (
                "mles_store_disk_bytes",
                "Space on disk that the store takes.",
                figure(status.disk_space.get()),
            ),
            (
                "mles_store_loaded_channels",
                "Channels that were loaded from the store at the start.",
                count(store.channels),
            ),
            (
                "mles_store_loaded_messages",
                "Messages that were loaded from the store at the start.",
                figure(store.messages.load(Ordering::Relaxed)),
            ),
            (
                "mles_store_forgotten_channels",
                "Channels in the store that were forgotten at the start: there was no memory or no place for them, or they \
                 are not kept on disk any more.",
                count(store.forgotten),
            ),
        ] {
            encoder.gauge(name, help, value)?;
        }
        for (name, help, counter) in [
            (
                "mles_store_batches",
                "Batches of shards that were written to the store.",
                &status.batches,
            ),
            (
                "mles_store_failed_batches",
                "Batches of shards that could not be written to the store; they come again.",
                &status.failed_batches,
            ),
            (
                "mles_store_commits",
                "Commits of the store, each of all batches that waited.",
                &status.commits,
            ),
            (
                "mles_store_runs",
                "Runs of messages that were written to the store.",
                &status.runs,
            ),
            (
                "mles_store_written_bytes",
                "Bytes of messages that were written to the store, headers included.",
                &status.bytes,
            ),
        ] {
            let value = figure(counter.get());
            encoder.family((name, help, MetricType::Counter), [(("", ""), value)])?;
        }
        encoder.histogram(
            "mles_store_commit_seconds",
            "Time that a commit of the store has taken, with its sync if it has one.",
            std::iter::once(&status.commit_time),
        )?;
        encoder.histogram(
            "mles_store_sync_seconds",
            "Time that the disk has taken to sync a commit of the store.",
            std::iter::once(&status.sync_time),
        )
    }
}
