//! Tables of latencies, with service time and lag far out beside them. The percentiles of several rounds are
//! those of all their deliveries together: percentiles are never averaged.

use super::grid::{Grid, by_group, micros, millis, millis_of, spread_cells};
use crate::distribution::Distribution;
use crate::report::group::{Group, merged};
use crate::report::quantity::thousands;
use crate::scenario::LatencyOutcome;

/// Returns the table of open loops: times in microseconds.
pub(super) fn open_loop(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
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
    ];
    by_group(groups, columns, |group| {
        let shown: Vec<_> = group.latencies().collect();
        let of = |part: fn(&LatencyOutcome) -> &Distribution| {
            merged(shown.iter().map(|outcome| part(outcome)))
        };
        let latency = of(|outcome| &outcome.latency)?;
        let service = of(|outcome| &outcome.service)?;
        let lag = of(|outcome| &outcome.lag)?;
        let rates = shown.iter().map(|outcome| outcome.achieved_rate);
        let rate = rates.sum::<f64>() / shown.len() as f64;
        let [cpu, cpu_range] = spread_cells(group.server_cpu(), 4);
        Some([
            thousands(rate),
            micros(&latency, 50.0),
            micros(&latency, 90.0),
            micros(&latency, 99.0),
            micros(&latency, 99.9),
            micros(&latency, 100.0),
            format!("{:.1}", latency.mean() / 1e3),
            micros(&service, 99.0),
            micros(&lag, 99.0),
            cpu,
            cpu_range,
            group.valid(),
            group.exact(),
        ])
    })
}

/// Returns the table of single messages until all have them: times in milliseconds.
pub(super) fn seed(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
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
    ];
    by_group(groups, columns, |group| {
        let times = merged(group.seeds().map(|outcome| &outcome.times))?;
        let [cpu, cpu_range] = spread_cells(group.server_cpu(), 4);
        Some([
            times.count().to_string(),
            millis_of(times.mean()),
            millis_of(times.deviation()),
            millis(&times, 50.0),
            millis(&times, 90.0),
            millis(&times, 99.0),
            millis(&times, 100.0),
            cpu,
            cpu_range,
            group.exact(),
        ])
    })
}
