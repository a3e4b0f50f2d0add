//! The report as a person reads it: tables in Markdown, so that they can be pasted as they are.

mod events;
mod grid;
mod latency;
mod throughput;

use std::fmt::Write as _;

use super::group::{Group, groups};
use super::summary::Summary;
use super::{Knee, Report};
pub(super) use grid::{Grid, empty};

/// A warning about how to read deliveries a second.
const CLOSED_LOOP: &str = "Deliveries/s are those of a windowed closed loop: publishers wait for their \
                           slowest subscriber.\n\n";

/// Returns all tables, the machine, and what they come to.
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
    let _ = write!(text, "{}", Summary::of(report));
    if let Some(knee) = &report.knee {
        text.push_str(&knee_text(knee));
    }
    if report.partial {
        text.push_str("PARTIAL: interrupted before the end\n");
    }
    text
}

/// Returns the tables that have rows, with what they are about.
pub(super) fn tables(groups: &[Group<'_>]) -> Vec<(&'static str, Grid)> {
    let tables = [
        (
            "Throughput in a windowed closed loop",
            throughput::fanout(groups),
        ),
        ("Latency in an open loop, µs", latency::open_loop(groups)),
        ("Time until all have a message, ms", latency::seed(groups)),
        (
            "Publishing with confirmation, µs",
            throughput::publish(groups),
        ),
        ("Memory of idle subscribers", throughput::idle(groups)),
        ("Connections all at once", events::storm(groups)),
        (
            "Clients cut off all at once, and back",
            events::reconnect(groups),
        ),
        ("Joins to channels with a history", events::history(groups)),
        (
            "Beside a subscriber that stops reading",
            events::slow_reader(groups),
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

/// Returns what a sweep found, in a sentence.
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
