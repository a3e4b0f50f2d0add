//! Metrics in the forms that Prometheus reads: OpenMetrics, and the older text format.
//!
//! What is counted is read where it is, and summed over the shards, with each answer; nothing is kept here. A figure that
//! tells shards apart has the label `shard`, all others have none of that kind. No label has values that clients choose,
//! unless a scraper asks for channels by name ([`ChannelSample`]).
//!
//! The names, labels and help texts of counters and gauges come from the rows of [`crate::shard::stats`].

#[cfg(test)]
mod tests;

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::process;
use crate::net::ListenerDirectory;
use crate::peer::LinkState;
use crate::shard::Common;
use crate::shard::counter::{BUCKETS, Histogram};
use crate::shard::stats::{Metric, ShardStats};

/// Prefix of all names but those that every process has.
const PREFIX: &str = "mles";
/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the metrics of a broker are read.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    common: Arc<Common>,
    directory: Arc<ListenerDirectory>,
    started: SystemTime,
}

/// A channel as metrics show it to a scraper that asks for some.
#[derive(Clone, Debug)]
pub(super) struct ChannelSample {
    pub(super) name: Box<str>,
    pub(super) members: usize,
    pub(super) stalled: usize,
    pub(super) queued_bytes: u64,
    /// Messages that are published in a second.
    pub(super) rate: f64,
}

/// What is written into one answer.
#[derive(Debug)]
struct BrokerCollector {
    broker: Metrics,
    channels: Vec<ChannelSample>,
}

impl Metrics {
    pub(super) fn new(
        common: Arc<Common>,
        directory: Arc<ListenerDirectory>,
        started: SystemTime,
    ) -> Self {
        Self {
            common,
            directory,
            started,
        }
    }

    /// Returns all metrics and their content type, in OpenMetrics if the client's `Accept` names that, with those of some
    /// channels.
    pub(super) fn render(
        &self,
        accept: Option<&str>,
        channels: Vec<ChannelSample>,
    ) -> (&'static str, String) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(BrokerCollector {
            broker: self.clone(),
            channels,
        }));
        let mut body = String::new();
        let (content_type, encoded) = if accept.is_some_and(|a| a.contains("openmetrics-text")) {
            (OPEN_METRICS, text::encode(&mut body, &registry))
        } else {
            let encoded = prometheus_text::encode(&mut body, &registry);
            (prometheus_text::CONTENT_TYPE, encoded)
        };
        // Writing to a string does not fail.
        debug_assert!(encoded.is_ok());
        (content_type, body)
    }
}

/// A label and its value.
type LabelPair<'a> = (&'static str, &'a str);

/// Writes metrics one after the other.
struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    /// Writes a metric with one sample for each value of its label; without one if its name is empty.
    fn family<'v>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        samples: impl IntoIterator<Item = (LabelPair<'v>, f64)>,
    ) -> Result<(), Error> {
        let (name, unit) = with_unit(name);
        let mut metric = self.0.encode_descriptor(&name, help, unit.as_ref(), kind)?;
        for (label, value) in samples {
            if label.0.is_empty() {
                write(&mut metric, kind, value)?;
            } else {
                write(&mut metric.encode_family(&[label])?, kind, value)?;
            }
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.family((name, help, MetricType::Gauge), [(("", ""), value)])
    }

    /// Writes a gauge that each shard has.
    fn by_shard(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<(), Error> {
        self.each_shard((name, help, MetricType::Gauge), values)
    }

    fn each_shard(
        &mut self,
        metric: (&str, &str, MetricType),
        values: impl IntoIterator<Item = f64>,
    ) -> Result<(), Error> {
        let ids: Vec<_> = values.into_iter().enumerate().collect();
        let names: Vec<_> = ids.iter().map(|(id, _)| id.to_string()).collect();
        let samples = names.iter().zip(&ids);
        self.family(
            metric,
            samples.map(|(name, &(_, value))| (("shard", &**name), value)),
        )
    }

    fn stat(&mut self, metric: &Metric, kind: MetricType) -> Result<(), Error> {
        let name = format!("{PREFIX}_{}", metric.name);
        let samples = metric.samples.iter();
        self.family(
            (&name, &metric.help, kind),
            samples
                .map(|&(label, value)| ((metric.label.unwrap_or_default(), label), figure(value))),
        )
    }

    /// Writes the sum of the histograms of all shards.
    fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        shards: impl Iterator<Item = &'h Histogram>,
    ) -> Result<(), Error> {
        let mut buckets = [0; BUCKETS.len() + 1];
        let mut sum = Duration::ZERO;
        for shard in shards {
            let counts = shard.buckets();
            buckets
                .iter_mut()
                .zip(counts)
                .for_each(|(all, count)| *all += count);
            sum += shard.sum();
        }
        let bounds = BUCKETS
            .iter()
            .map(|&bound| seconds(Duration::from_micros(bound)));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(buckets).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let (name, unit) = with_unit(name);
        let mut metric =
            self.0
                .encode_descriptor(&name, help, unit.as_ref(), MetricType::Histogram)?;
        metric.encode_histogram::<[LabelPair<'_>; 0]>(seconds(sum), count, &buckets, None)
    }
}

fn write(
    metric: &mut prometheus_client::encoding::MetricEncoder<'_>,
    kind: MetricType,
    value: f64,
) -> Result<(), Error> {
    match kind {
        MetricType::Counter => metric.encode_counter::<[LabelPair<'_>; 0], _, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// Divides a name into what comes before its unit, and the unit.
fn with_unit(name: &str) -> (String, Option<Unit>) {
    let units = [("_bytes", Unit::Bytes), ("_seconds", Unit::Seconds)];
    for (suffix, unit) in units {
        if let Some(name) = name.strip_suffix(suffix) {
            return (name.to_owned(), Some(unit));
        }
    }
    (name.to_owned(), None)
}

/// Returns a figure as metrics have it: exact up to 2^53, which no counter reaches.
#[allow(
    clippy::cast_precision_loss,
    reason = "metrics are floating point numbers"
)]
fn figure(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    figure(value as u64)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    seconds(since.unwrap_or_default())
}

impl Collector for BrokerCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut encoder = Encoder(encoder);
        let broker = &self.broker;
        broker.encode_server(&mut encoder)?;
        broker.encode_shards(&mut encoder)?;
        broker.encode_store(&mut encoder)?;
        for metric in ShardStats::counters(&broker.common.stats) {
            encoder.stat(&metric, MetricType::Counter)?;
        }
        for mut metric in ShardStats::gauges(&broker.common.stats) {
            if metric.name == "memory_limit_bytes" {
                // What is not bounded has no limit, and not one of nothing.
                metric.samples.retain(|&(_, limit)| limit > 0);
            }
            encoder.stat(&metric, MetricType::Gauge)?;
        }
        broker.encode_links(&mut encoder)?;
        self.encode_channels(&mut encoder)
    }
}

