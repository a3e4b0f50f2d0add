//! Metrics that tell shards apart, and of how late they are.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::Metrics;
use super::encoder::{Encoder, count, figure, seconds};

impl Metrics {
    /// Writes figures of each shard, and how late all of them are.
    pub(super) fn encode_shards(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        let stats = &self.common.stats;
        encoder.by_shard(
            "mles_shard_sessions",
            "Sessions of a shard at this moment.",
            stats.iter().map(|shard| figure(shard.sessions.get())),
        )?;
        encoder.by_shard(
            "mles_shard_loop_delay_seconds",
            "How long a task of a shard that is ready has waited for its turn: the longest of the last seconds.",
            stats.iter().map(|shard| seconds(shard.loop_delay.recent())),
        )?;
        let times = stats.iter().map(|shard| shard.processor.times());
        let times: Vec<_> = times.flatten().collect();
        if times.len() == stats.len() {
            encoder.each_shard(
                (
                    "mles_shard_cpu_seconds",
                    "Time that the thread of a shard has spent on a processor.",
                    MetricType::Counter,
                ),
                times.iter().map(|spent| seconds(spent.busy)),
            )?;
            encoder.each_shard(
                (
                    "mles_shard_cpu_wait_seconds",
                    "Time in which the thread of a shard could have run, and others had the processor.",
                    MetricType::Counter,
                ),
                times.iter().map(|spent| seconds(spent.waiting)),
            )?;
        }
        encoder.by_shard(
            "mles_shard_longest_turn",
            "Most work that one task of a shard has done at once, in units of about 30 ns; 8192 are aimed at.",
            stats.iter().map(|shard| figure(shard.longest_turn.get())),
        )?;
        let backlogs = self.common.backlogs();
        encoder.by_shard(
            "mles_shard_mailbox_messages",
            "Messages of other shards that a shard has not come to.",
            backlogs.iter().map(|of| count(of.requests + of.deliveries)),
        )?;
        encoder.by_shard(
            "mles_shard_mailbox_bytes",
            "Bytes of frames in messages of other shards that a shard has not come to.",
            backlogs.iter().map(|of| count(of.bytes)),
        )?;
        encoder.by_shard(
            "mles_shard_mailbox_age_seconds",
            "Time for which a shard has always had messages of other shards left after its turns.",
            backlogs.iter().map(|of| seconds(of.age)),
        )?;
        encoder.by_shard(
            "mles_shard_congested",
            "1 while a shard pauses its readers, because another's mailbox is full.",
            stats.iter().map(|shard| figure(shard.congested.get())),
        )?;
        encoder.by_shard(
            "mles_shard_stuck",
            "1 while a shard has not turned its loop for a second.",
            stats
                .iter()
                .map(|shard| f64::from(u8::from(shard.turn.is_stuck()))),
        )?;
        encoder.each_shard(
            (
                "mles_shard_stalls",
                "Times that a shard has not turned its loop for a second.",
                MetricType::Counter,
            ),
            stats.iter().map(|shard| figure(shard.turn.stalls())),
        )?;
        encoder.histogram(
            "mles_loop_delay_seconds",
            "How long a task of a shard that is ready waits for its turn, measured four times a second on each shard.",
            stats.iter().map(|shard| &shard.loop_delay.all),
        )?;
        encoder.histogram(
            "mles_publish_queued_seconds",
            "Time from reading what a session publishes until it is queued for the members of a shard; of one run in 1024.",
            stats.iter().map(|shard| &shard.queued),
        )?;
        encoder.histogram(
            "mles_publish_written_seconds",
            "Time from reading what a session publishes until it is written to the members of a shard that keep up; of \
             one run in 1024.",
            stats.iter().map(|shard| &shard.written),
        )
    }
}
