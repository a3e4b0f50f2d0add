//! Tables of closed loops, confirmed publishing and idle subscribers. Figures of several rounds are their medians.

use super::grid::{Grid, by_group, micros, spread_cells};
use crate::report::figure::per_delivery;
use crate::report::group::{Group, merged};
use crate::report::quantity::{self, thousands};
use crate::report::spread::Spread;
use crate::scenario::{FanoutOutcome, IdleOutcome, PublishOutcome};

/// Returns the table of closed loops: deliveries a second, and CPU time for each.
pub(super) fn fanout(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
        "1000 deliveries/s",
        "(min–max)",
        "server µs/delivery",
        "(min–max)",
        "× first",
        "loadgen µs",
        "exact",
    ];
    by_group(groups, columns, |group| {
        let rate = |outcome: &FanoutOutcome| outcome.tally.delivered as f64 / outcome.seconds / 1e3;
        let rate = Spread::of(group.outcomes().map(rate))?;
        let cpu = group.server_cpu();
        let first = groups.iter().find(|other| other.scenario == group.scenario);
        let first = first.filter(|first| first.is_sound() && group.is_sound());
        let ratio = cpu.zip(first.and_then(Group::server_cpu));
        let [cpu, cpu_range] = spread_cells(cpu, 4);
        let tool = group.tool_cpu();
        Some([
            thousands(rate.median),
            format!("({}–{})", thousands(rate.min), thousands(rate.max)),
            cpu,
            cpu_range,
            ratio.map_or(String::new(), |(cpu, first)| {
                quantity::ratio(cpu.median / first.median)
            }),
            tool.map_or(String::new(), |tool| format!("{:.4}", tool.median / 1e3)),
            group.exact(),
        ])
    })
}

/// Returns the table of publishing with confirmation: times in microseconds.
pub(super) fn publish(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
        "messages/s",
        "(min–max)",
        "p50 µs",
        "p99",
        "p99.9",
        "max",
        "server µs/message",
        "(min–max)",
        "loadgen µs",
        "exact",
    ];
    by_group(groups, columns, |group| {
        let times = merged(group.publishes().map(|it| &it.times))?;
        let rate = |it: &PublishOutcome| it.times.count() as f64 / it.seconds;
        let rate = Spread::of(group.publishes().map(rate))?;
        let server = group
            .publishes()
            .filter_map(|it| Some((it, it.server_cpu?)));
        let server = server.map(|(it, cpu)| per_delivery(cpu, &it.tally));
        let [cpu, cpu_range] = spread_cells(Spread::of(server), 3);
        let tool = group
            .publishes()
            .map(|it| per_delivery(it.tool_cpu, &it.tally));
        let tool = Spread::of(tool);
        Some([
            thousands(rate.median),
            format!("({}–{})", thousands(rate.min), thousands(rate.max)),
            micros(&times, 50.0),
            micros(&times, 99.0),
            micros(&times, 99.9),
            micros(&times, 100.0),
            cpu,
            cpu_range,
            tool.map_or(String::new(), |tool| format!("{:.3}", tool.median / 1e3)),
            group.exact(),
        ])
    })
}

/// Returns the table of idle subscribers: memory for each.
pub(super) fn idle(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
        "bytes/idle subscriber",
        "(min–max)",
        "resident, bytes each",
        "anonymous memory, MiB at subscribers",
    ];
    by_group(groups, columns, |group| {
        let slope = Spread::of(group.idles().map(|idle| idle.bytes_per_subscriber))?;
        let resident = Spread::of(group.idles().map(IdleOutcome::rss_per_subscriber))?;
        let points = group.idles().last()?.points.iter().map(|point| {
            let mebibytes = point.memory.anonymous_bytes as f64 / f64::from(1 << 20);
            format!("{mebibytes:.1} at {}", point.subscribers)
        });
        Some([
            format!("{:.0}", slope.median),
            format!("({:.0}–{:.0})", slope.min, slope.max),
            format!("{:.0}", resident.median),
            points.collect::<Vec<_>>().join(", "),
        ])
    })
}
