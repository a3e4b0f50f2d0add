//! Tables of scenarios in which something happens to a broker: many connect, many join a history, one
//! stops reading. Percentiles of several rounds are those of all their times together.

use comfy_table::Table;

use super::group::{Group, merged};
use super::spread::Spread;
use super::table::{per_delivery_cells, table};
use crate::distribution::Distribution;
use crate::scenario::{SlowReaderOutcome, StormOutcome};

const BYTES_PER_MEBIBYTE: f64 = 1_048_576.0;

/// Connections all at once: times in milliseconds, but the bystander's.
pub(super) fn storm_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "connected",
        "failed",
        "connections/s",
        "p50 ms",
        "p99",
        "max",
        "server µs/connection",
        "(min–max)",
        "bystander p99 µs before",
        "during",
        "max during",
        "its lag p99",
        "exact",
    ]);
    for group in groups {
        let storms = || group.storms();
        let of = |part: fn(&StormOutcome) -> &Distribution| merged(storms().map(part));
        let (Some(times), Some(before), Some(during)) = (
            of(|it| &it.connect),
            of(|it| &it.bystander_before),
            of(|it| &it.bystander_during),
        ) else {
            continue;
        };
        let rate = |it: &StormOutcome| it.connected as f64 / it.seconds;
        let rate = Spread::of(storms().map(rate));
        let cpu = storms().filter_map(StormOutcome::server_cpu_per_connection);
        let [cpu, cpu_spread] = short_cells(Spread::of(cpu));
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            sum(storms().map(|it| it.connected)),
            sum(storms().map(|it| it.failed)),
            rate.map_or(String::new(), |rate| format!("{:.0}", rate.median)),
            millis(times.percentile(50.0)),
            millis(times.percentile(99.0)),
            millis(times.max()),
            cpu,
            cpu_spread,
            micros(before.percentile(99.0)),
            micros(during.percentile(99.0)),
            micros(during.max()),
            of(|it| &it.bystander_lag).map_or(String::new(), |lag| micros(lag.percentile(99.0))),
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// Joins to channels with a history: times in milliseconds.
pub(super) fn history_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "joins",
        "mean ms",
        "p50",
        "p99",
        "max",
        "server µs/replayed message",
        "(min–max)",
        "exact",
    ]);
    for group in groups {
        let Some(times) = merged(group.histories().map(|it| &it.times)) else {
            continue;
        };
        let [cpu, cpu_spread] = per_delivery_cells(group.server_cpu());
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            times.count().to_string(),
            format!("{:.3}", times.mean() / 1e6),
            millis(times.percentile(50.0)),
            millis(times.percentile(99.0)),
            millis(times.max()),
            cpu,
            cpu_spread,
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// One that stops reading: what the others wait, in microseconds.
pub(super) fn slow_reader_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "p50 µs before",
        "after",
        "p99 before",
        "after",
        "max before",
        "after",
        "messages/s after",
        "not sent",
        "let go after s",
        "memory growth MiB",
        "exact",
    ]);
    for group in groups {
        let slow = || group.slow_readers();
        let of = |part: fn(&SlowReaderOutcome) -> &Distribution| merged(slow().map(part));
        let (Some(before), Some(after)) = (of(|it| &it.before), of(|it| &it.after)) else {
            continue;
        };
        let rate = Spread::of(slow().map(|it| it.achieved_after));
        let growth = slow().filter_map(SlowReaderOutcome::memory_growth);
        let growth = Spread::of(growth.map(|bytes| bytes as f64 / BYTES_PER_MEBIBYTE));
        let let_go = Spread::of(slow().filter_map(|it| it.let_go_seconds));
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            micros(before.percentile(50.0)),
            micros(after.percentile(50.0)),
            micros(before.percentile(99.0)),
            micros(after.percentile(99.0)),
            micros(before.max()),
            micros(after.max()),
            rate.map_or(String::new(), |rate| format!("{:.0}", rate.median)),
            sum(slow().map(|it| it.unsent)),
            let_go.map_or("never".to_owned(), |it| format!("{:.1}", it.median)),
            growth.map_or("–".to_owned(), |it| format!("{:.1}", it.median)),
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

/// Nanoseconds as two cells in microseconds, for what takes many of them.
fn short_cells(cpu: Option<Spread>) -> [String; 2] {
    match cpu {
        None => ["–".to_owned(), String::new()],
        Some(Spread { median, min, max }) => [
            format!("{:.1}", median / 1e3),
            format!("({:.1}–{:.1})", min / 1e3, max / 1e3),
        ],
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> String {
    numbers.sum::<u64>().to_string()
}

fn millis(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}

fn micros(nanoseconds: u64) -> String {
    format!("{:.1}", nanoseconds as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::group::groups;
    use crate::report::sample;

    #[test]
    fn each_has_a_line_for_each_broker_with_what_it_came_to() {
        let report = sample::report();
        let groups = groups(&report);
        // 300 ms of CPU without half of the 10 ms that it takes for a second of nothing else, over
        // 1000 connections.
        for (table, broker, cells) in [
            (storm_table(&groups), "| nats", ["295.0", "2000"]),
            (history_table(&groups), "| nats", ["0.1500", "2000"]),
            (slow_reader_table(&groups), "| nats", ["1.5", "3.0"]),
        ] {
            let table = table.expect("it was run").to_string();
            let line = table.lines().find(|line| line.contains(broker));
            let line = line.unwrap_or_else(|| panic!("{broker}: {table}"));
            let cells_of_line: Vec<_> = line.split('|').map(str::trim).collect();
            for cell in cells {
                assert!(cells_of_line.contains(&cell), "{cell}: {table}");
            }
        }
    }
}
