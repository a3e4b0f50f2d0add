//! The report as a person reads it: tables in Markdown, so that they can be pasted as they are.

use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::Report;
use super::event_tables::{history_table, slow_reader_table, storm_table};
use super::group::{Group, groups};
use super::latency_table::{knee_text, latency_table, seed_table};
use super::spread::Spread;
use crate::scenario::{IdleResult, Outcome};

/// What the deliveries a second are, and what they are not.
const CLOSED_LOOP: &str = "Deliveries/s are those of a windowed closed loop: publishers wait for their \
                           slowest subscriber.\n\n";

/// All tables, the machine, and what went wrong.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let groups = groups(report);
    for (_, table) in tables(&groups) {
        let _ = writeln!(text, "{table}\n");
    }
    if groups.iter().any(|group| group.outcomes().next().is_some()) {
        text.push_str(CLOSED_LOOP);
    }
    let here = &report.environment;
    let _ = writeln!(
        text,
        "{} cores, {}, Linux {}",
        here.cores, here.cpu, here.kernel
    );
    for (broker, provenance) in &report.brokers {
        let _ = writeln!(
            text,
            "{}: {}; {}",
            broker.name(),
            provenance.version,
            provenance.settings
        );
    }
    for (broker, client) in &report.clients {
        let _ = writeln!(text, "client of {}: {client}", broker.name());
    }
    for problem in problems(report) {
        let _ = writeln!(text, "{problem}");
    }
    if let Some(knee) = &report.knee {
        text.push_str(&knee_text(knee));
    }
    if report.partial {
        text.push_str("PARTIAL: interrupted before the end\n");
    }
    text
}

/// The tables that have rows, with what they are about.
pub(super) fn tables(groups: &[Group<'_>]) -> Vec<(&'static str, Table)> {
    let tables = [
        ("Throughput in a windowed closed loop", fanout_table(groups)),
        ("Latency in an open loop, µs", latency_table(groups)),
        ("Time until all have a message, ms", seed_table(groups)),
        ("Memory of idle subscribers", idle_table(groups)),
        ("Connections all at once", storm_table(groups)),
        ("Joins to channels with a history", history_table(groups)),
        (
            "Beside a subscriber that stops reading",
            slow_reader_table(groups),
        ),
    ];
    let tables = tables.into_iter();
    tables
        .filter_map(|(caption, table)| Some((caption, table?)))
        .collect()
}

/// Brokers that were left out, of all or of a scenario, and runs that went wrong, a line for each.
pub(super) fn problems(report: &Report) -> Vec<String> {
    let skipped = report.skipped.iter();
    let skipped = skipped.map(|(broker, why)| format!("SKIPPED {}: {why}", broker.name()));
    let wrong = report.runs.iter().filter_map(|run| {
        let trouble = run.trouble().filter(|_| !run.excused)?;
        let is_exact = run.result.is_exact();
        let word = if is_exact { "INVALID" } else { "FAILED" };
        let (scenario, broker, round) = (&run.scenario, run.broker.name(), run.round);
        Some(format!(
            "{word} {scenario} {broker} round {round}: {trouble}"
        ))
    });
    let omitted = report.omitted.iter().map(|omitted| {
        let (scenario, broker) = (&omitted.scenario, omitted.broker.name());
        format!("SKIPPED {scenario} {broker}: {}", omitted.why)
    });
    let allowed = report.runs.iter().filter_map(|run| {
        let inexact = run.inexact().filter(|_| run.may_be_inexact)?;
        let (scenario, broker, round) = (&run.scenario, run.broker.name(), run.round);
        Some(format!(
            "ALLOWED {scenario} {broker} round {round}: {inexact}"
        ))
    });
    skipped.chain(omitted).chain(allowed).chain(wrong).collect()
}

fn fanout_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "1000 deliveries/s",
        "(min–max)",
        "server µs/delivery",
        "(min–max)",
        "× first",
        "loadgen µs",
        "exact",
    ]);
    for group in groups {
        let rate = |outcome: &Outcome| outcome.tally.delivered as f64 / outcome.seconds / 1e3;
        let Some(rate) = Spread::of(group.outcomes().map(rate)) else {
            continue;
        };
        let tool = group.tool_cpu();
        let cpu = group.server_cpu();
        let first = groups.iter().find(|other| other.scenario == group.scenario);
        let ratio = cpu.zip(first.and_then(Group::server_cpu));
        let [cpu_median, cpu_spread] = per_delivery_cells(cpu);
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            thousands(rate.median),
            format!("({}–{})", thousands(rate.min), thousands(rate.max)),
            cpu_median,
            cpu_spread,
            ratio.map_or(String::new(), |(cpu, first)| {
                format!("{:.2}", cpu.median / first.median)
            }),
            tool.map_or(String::new(), |tool| format!("{:.4}", tool.median / 1e3)),
            group.exact(),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

fn idle_table(groups: &[Group<'_>]) -> Option<Table> {
    let mut table = table(&[
        "scenario",
        "broker",
        "bytes/idle subscriber",
        "(min–max)",
        "resident, bytes each",
        "anonymous memory, MiB at subscribers",
    ]);
    for group in groups {
        let slopes = group.idles().map(|idle| idle.bytes_per_subscriber);
        let Some(slope) = Spread::of(slopes) else {
            continue;
        };
        let points = group
            .idles()
            .last()
            .map(|idle| idle.points.as_slice())
            .unwrap_or_default();
        let points = points.iter().map(|point| {
            let mebibytes = point.memory.anonymous_bytes as f64 / f64::from(1 << 20);
            format!("{mebibytes:.1} at {}", point.subscribers)
        });
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            format!("{:.0}", slope.median),
            format!("({:.0}–{:.0})", slope.min, slope.max),
            Spread::of(group.idles().map(IdleResult::rss_per_subscriber))
                .map_or(String::new(), |slope| format!("{:.0}", slope.median)),
            points.collect::<Vec<_>>().join(", "),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Nanoseconds for each delivery as two cells in microseconds: the median, and least and greatest.
pub(super) fn per_delivery_cells(cpu: Option<Spread>) -> [String; 2] {
    match cpu {
        None => ["–".to_owned(), String::new()],
        Some(Spread { median, min, max }) => [
            format!("{:.4}", median / 1e3),
            format!("({:.4}–{:.4})", min / 1e3, max / 1e3),
        ],
    }
}

pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(7.4), "7");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1000.0), "1,000");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