impl BrokerCollector {
    /// The channels that the scraper has asked for.
    fn encode_channels(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        if self.channels.is_empty() {
            return Ok(());
        }
        let mut family = |name, help, value: fn(&ChannelSample) -> f64| {
            let channels = self.channels.iter();
            let samples = channels.map(|channel| (("channel", &*channel.name), value(channel)));
            encoder.family((name, help, MetricType::Gauge), samples)
        };
        family(
            "mles_channel_frames_per_second",
            "Frames that are published in a channel in a second. Channels are shown to scrapers that ask for some.",
            |channel| channel.rate,
        )?;
        family(
            "mles_channel_members",
            "Members of a channel at this moment.",
            |channel| count(channel.members),
        )?;
        family(
            "mles_channel_stalled",
            "Members of a channel at this moment whose sockets are full.",
            |channel| count(channel.stalled),
        )?;
        family(
            "mles_channel_queued_bytes",
            "Bytes that are queued for all members of a channel.",
            |channel| figure(channel.queued_bytes),
        )
    }
}

impl Metrics {
    /// What the server is, and what it takes of the machine.
    fn encode_server(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        encoder.family(
            (
                "mles_build_info",
                "Version of the server, as a label; always 1.",
                MetricType::Gauge,
            ),
            [(("version", env!("CARGO_PKG_VERSION")), 1.0)],
        )?;
        let limiter = &self.common.limiter;
        encoder.gauge(
            "mles_connections",
            "Connections at this moment, joined or not.",
            count(limiter.connections()),
        )?;
        encoder.gauge(
            "mles_channels",
            "Channels at this moment, idle ones with history included.",
            count(limiter.channels()),
        )?;
        let limits = self.common.settings().limits.clone();
        encoder.gauge(
            "mles_connections_limit",
            "Connections that there may be at one time (max_connections).",
            count(limits.max_connections),
        )?;
        encoder.gauge(
            "mles_channels_limit",
            "Channels that there may be at one time (max_channels).",
            count(limits.max_channels),
        )?;
        if let Some(expires) = self.directory.tls().and_then(|tls| tls.expires()) {
            encoder.gauge(
                "mles_certificate_expiry_timestamp_seconds",
                "Time at which the first certificate of the TLS listeners' chain expires, since the epoch of Unix.",
                unix_seconds(expires),
            )?;
        }
        encoder.gauge(
            "process_start_time_seconds",
            "Time at which the broker was started, since the epoch of Unix.",
            unix_seconds(self.started),
        )?;
        if let Some(resident) = process::resident_bytes() {
            encoder.gauge(
                "process_resident_memory_bytes",
                "Memory of the machine that the process takes.",
                figure(resident),
            )?;
        }
        if let Some(time) = process::cpu_time() {
            encoder.family(
                (
                    "process_cpu_seconds",
                    "Time that the process has spent on processors.",
                    MetricType::Counter,
                ),
                [(("", ""), seconds(time))],
            )?;
        }
        Ok(())
    }

    /// What tells shards apart, and how late they are.
    fn encode_shards(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
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

    /// The store of histories, if there is one.
    fn encode_store(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
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

    /// The links to upstream servers, by their state.
    fn encode_links(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        if self.common.settings().peer.upstreams.is_empty() {
            return Ok(());
        }
        let mut counts = LinkState::ALL.map(|state| (state, 0));
        for link in &self.common.links {
            let state = link.state();
            if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == state) {
                *count += 1;
            }
        }
        let names = counts.map(|(state, count)| (state.to_string(), count));
        encoder.family(
            (
                "mles_links",
                "Links to upstream servers, one for each channel with members, by their state.",
                MetricType::Gauge,
            ),
            names
                .iter()
                .map(|(name, links)| (("state", &**name), count(*links))),
        )
    }
}
