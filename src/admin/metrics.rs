//! Metrics in the forms that Prometheus reads: OpenMetrics, and the older text format.
//!
//! What is counted is read where it is, and summed over the shards, with each answer; nothing is kept here. A figure that
//! tells shards apart has the label `shard`, all others have none of that kind. No label has values that clients choose,
//! unless a scraper asks for channels by name ([`ChannelSample`]).
//!
//! The names, labels and help texts of counters and gauges come from the rows of [`crate::shard::stats`].

mod channels;
mod encoder;
mod fleet;
mod server;
mod shards;
mod store;
#[cfg(test)]
mod tests;

use std::fmt::Error;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::net::ListenerDirectory;
use crate::shard::Common;
use crate::shard::stats::ShardStats;
use encoder::Encoder;

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Sources of a broker's metrics.
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

/// Metrics of one answer, as the registry collects them.
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

impl Collector for BrokerCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut encoder = Encoder(encoder);
        let broker = &self.broker;
        broker.encode_server(&mut encoder)?;
        broker.encode_shards(&mut encoder)?;
        broker.encode_store(&mut encoder)?;
        broker.encode_fleet(&mut encoder)?;
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
