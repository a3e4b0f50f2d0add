//! The report as tables for a document: a table for each figure that several scenarios have, then one for each
//! scenario, and what can be said about mles.
//!
//! Only what the rounds bear out is said: one broker is ahead of another in a figure when the ranges of their rounds
//! do not overlap. Where mles is behind comes first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;
use super::figure::Better;
use super::group::{Group, Rounds, groups};
use super::quantity::with_unit;
use super::tables::problems;
use crate::broker::Broker;

/// The broker that the others are compared with.
const OWN: Broker = Broker::Mles;
/// Rounds without which ranges say nothing.
const ENOUGH_ROUNDS: usize = 2;

/// Returns the document.
pub(super) fn render(report: &Report) -> String {
    let here = &report.environment;
    let mut text = format!("`{}`\n\n", here.repeat());
    let _ = writeln!(
        text,
        "{} cores, {}, Linux {}\n",
        here.cores, here.cpu, here.kernel
    );
    for (broker, provenance) in &report.brokers {
        let (name, version) = (broker.name(), &provenance.version);
        let _ = writeln!(text, "* {name}: {version}; {}", provenance.settings);
    }
    let mut scenarios: Vec<(&str, Vec<Group<'_>>)> = Vec::new();
    for group in groups(report) {
        match scenarios.iter_mut().find(|(it, _)| *it == group.scenario) {
            Some((_, groups)) => groups.push(group),
            None => scenarios.push((group.scenario, vec![group])),
        }
    }
    let scenarios = scenarios
        .into_iter()
        .map(|(name, groups)| (name, groups.iter().map(Row::of).collect()));
    let scenarios: Vec<(&str, Vec<Row>)> = scenarios.collect();
    text.push_str(&overviews(&scenarios));
    for (scenario, rows) in scenarios {
        let _ = write!(text, "\n### {scenario}\n\n{}", table(&rows));
        for line in comparison(&rows) {
            let _ = writeln!(text, "\n{line}");
        }
    }
    let problems = problems(report);
    if !problems.is_empty() {
        text.push_str("\n### What did not count\n\n");
    }
    for problem in problems {
        let _ = writeln!(text, "* {problem}");
    }
    text
}

/// The figures of one broker in a scenario.
struct Row {
    broker: Broker,
    /// Rounds that count, and all.
    rounds: (usize, usize),
    /// Those that are better one way or the other; none where no round counts.
    figures: Vec<Rounds>,
}

impl Row {
    fn of(group: &Group<'_>) -> Self {
        let counting = group.runs.iter().filter(|run| run.counts()).count();
        let mut figures = group.figures();
        figures.retain(|it| counting > 0 && it.figure.better != Better::Neither);
        Self {
            broker: group.broker,
            rounds: (counting, group.runs.len()),
            figures,
        }
    }

    fn figure(&self, key: &str) -> Option<&Rounds> {
        self.figures.iter().find(|it| it.figure.key == key)
    }
}

/// Returns the keys and names of the figures that any of `rows` has, but for those that are nothing everywhere.
fn columns(rows: &[Row]) -> Vec<(&'static str, &'static str)> {
    let mut columns = Vec::new();
    for rounds in rows.iter().flat_map(|row| &row.figures) {
        let column = (rounds.figure.key, rounds.figure.name);
        let is_nothing = rounds.range() == (0.0, 0.0);
        if !is_nothing && !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Returns a line for each broker: median and range of the rounds, or what their merged times say.
fn table(rows: &[Row]) -> String {
    let columns = columns(rows);
    let mut text = "| |".to_owned();
    for (_, name) in &columns {
        let _ = write!(text, " {name} |");
    }
    text.push_str(" rounds |\n| --- |");
    text.push_str(&" --- |".repeat(columns.len() + 1));
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row.broker.name());
        for (key, _) in &columns {
            let cell = row.figure(key).map_or_else(|| "–".to_owned(), cell);
            let _ = write!(text, " {cell} |");
        }
        let (counting, all) = row.rounds;
        let _ = writeln!(text, " {counting} of {all} |");
    }
    text
}

/// Returns a table of scenarios by brokers for each figure that several scenarios have.
fn overviews(scenarios: &[(&str, Vec<Row>)]) -> String {
    let mut figures: Vec<(_, usize)> = Vec::new();
    for column in scenarios.iter().flat_map(|(_, rows)| columns(rows)) {
        match figures.iter_mut().find(|(it, _)| *it == column) {
            Some((_, count)) => *count += 1,
            None => figures.push((column, 1)),
        }
    }
    let mut brokers: Vec<Broker> = Vec::new();
    for row in scenarios.iter().flat_map(|(_, rows)| rows) {
        if !brokers.contains(&row.broker) {
            brokers.push(row.broker);
        }
    }
    let names = brokers.iter().map(|broker| format!(" {} |", broker.name()));
    let names: String = names.collect();
    let mut text = String::new();
    for ((key, figure), _) in figures.into_iter().filter(|(_, count)| *count > 1) {
        let rule = " --- |".repeat(brokers.len());
        let _ = write!(text, "\n### {figure}\n\n| |{names}\n| --- |{rule}\n");
        for (scenario, rows) in scenarios {
            let figure = |broker| rows.iter().find(|row| row.broker == broker)?.figure(key);
            let cells = brokers.iter().map(|broker| figure(*broker));
            let cells = cells.map(|it| it.map_or_else(|| "–".to_owned(), cell));
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(text, "| {scenario} | {} |", cells.join(" | "));
        }
    }
    text
}

/// Returns the figure of all rounds, and the least and the greatest of them where there are several.
fn cell(rounds: &Rounds) -> String {
    let told = |value| with_unit(value, rounds.figure.unit);
    let (least, greatest) = rounds.range();
    let (value, least, greatest) = (told(rounds.figure.value), told(least), told(greatest));
    if rounds.values.len() == 1 {
        return value;
    }
    // The unit once, where all have the same.
    match [&value, &least, &greatest].map(|it| it.split_once(' ')) {
        [
            Some((_, unit)),
            Some((least, its)),
            Some((greatest, theirs)),
        ] if unit == its && unit == theirs => {
            format!("{value} ({least}–{greatest})")
        }
        _ => format!("{value} ({least}–{greatest})"),
    }
}

/// Returns sentences on where mles is behind and ahead of the others, beyond what rounds differ by.
fn comparison(rows: &[Row]) -> Vec<String> {
    let Some(own) = rows.iter().find(|row| row.broker == OWN) else {
        return Vec::new();
    };
    if rows.iter().all(|row| row.rounds.0 < ENOUGH_ROUNDS) {
        return vec!["One round says nothing about who is ahead.".to_owned()];
    }
    let (mut behind, mut ahead) = (BTreeMap::new(), BTreeMap::new());
    let columns = columns(rows);
    for other in rows.iter().filter(|row| row.broker != OWN) {
        for (place, (key, _)) in columns.iter().enumerate() {
            let both = own.figure(key).zip(other.figure(key));
            let side = match both.and_then(|(own, other)| is_ahead(own, other)) {
                Some(true) => &mut ahead,
                Some(false) => &mut behind,
                None => continue,
            };
            let brokers: &mut Vec<_> = side.entry(place).or_default();
            brokers.push(other.broker.name());
        }
    }
    let sentence = |word: &str, side: BTreeMap<usize, Vec<&str>>| {
        let parts = side
            .into_iter()
            .map(|(place, brokers)| format!("{} ({})", columns[place].1, brokers.join(", ")));
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("mles is {word} in {}.", parts.join(", ")))
    };
    let behind = sentence("**behind**", behind);
    let ahead = sentence("ahead", ahead);
    let mut sentences: Vec<String> = behind.into_iter().chain(ahead).collect();
    if sentences.is_empty() && rows.len() > 1 {
        let nothing = "mles is neither behind nor ahead of any by more than the rounds differ.";
        sentences.push(nothing.to_owned());
    }
    sentences
}

