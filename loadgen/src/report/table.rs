//! The report as a person reads it: tables in Markdown, so that they can be pasted as they are.

use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::spread::Spread;
use super::{Report, Run, RunResult};
use crate::adapter::Broker;
use crate::scenario::{IdleResult, Outcome};

/// Both tables, the machine, and what went wrong.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let groups = groups(report);
    for table in [fanout_table(&groups), idle_table(&groups)]
        .into_iter()
        .flatten()
    {
        let _ = writeln!(text, "{table}\n");
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
    for (broker, why) in &report.skipped {
        let _ = writeln!(text, "SKIPPED {}: {why}", broker.name());
    }
    for run in &report.runs {
        if let Some(trouble) = trouble(run) {
            let (scenario, broker) = (&run.scenario, run.broker.name());
            let _ = writeln!(
                text,
                "FAILED {scenario} {broker} round {}: {trouble}",
                run.round
            );
        }
    }
    if report.partial {
        text.push_str("PARTIAL: interrupted before the end\n");
    }
    text
}

/// The runs of one scenario over one broker.
struct Group<'a> {
    scenario: &'a str,
    broker: Broker,
    runs: Vec<&'a Run>,
}

impl Group<'_> {
    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.runs.iter().filter_map(|run| match &run.result {
            RunResult::Fanout(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn idles(&self) -> impl Iterator<Item = &IdleResult> {
        self.runs.iter().filter_map(|run| match &run.result {
            RunResult::Idle(idle) => Some(idle),
            _ => None,
        })
    }

    fn server_cpu(&self) -> Option<Spread> {
        Spread::of(self.outcomes().filter_map(|outcome| {
            let cpu = outcome.server_cpu?;
            Some(per_delivery(cpu.nanoseconds, outcome))
        }))
    }

    fn clean(&self) -> String {
        let clean = self.runs.iter().filter(|run| run.result.is_clean()).count();
        format!("{clean}/{}", self.runs.len())
    }
}

/// By scenario and broker, in the order they were first run.
fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in &report.runs {
        let same =
            |group: &&mut Group<'_>| group.scenario == run.scenario && group.broker == run.broker;
        match groups.iter_mut().find(same) {
            Some(group) => group.runs.push(run),
            None => {
                let (scenario, broker) = (run.scenario.as_str(), run.broker);
                groups.push(Group {
                    scenario,
                    broker,
                    runs: vec![run],
                });
            }
        }
    }
    groups
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
        let tool = |outcome: &Outcome| per_delivery(outcome.tool_cpu.nanoseconds, outcome);
        let tool = Spread::of(group.outcomes().map(tool));
        let cpu = group.server_cpu();
        let first = groups.iter().find(|other| other.scenario == group.scenario);
        let ratio = cpu.zip(first.and_then(Group::server_cpu));
        table.add_row([
            group.scenario.to_owned(),
            group.broker.name().to_owned(),
            thousands(rate.median),
            format!("({}–{})", thousands(rate.min), thousands(rate.max)),
            cpu.map_or("–".to_owned(), |cpu| format!("{:.4}", cpu.median / 1e3)),
            cpu.map_or(String::new(), |cpu| {
                format!("({:.4}–{:.4})", cpu.min / 1e3, cpu.max / 1e3)
            }),
            ratio.map_or(String::new(), |(cpu, first)| {
                format!("{:.2}", cpu.median / first.median)
            }),
            tool.map_or(String::new(), |tool| format!("{:.4}", tool.median / 1e3)),
            group.clean(),
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
            points.collect::<Vec<_>>().join(", "),
        ]);
    }
    (table.row_count() > 0).then_some(table)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Nanoseconds for each delivery that came.
fn per_delivery(nanoseconds: u64, outcome: &Outcome) -> f64 {
    nanoseconds as f64 / outcome.tally.delivered.max(1) as f64
}

fn thousands(number: f64) -> String {
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

fn trouble(run: &Run) -> Option<String> {
    match &run.result {
        RunResult::Failed(why) => Some(why.clone()),
        RunResult::Fanout(outcome) if !outcome.tally.is_clean() => {
            let tally = &outcome.tally;
            Some(format!(
                "{} of {} delivered; {} lost, {} duplicated, {} reordered, {} foreign",
                tally.delivered,
                tally.expected,
                tally.lost,
                tally.duplicated,
                tally.reordered,
                tally.foreign
            ))
        }
        _ => None,
    }
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
