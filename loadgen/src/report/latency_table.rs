//! Tables of latencies, with service time and lag far out beside them. The percentiles of several rounds are those of all their deliveries
//! together: percentiles are never averaged.

use comfy_table::Table;

use super::Knee;
use super::group::{Group, merged};
use super::table::{per_delivery_cells, table, thousands};
use crate::distribution::Distribution;
use crate::scenario::LatencyOutcome;

/// Open loops: times in microseconds.
pub(super) fn latency_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "messages/s",
        "p50 µs",
        "p90",
        "p99",
        "p99.9",
        "max",
        "mean",
        "service p99",
        "lag p99",
        "server µs/delivery",
        "(min–max)",
        "valid",
        "exact",
    ]);
    for group in groups {
        let counting = group.counting();
        let of = |part: fn(&LatencyOutcome) -> &Distribution| {
            merged(counting.iter().map(|outcome| part(outcome)))
        };
        let (Some(latency), Some(service), Some(lag)) = (
            of(|outcome| &outcome.latency),
            of(|outcome| &outcome.service),
            of(|outcome| &outcome.lag),
        ) else {
            continue;
        };
        let rates = counting.iter().map(|outcome| outcome.achieved_rate);
        let rate = rates.sum::<f64>() / counting.len() as f64;
        let [cpu, cpu_spread] = per_delivery_cells(group.server_cpu());
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            thousands(rate),
            micros(latency.percentile(50.0)),
            micros(latency.percentile(90.0)),
            micros(latency.percentile(99.0)),
            micros(latency.percentile(99.9)),
            micros(latency.max()),
            micros_of(latency.mean()),
            micros(service.percentile(99.0)),
            micros(lag.percentile(99.0)),
            cpu,
            cpu_spread,
            group.valid(),
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// One message at a time until all have it: times in milliseconds.
pub(super) fn seed_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "samples",
        "mean ms",
        "deviation",
        "p50",
        "p90",
        "p99",
        "max",
        "server µs/delivery",
        "(min–max)",
        "exact",
    ]);
    for group in groups {
        let Some(times) = merged(group.seeds().map(|outcome| &outcome.times)) else {
            continue;
        };
        let [cpu, cpu_spread] = per_delivery_cells(group.server_cpu());
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            times.count().to_string(),
            millis(times.mean()),
            millis(times.deviation()),
            millis(times.percentile(50.0) as f64),
            millis(times.percentile(90.0) as f64),
            millis(times.percentile(99.0) as f64),
            millis(times.max() as f64),
            cpu,
            cpu_spread,
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// What a sweep found, in a sentence.
pub(super) fn knee_text(knee: &Knee) -> String {
    let sustained = match knee.sustained {
        Some(rate) => format!("sustained {rate} messages/s"),
        None => "sustained none of the rates".to_owned(),
    };
    match (knee.not_sustained, &knee.why) {
        (Some(rate), Some(why)) => format!("KNEE: {sustained}, not {rate}: {why}\n"),
        _ => format!("KNEE: {sustained}, not found up to there\n"),
    }
}

fn micros(nanoseconds: u64) -> String {
    micros_of(nanoseconds as f64)
}

fn micros_of(nanoseconds: f64) -> String {
    format!("{:.1}", nanoseconds / 1e3)
}

fn millis(nanoseconds: f64) -> String {
    format!("{:.3}", nanoseconds / 1e6)
}