/// Returns whether `own` is better than `other` in all rounds, or worse; `None` if rounds overlap or are too few.
fn is_ahead(own: &Rounds, other: &Rounds) -> Option<bool> {
    if own.values.len().min(other.values.len()) < ENOUGH_ROUNDS {
        return None;
    }
    let ((own_least, own_greatest), (least, greatest)) = (own.range(), other.range());
    let is_less = own_greatest < least;
    let is_more = own_least > greatest;
    match own.figure.better {
        Better::Lower if is_less || is_more => Some(is_less),
        Better::Higher if is_less || is_more => Some(is_more),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Figure;
    use crate::report::sample;

    fn rounds(better: Better, values: &[f64]) -> Rounds {
        let figure = Figure::lower("key", "name", "µs", values[0]);
        Rounds {
            figure: Figure { better, ..figure },
            values: values.to_vec(),
        }
    }

    #[test]
    fn only_ranges_that_do_not_overlap_set_apart() {
        let lower = |values: &[f64]| rounds(Better::Lower, values);
        let higher = |values: &[f64]| rounds(Better::Higher, values);
        let own = [4.0, 5.0, 6.0];
        for (other, expected) in [
            ([7.0, 8.0, 9.0], Some(true)),
            ([1.0, 2.0, 3.0], Some(false)),
            ([6.0, 7.0, 8.0], None),
            ([1.0, 5.0, 9.0], None),
        ] {
            assert_eq!(is_ahead(&lower(&own), &lower(&other)), expected);
            let other = is_ahead(&higher(&own), &higher(&other));
            assert_eq!(other, expected.map(|it| !it));
        }
        let one_round = is_ahead(&lower(&[1.0]), &lower(&[9.0]));
        assert_eq!(one_round, None, "one round has no range");
    }

    #[test]
    fn a_range_has_its_unit_once_if_it_can() {
        let of = |values| cell(&rounds(Better::Lower, values));
        assert_eq!(of(&[0.2, 0.1, 0.3]), "200 ns (100–300)");
        assert_eq!(of(&[1.5, 0.9, 2.0]), "1.5 µs (900 ns–2 µs)");
        assert_eq!(of(&[2.0]), "2 µs");
    }

    #[test]
    fn every_scenario_has_a_table_with_all_its_brokers() {
        let report = sample::report();
        let text = render(&report);
        for scenario in report.scenarios.keys() {
            let heading = format!("### {scenario}\n");
            let (_, part) = text.split_once(&heading).expect("it was run");
            let part = part.split("###").next().unwrap_or_default();
            for broker in ["| mles |", "| nats |"] {
                assert!(part.contains(broker), "{scenario}: {part}");
            }
            let columns = |line: &str| line.matches('|').count();
            let mut lines = part.lines().filter(|line| line.starts_with('|'));
            let first = lines.next().map(columns);
            assert!(lines.all(|line| Some(columns(line)) == first), "{part}");
        }
        assert!(text.contains("mles is ahead in "), "{text}");
    }

    #[test]
    fn where_mles_is_behind_comes_first() {
        let row = |broker, figures: [&[f64]; 2]| Row {
            broker,
            rounds: (2, 2),
            figures: figures
                .iter()
                .zip(["first", "second"])
                .map(|(values, key)| {
                    let mut rounds = rounds(Better::Lower, values);
                    (rounds.figure.key, rounds.figure.name) = (key, key);
                    rounds
                })
                .collect(),
        };
        let sentences = comparison(&[
            row(Broker::Mles, [&[1.0, 2.0], &[5.0, 6.0]]),
            row(Broker::Nats, [&[3.0, 4.0], &[1.0, 2.0]]),
            row(Broker::Redis, [&[2.0, 3.0], &[1.0, 2.0]]),
        ]);
        assert_eq!(
            sentences,
            [
                "mles is **behind** in second (nats, redis).",
                "mles is ahead in first (nats).",
            ]
        );
    }
}
