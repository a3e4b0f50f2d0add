//! The figures of a run: what CSV, the bars of the HTML report and `loadgen diff` are made of.
//!
//! A new scenario adds its own here and nowhere else: an arm in [`RunResult::figures`], made with
//! [`Figure::lower`], [`Figure::higher`] or [`Figure::told`], and an arm in [`RunResult::times`] if it
//! has a distribution of times. The key of a figure is its column in CSV and what `diff` compares by,
//! so it says its unit and never changes; [`Figure::in_bars`] draws it. Percentiles of
//! [`RunResult::times`] come by themselves, and those of several rounds from the merged histograms. A
//! course second by second is drawn from [`RunResult::intervals`].

use super::RunResult;
use crate::distribution::Distribution;
use crate::process::CpuTime;
use crate::scenario::{PublishOutcome, ReconnectOutcome, SlowReaderOutcome, StormOutcome};
use crate::verify::Tally;
use crate::watch::Slice;

const NANOSECONDS_PER_MICROSECOND: f64 = 1e3;
const BYTES_PER_MEBIBYTE: f64 = 1_048_576.0;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
    /// The figure says something about the run, and is not compared.
    Neither,
}

/// One figure of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// Name of the figure's column in CSV.
    pub(super) key: &'static str,
    /// Name for people.
    pub(super) name: &'static str,
    /// Unit of `value`; empty where there is none.
    pub(super) unit: &'static str,
    pub(super) value: f64,
    pub(super) better: Better,
    /// `true` if the HTML report has bars of it.
    pub(super) has_bars: bool,
}

impl Figure {
    /// Returns a figure of which less is better.
    pub(super) fn lower(key: &'static str, name: &'static str, unit: &'static str, v: f64) -> Self {
        Self {
            key,
            name,
            unit,
            value: v,
            better: Better::Lower,
            has_bars: false,
        }
    }

    /// Returns a figure of which more is better.
    pub(super) fn higher(
        key: &'static str,
        name: &'static str,
        unit: &'static str,
        v: f64,
    ) -> Self {
        Self {
            better: Better::Higher,
            ..Self::lower(key, name, unit, v)
        }
    }

    /// Returns a figure that is neither good nor bad.
    pub(super) fn told(key: &'static str, name: &'static str, unit: &'static str, v: f64) -> Self {
        Self {
            better: Better::Neither,
            ..Self::lower(key, name, unit, v)
        }
    }

    /// Draws it in the HTML report.
    pub(super) fn in_bars(self) -> Self {
        Self {
            has_bars: true,
            ..self
        }
    }
}

/// The times that a run measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times<'a> {
    pub(super) distribution: &'a Distribution,
    pub(super) of: TimesOf,
}

/// The kind of times, which decides which of their figures are worth comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimesOf {
    /// Many of them, on a schedule: percentiles say it all, and one late one is all of the deviation.
    ///
    /// Those of publishers that wait for each answer are as many.
    Schedule,
    /// Some hundreds of samples, one at a time: mean and deviation, as they were published first.
    Samples,
}

