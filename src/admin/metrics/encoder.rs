//! Writes figures as metrics, one after the other.

use std::fmt::Error;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::shard::counter::{BUCKETS, Histogram};
use crate::shard::stats::Metric;

/// Prefix of all names but those that every process has.
const PREFIX: &str = "mles";

/// A label and its value.
type LabelPair<'a> = (&'static str, &'a str);

/// Writes metrics one after the other.
pub(super) struct Encoder<'a>(pub(super) DescriptorEncoder<'a>);

impl Encoder<'_> {
    /// Writes a metric with one sample for each value of its label; without one if its name is empty.
    pub(super) fn family<'v>(
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

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.family((name, help, MetricType::Gauge), [(("", ""), value)])
    }

    /// Writes a gauge that each shard has.
    pub(super) fn by_shard(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<(), Error> {
        self.each_shard((name, help, MetricType::Gauge), values)
    }

    pub(super) fn each_shard(
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

    pub(super) fn stat(&mut self, metric: &Metric, kind: MetricType) -> Result<(), Error> {
        let name = format!("{PREFIX}_{}", metric.name);
        let samples = metric.samples.iter();
        self.family(
            (&name, &metric.help, kind),
            samples
                .map(|&(label, value)| ((metric.label.unwrap_or_default(), label), figure(value))),
        )
    }

    /// Writes the sum of the histograms of all shards.
    pub(super) fn histogram<'h>(
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

fn write(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> Result<(), Error> {
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
pub(super) fn figure(value: u64) -> f64 {
    value as f64
}

pub(super) fn count(value: usize) -> f64 {
    figure(value as u64)
}

pub(super) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    seconds(since.unwrap_or_default())
}
