//! Tables of scenarios in which something happens to a broker: many connect, many come back, many join a
//! history, one stops reading. Percentiles of several rounds are those of all their times together.

use super::grid::{Grid, by_group, micros, millis, millis_of, spread_cells};
use crate::distribution::Distribution;
use crate::report::RunResult;
use crate::report::group::{Group, merged};
use crate::report::spread::Spread;
use crate::scenario::{ReconnectOutcome, SlowReaderOutcome, StormOutcome};

const BYTES_PER_MEBIBYTE: f64 = 1_048_576.0;

/// Returns the table of connections all at once: times in milliseconds, but the bystander's.
pub(super) fn storm(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
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
    ];
    by_group(groups, columns, |group| {
        let storms = || group.storms();
        // A run with connections that failed does not count, but they are not to be passed over.
        let all = || {
            group.runs.iter().filter_map(|run| match &run.result {
                RunResult::Storm(outcome) => Some(outcome),
                _ => None,
            })
        };
        let of = |part: fn(&StormOutcome) -> &Distribution| merged(storms().map(part));
        let times = of(|it| &it.connect)?;
        let before = of(|it| &it.bystander_before)?;
        let during = of(|it| &it.bystander_during)?;
        let lag = of(|it| &it.bystander_lag)?;
        let rate = |it: &StormOutcome| it.connected as f64 / it.seconds;
        let cpu = storms().filter_map(StormOutcome::server_cpu_per_connection);
        let [cpu, cpu_range] = spread_cells(Spread::of(cpu), 1);
        Some([
            sum(all().map(|it| it.connected)),
            sum(all().map(|it| it.failed)),
            median(storms().map(rate), 0, ""),
            millis(&times, 50.0),
            millis(&times, 99.0),
            millis(&times, 100.0),
            cpu,
            cpu_range,
            micros(&before, 99.0),
            micros(&during, 99.0),
            micros(&during, 100.0),
            micros(&lag, 99.0),
            group.exact(),
        ])
    })
}

/// Returns the table of clients that were cut off and came back: times in milliseconds, but the bystander's.
pub(super) fn reconnect(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
        "back",
        "failed",
        "recovered",
        "lost",
        "p50 ms",
        "p99",
        "max",
        "server µs/client",
        "(min–max)",
        "bystander p50 µs before",
        "during",
        "p99 before",
        "during",
        "max before",
        "during",
        "its lag p99",
        "exact",
    ];
    by_group(groups, columns, |group| {
        let storms = || group.reconnects();
        // A run with clients that failed does not count, but they are not to be passed over.
        let all = || {
            group.runs.iter().filter_map(|run| match &run.result {
                RunResult::Reconnect(outcome) => Some(outcome),
                _ => None,
            })
        };
        let of = |part: fn(&ReconnectOutcome) -> &Distribution| merged(storms().map(part));
        let resume = of(|it| &it.resume)?;
        let time = |percent| match resume.count() {
            0 => "–".to_owned(),
            _ => millis(&resume, percent),
        };
        let recovered = match storms().any(|it| it.resumes) {
            true => sum(storms().map(|it| it.recovered)),
            false => "–".to_owned(),
        };
        let before = of(|it| &it.bystander_before)?;
        let during = of(|it| &it.bystander_during)?;
        let lag = of(|it| &it.bystander_lag)?;
        let cpu = storms().filter_map(ReconnectOutcome::server_cpu_per_client);
        let [cpu, cpu_range] = spread_cells(Spread::of(cpu), 1);
        Some([
            sum(all().map(|it| it.returned)),
            sum(all().map(|it| it.failed)),
            recovered,
            sum(all().map(|it| it.tally.lost)),
            time(50.0),
            time(99.0),
            time(100.0),
            cpu,
            cpu_range,
            micros(&before, 50.0),
            micros(&during, 50.0),
            micros(&before, 99.0),
            micros(&during, 99.0),
            micros(&before, 100.0),
            micros(&during, 100.0),
            micros(&lag, 99.0),
            group.exact(),
        ])
    })
}

/// Returns the table of joins to channels with a history: times in milliseconds.
pub(super) fn history(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
        "joins",
        "mean ms",
        "p50",
        "p99",
        "max",
        "server µs/replayed message",
        "(min–max)",
        "exact",
    ];
    by_group(groups, columns, |group| {
        let times = merged(group.histories().map(|it| &it.times))?;
        let [cpu, cpu_range] = spread_cells(group.server_cpu(), 4);
        Some([
            times.count().to_string(),
            millis_of(times.mean()),
            millis(&times, 50.0),
            millis(&times, 99.0),
            millis(&times, 100.0),
            cpu,
            cpu_range,
            group.exact(),
        ])
    })
}

/// Returns the table of subscribers beside one that stops reading: what they wait, in microseconds.
pub(super) fn slow_reader(groups: &[Group<'_>]) -> Option<Grid> {
    let columns = [
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
    ];
    by_group(groups, columns, |group| {
        let slow = || group.slow_readers();
        let of = |part: fn(&SlowReaderOutcome) -> &Distribution| merged(slow().map(part));
        let (before, after) = (of(|it| &it.before)?, of(|it| &it.after)?);
        let growth = slow().filter_map(SlowReaderOutcome::memory_growth);
        let growth = growth.map(|bytes| bytes as f64 / BYTES_PER_MEBIBYTE);
        Some([
            micros(&before, 50.0),
            micros(&after, 50.0),
            micros(&before, 99.0),
            micros(&after, 99.0),
            micros(&before, 100.0),
            micros(&after, 100.0),
            median(slow().map(|it| it.achieved_after), 0, ""),
            sum(slow().map(|it| it.unsent)),
            median(slow().filter_map(|it| it.let_go_seconds), 1, "never"),
            median(growth, 1, "–"),
            group.exact(),
        ])
    })
}

/// Returns the median of `figures` with so many decimals, or `none` if there are none.
fn median(figures: impl Iterator<Item = f64>, decimals: usize, none: &str) -> String {
    Spread::of(figures).map_or(none.to_owned(), |it| format!("{:.decimals$}", it.median))
}

fn sum(numbers: impl Iterator<Item = u64>) -> String {
    numbers.sum::<u64>().to_string()
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
            (storm(&groups), "| nats", ["295.0", "2000"]),
            (history(&groups), "| nats", ["0.1500", "2000"]),
            (slow_reader(&groups), "| nats", ["1.5", "3.0"]),
            // 300 ms without 10 ms that as long a time takes, over 1000 clients.
            (reconnect(&groups), "| nats", ["290.0", "2000"]),
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