impl RunResult {
    /// Returns all figures but those of [`RunResult::times`].
    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut figures = self.cost_figures();
        match self {
            Self::Fanout(outcome) => {
                let rate = outcome.tally.delivered as f64 / outcome.seconds;
                figures.push(deliveries_per_second(rate).in_bars());
            }
            Self::Latency(outcome) => {
                // The schedule sets it: a broker is not better for more.
                let rate = outcome.tally.delivered as f64 / outcome.seconds;
                let rate = deliveries_per_second(rate);
                figures.push(Figure {
                    better: Better::Neither,
                    ..rate
                });
                for (key, name, times, percent) in [
                    ("service_p50_us", "service p50", &outcome.service, 50.0),
                    ("service_p99_us", "service p99", &outcome.service, 99.0),
                    ("lag_p99_us", "loadgen's lag p99", &outcome.lag, 99.0),
                    ("lag_max_us", "loadgen's lag max", &outcome.lag, 100.0),
                ] {
                    figures.push(Figure::told(key, name, "µs", micros(times, percent)));
                }
            }
            Self::Idle(idle) => {
                let each = ("bytes_per_idle_subscriber", "memory per idle subscriber");
                let slope = Figure::lower(each.0, each.1, "B", idle.bytes_per_subscriber);
                figures.push(slope.in_bars());
                let each = "rss_bytes_per_idle_subscriber";
                let name = "resident memory per idle subscriber";
                figures.push(Figure::lower(each, name, "B", idle.rss_per_subscriber()));
                if let (Some(first), Some(last)) = (idle.points.first(), idle.points.last()) {
                    let mebibytes = |bytes: u64| bytes as f64 / BYTES_PER_MEBIBYTE;
                    let (empty, full) = (first.memory.rss_bytes, last.memory.rss_bytes);
                    let empty = mebibytes(empty);
                    let full = mebibytes(full);
                    let name = "resident memory with nobody connected";
                    figures.push(Figure::lower("rss_empty_mib", name, "MiB", empty).in_bars());
                    let name = "resident memory with all subscribers";
                    figures.push(Figure::lower("rss_full_mib", name, "MiB", full).in_bars());
                }
            }
            Self::Storm(outcome) => figures.extend(storm_figures(outcome)),
            Self::SlowReader(outcome) => figures.extend(slow_reader_figures(outcome)),
            Self::Publish(outcome) => figures.extend(publish_figures(outcome)),
            Self::Reconnect(outcome) => figures.extend(reconnect_figures(outcome)),
            Self::Seed(_) | Self::History(_) | Self::Failed(_) => {}
        }
        figures
    }

    /// Returns the times whose percentiles are figures too, and are drawn by percentile.
    pub(super) fn times(&self) -> Option<Times<'_>> {
        let (distribution, of) = match self {
            Self::Latency(outcome) => (&outcome.latency, TimesOf::Schedule),
            Self::Seed(outcome) => (&outcome.times, TimesOf::Samples),
            Self::Storm(outcome) => (&outcome.connect, TimesOf::Samples),
            Self::History(outcome) => (&outcome.times, TimesOf::Samples),
            Self::SlowReader(outcome) => (&outcome.after, TimesOf::Schedule),
            Self::Publish(outcome) => (&outcome.times, TimesOf::Schedule),
            Self::Reconnect(outcome) if outcome.resumes => (&outcome.resume, TimesOf::Samples),
            Self::Fanout(_) | Self::Idle(_) | Self::Reconnect(_) | Self::Failed(_) => return None,
        };
        Some(Times { distribution, of })
    }

    /// Returns the course of a run, second by second; empty where it was not recorded.
    pub(super) fn intervals(&self) -> &[Slice] {
        match self {
            Self::Latency(outcome) => &outcome.intervals,
            _ => &[],
        }
    }

    /// Returns the CPU time for each delivery, of all that delivers messages.
    fn cost_figures(&self) -> Vec<Figure> {
        let Some((tally, server, tool)) = self.cost() else {
            return Vec::new();
        };
        let micros = |cpu| per_delivery(cpu, tally) / NANOSECONDS_PER_MICROSECOND;
        let key = ("server_us_per_delivery", "server CPU per delivery");
        let server = server.map(|cpu| Figure::lower(key.0, key.1, "µs", micros(cpu)).in_bars());
        let key = ("loadgen_us_per_delivery", "loadgen CPU per delivery");
        let tool = Figure::told(key.0, key.1, "µs", micros(tool));
        server.into_iter().chain([tool]).collect()
    }
}

impl Times<'_> {
    /// Returns percentiles, mean and deviation.
    pub(super) fn figures(self) -> Vec<Figure> {
        let times = self.distribution;
        let moments = match self.of {
            TimesOf::Schedule => Figure::told,
            TimesOf::Samples => Figure::lower,
        };
        let in_micros = |nanoseconds: f64| nanoseconds / NANOSECONDS_PER_MICROSECOND;
        vec![
            Figure::lower("p50_us", "p50", "µs", micros(times, 50.0)),
            Figure::told("p90_us", "p90", "µs", micros(times, 90.0)),
            Figure::lower("p99_us", "p99", "µs", micros(times, 99.0)),
            Figure::lower("p99_9_us", "p99.9", "µs", micros(times, 99.9)),
            // One delivery of all: the machine's mood.
            Figure::told("max_us", "max", "µs", micros(times, 100.0)),
            moments("mean_us", "mean", "µs", in_micros(times.mean())),
            moments(
                "deviation_us",
                "deviation",
                "µs",
                in_micros(times.deviation()),
            ),
        ]
    }
}

/// Returns the figures of connections all at once.
fn storm_figures(outcome: &StormOutcome) -> Vec<Figure> {
    let rate = outcome.connected as f64 / outcome.seconds;
    let key = ("connections_per_second", "connections per second");
    let mut figures = vec![Figure::higher(key.0, key.1, "/s", rate).in_bars()];
    if let Some(cpu) = outcome.server_cpu_per_connection() {
        let key = ("server_us_per_connection", "server CPU per connection");
        let cpu = cpu / NANOSECONDS_PER_MICROSECOND;
        figures.push(Figure::lower(key.0, key.1, "µs", cpu).in_bars());
    }
    let key = ("failed_connections", "connections that failed");
    figures.push(Figure::lower(key.0, key.1, "", outcome.failed as f64));
    let (before, during) = (&outcome.bystander_before, &outcome.bystander_during);
    figures.extend(bystander_figures(before, during, &outcome.bystander_lag));
    figures
}

