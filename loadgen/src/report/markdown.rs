//! The report as tables for a document: a table for each figure that several scenarios have, then one for each
//! scenario, and what can be said about mles by the rule of [`super::judgement`]. Where it is behind comes first.

use std::fmt::Write as _;

use super::Report;
use super::group::{Rounds, groups};
use super::judgement::{Contest, ENOUGH_ROUNDS, Standing, by_figure, contests, subject};
use super::quantity::with_unit;
use super::tables::problems;
use crate::broker::Broker;

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
    let groups = groups(report);
    let contests = contests(&groups);
    text.push_str(&overviews(&contests));
    for contest in &contests {
        let _ = write!(text, "\n### {}\n\n{}", contest.scenario, table(contest));
        for line in subject(&groups)
            .into_iter()
            .flat_map(|own| comparison(contest, own))
        {
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

/// Returns a line for each broker: median and range of the rounds, or what their merged times say.
fn table(contest: &Contest<'_>) -> String {
    let columns = contest.columns();
    let mut text = "| |".to_owned();
    for (_, name) in &columns {
        let _ = write!(text, " {name} |");
    }
    text.push_str(" rounds |\n| --- |");
    text.push_str(&" --- |".repeat(columns.len() + 1));
    text.push('\n');
    for row in &contest.contenders {
        let _ = write!(text, "| {} |", row.broker.name());
        for (key, _) in &columns {
            let cell = row.figure(key).map_or_else(|| "–".to_owned(), cell);
            let _ = write!(text, " {cell} |");
        }
        let _ = writeln!(text, " {} of {} |", row.counting, row.rounds);
    }
    text
}

/// Returns a table of scenarios by brokers for each figure that several scenarios have.
fn overviews(contests: &[Contest<'_>]) -> String {
    let mut figures: Vec<(_, usize)> = Vec::new();
    for column in contests.iter().flat_map(Contest::columns) {
        match figures.iter_mut().find(|(it, _)| *it == column) {
            Some((_, count)) => *count += 1,
            None => figures.push((column, 1)),
        }
    }
    let mut brokers: Vec<Broker> = Vec::new();
    for row in contests.iter().flat_map(|it| &it.contenders) {
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
        for contest in contests {
            let figure = |broker| contest.contender(broker)?.figure(key);
            let cells = brokers.iter().map(|broker| figure(*broker));
            let cells = cells.map(|it| it.map_or_else(|| "–".to_owned(), cell));
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(text, "| {} | {} |", contest.scenario, cells.join(" | "));
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

/// Returns sentences on where `own` is behind and ahead of the others, beyond what rounds differ by.
fn comparison(contest: &Contest<'_>, own: Broker) -> Vec<String> {
    if contest.contender(own).is_none() {
        return Vec::new();
    }
    let contenders = &contest.contenders;
    if contenders.iter().all(|it| it.counting < ENOUGH_ROUNDS) {
        return vec!["One round says nothing about who is ahead.".to_owned()];
    }
    let comparisons = contest.compare(own);
    let name = own.name();
    let sentence = |word: &str, standing: Standing| {
        let figures = by_figure(&comparisons, standing).into_iter();
        let parts = figures.map(|same| {
            let brokers: Vec<&str> = same.iter().map(|it| it.broker.name()).collect();
            format!("{} ({})", same[0].own.figure.name, brokers.join(", "))
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("{name} is {word} in {}.", parts.join(", ")))
    };
    let behind = sentence("**behind**", Standing::Behind);
    let ahead = sentence("ahead", Standing::Ahead);
    let mut sentences: Vec<String> = behind.into_iter().chain(ahead).collect();
    if sentences.is_empty() && contenders.len() > 1 {
        sentences.push(format!(
            "{name} is neither behind nor ahead of any by more than the rounds differ."
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Figure;
    use crate::report::judgement::Contender;
    use crate::report::sample;

    fn rounds(key: &'static str, values: &[f64]) -> Rounds {
        Rounds {
            figure: Figure::lower(key, key, "µs", values[0]),
            values: values.to_vec(),
        }
    }

    #[test]
    fn a_range_has_its_unit_once_if_it_can() {
        let of = |values| cell(&rounds("figure", values));
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
        let contender = |broker, [first, second]: [&[f64]; 2]| Contender {
            broker,
            counting: 2,
            rounds: 2,
            figures: vec![rounds("first", first), rounds("second", second)],
        };
        let contest = Contest {
            scenario: "scenario",
            contenders: vec![
                contender(Broker::Mles, [&[1.0, 2.0], &[5.0, 6.0]]),
                contender(Broker::Nats, [&[3.0, 4.0], &[1.0, 2.0]]),
                contender(Broker::Redis, [&[2.0, 3.0], &[1.0, 2.0]]),
            ],
        };
        let sentences = comparison(&contest, Broker::Mles);
        assert_eq!(
            sentences,
            [
                "mles is **behind** in second (nats, redis).",
                "mles is ahead in first (nats).",
            ]
        );
    }
}