/// Returns the figures of clients that were cut off and came back; the times until they were come by themselves.
fn reconnect_figures(outcome: &ReconnectOutcome) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(cpu) = outcome.server_cpu_per_client() {
        let key = (
            "server_us_per_client",
            "server CPU per client that came back",
        );
        let cpu = cpu / NANOSECONDS_PER_MICROSECOND;
        figures.push(Figure::lower(key.0, key.1, "µs", cpu).in_bars());
    }
    let key = ("lost_messages", "deliveries lost");
    figures.push(Figure::lower(key.0, key.1, "", outcome.tally.lost as f64));
    let key = ("failed_clients", "clients that did not come back");
    figures.push(Figure::lower(key.0, key.1, "", outcome.failed as f64));
    let key = ("recovered_clients", "clients that got all they had missed");
    figures.push(Figure::told(key.0, key.1, "", outcome.recovered as f64));
    let key = ("replayed_messages", "messages sent again");
    figures.push(Figure::told(key.0, key.1, "", outcome.replayed as f64));
    let (before, during) = (&outcome.bystander_before, &outcome.bystander_during);
    for (key, name, times) in [
        ("bystander_p50_before_us", "bystander's p50 before", before),
        ("bystander_p50_us", "bystander's p50 meanwhile", during),
    ] {
        figures.push(Figure::told(key, name, "µs", micros(times, 50.0)));
    }
    let key = ("bystander_max_before_us", "bystander's max before");
    figures.push(Figure::told(key.0, key.1, "µs", micros(before, 100.0)));
    figures.extend(bystander_figures(before, during, &outcome.bystander_lag));
    figures
}

/// Returns what a bystander's latencies before and during a storm come to, and this program's lag for them.
fn bystander_figures(
    before: &Distribution,
    during: &Distribution,
    lag: &Distribution,
) -> [Figure; 4] {
    let lag_name = "loadgen's lag p99 for the bystander";
    let [p99_before, p99, lag] = [before, during, lag].map(|it| micros(it, 99.0));
    let max = micros(during, 100.0);
    [
        Figure::told(
            "bystander_p99_before_us",
            "bystander's p99 before",
            "µs",
            p99_before,
        ),
        Figure::lower("bystander_p99_us", "bystander's p99 meanwhile", "µs", p99).in_bars(),
        Figure::told("bystander_max_us", "bystander's max meanwhile", "µs", max),
        Figure::told("bystander_lag_p99_us", lag_name, "µs", lag),
    ]
}

/// Returns the figures of a subscriber that stops reading; the others' latencies afterwards come by themselves.
fn slow_reader_figures(outcome: &SlowReaderOutcome) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (key, name, percent) in [
        ("p50_before_us", "p50 while all read", 50.0),
        ("p99_before_us", "p99 while all read", 99.0),
        ("max_before_us", "max while all read", 100.0),
    ] {
        figures.push(Figure::told(
            key,
            name,
            "µs",
            micros(&outcome.before, percent),
        ));
    }
    if let Some(growth) = outcome.memory_growth() {
        let key = ("memory_growth_mib", "growth of resident memory");
        let growth = growth as f64 / BYTES_PER_MEBIBYTE;
        figures.push(Figure::lower(key.0, key.1, "MiB", growth).in_bars());
    }
    if let Some(seconds) = outcome.let_go_seconds {
        let key = ("let_go_seconds", "time until the slow one was let go");
        figures.push(Figure::told(key.0, key.1, "s", seconds));
    }
    let key = ("unsent_messages", "messages that could not be sent");
    figures.push(Figure::lower(key.0, key.1, "", outcome.unsent as f64));
    figures
}

/// Returns the figures of publishing with confirmation; the times come by themselves.
fn publish_figures(outcome: &PublishOutcome) -> Vec<Figure> {
    let rate = outcome.times.count() as f64 / outcome.seconds;
    let key = ("messages_per_second", "messages per second");
    let mut figures = vec![Figure::higher(key.0, key.1, "/s", rate).in_bars()];
    let micros = |cpu| per_delivery(cpu, &outcome.tally) / NANOSECONDS_PER_MICROSECOND;
    if let Some(cpu) = outcome.server_cpu {
        let key = ("server_us_per_message", "server CPU per published message");
        figures.push(Figure::lower(key.0, key.1, "µs", micros(cpu)).in_bars());
    }
    let key = (
        "loadgen_us_per_message",
        "loadgen CPU per published message",
    );
    figures.push(Figure::told(key.0, key.1, "µs", micros(outcome.tool_cpu)));
    figures
}

fn deliveries_per_second(rate: f64) -> Figure {
    Figure::higher("deliveries_per_second", "deliveries per second", "/s", rate)
}

fn micros(times: &Distribution, percent: f64) -> f64 {
    times.percentile(percent) as f64 / NANOSECONDS_PER_MICROSECOND
}

/// Nanoseconds for each delivery that came.
pub(super) fn per_delivery(cpu: CpuTime, tally: &Tally) -> f64 {
    cpu.nanoseconds as f64 / tally.delivered.max(1) as f64
}
