//! Two reports beside each other.
//!
//! The rule: a figure got worse when it changed for the worse by more than the threshold, *and* the
//! ranges of its rounds before and after do not overlap. One without the other is noise: rounds that
//! differ among themselves by as much say nothing, and neither does a small change that is always there.
//! With one round there is no range but that round, and the threshold decides alone. Figures that are
//! neither good nor bad are left out; runs that do not count are too, and when none of them counts any
//! more, that is a regression by itself.

mod notes;
mod verdict;

use std::fmt;

use thiserror::Error;

use super::Report;
use super::figure::Better;
use super::group::{Group, groups};
use super::quantity::with_unit;
use super::tables;
use crate::broker::Broker;
use verdict::{Change, Verdict};

/// The selection to compare, and the change that counts.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The least change, in percent, that counts as one.
    pub(crate) threshold: f64,
    /// Only these, by their names in the reports; all when empty.
    pub(crate) scenarios: Vec<String>,
    /// Only these; all when empty.
    pub(crate) brokers: Vec<Broker>,
}

/// There is nothing to compare.
#[derive(Debug, Error)]
pub(crate) enum DiffError {
    /// No scenario was run over the same broker in both.
    #[error("the reports have no scenario and broker in common")]
    NothingInCommon,
    /// They have scenarios and brokers in common, but no runs that count in both.
    #[error("what the reports have in common has no runs that count in both")]
    NothingCounts,
}

/// The change of every figure that both reports have.
#[derive(Debug)]
pub(crate) struct Diff {
    terms: Terms,
    changes: Vec<Change>,
    /// Runs of which none counts any more: scenario, broker, and why.
    broken: Vec<String>,
    /// Reasons why the two are less comparable than they seem.
    notes: Vec<String>,
}

impl Diff {
    /// Compares `before` and `after`.
    ///
    /// # Errors
    /// They have nothing in common.
    pub(crate) fn between(
        before: &Report,
        after: &Report,
        terms: Terms,
    ) -> Result<Self, DiffError> {
        let [old, new] = [before, after].map(|report| {
            let mut groups = groups(report);
            groups.retain(|group| terms.include(group));
            groups
        });
        let mut diff = Self {
            terms,
            changes: Vec::new(),
            broken: Vec::new(),
            notes: notes::of(before, after),
        };
        let mut in_common = 0;
        let mut only_old = Vec::new();
        for group in &old {
            match new.iter().find(|other| is_same(group, other)) {
                Some(other) => {
                    in_common += 1;
                    diff.compare(group, other);
                }
                None => only_old.push(name(group)),
            }
        }
        let is_new = |group: &&Group<'_>| !old.iter().any(|other| is_same(group, other));
        let only_new: Vec<_> = new.iter().filter(is_new).map(name).collect();
        for (which, only) in [("first", only_old), ("second", only_new)] {
            if !only.is_empty() {
                diff.notes
                    .push(format!("only in the {which}: {}", only.join(", ")));
            }
        }
        if in_common == 0 {
            return Err(DiffError::NothingInCommon);
        }
        if diff.changes.is_empty() && diff.broken.is_empty() {
            return Err(DiffError::NothingCounts);
        }
        Ok(diff)
    }

    /// Returns `true` if any figure got worse.
    pub(crate) fn is_regression(&self) -> bool {
        !self.broken.is_empty() || self.count(Verdict::Worse) > 0
    }

    fn compare(&mut self, before: &Group<'_>, after: &Group<'_>) {
        let counts = |group: &Group<'_>| group.runs.iter().any(|run| run.counts());
        match (counts(before), counts(after)) {
            (true, true) => {}
            (true, false) => {
                match after.runs.iter().find_map(|run| run.trouble()) {
                    Some(why) => {
                        let line = format!("{}: no run counts any more: {why}", name(after));
                        self.broken.push(line);
                    }
                    None => {
                        let line = format!("{}: the second was interrupted in it", name(after));
                        self.notes.push(line);
                    }
                }
                return;
            }
            (false, _) => {
                self.notes.push(format!(
                    "{}: no run of the first counts, not compared",
                    name(before)
                ));
                return;
            }
        }
        let after_figures = after.figures();
        for old in before.figures() {
            let same = after_figures
                .iter()
                .find(|new| new.figure.key == old.figure.key);
            let Some(new) = same.filter(|_| old.figure.better != Better::Neither) else {
                continue;
            };
            let change = Change::new(name(before), &old, new, self.terms.threshold);
            self.changes.extend(change);
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.changes
            .iter()
            .filter(|change| change.verdict == verdict)
            .count()
    }
}

impl Terms {
    fn include(&self, group: &Group<'_>) -> bool {
        let scenario =
            self.scenarios.is_empty() || self.scenarios.iter().any(|it| it == group.scenario);
        scenario && (self.brokers.is_empty() || self.brokers.contains(&group.broker))
    }
}

fn is_same(group: &Group<'_>, other: &Group<'_>) -> bool {
    group.scenario == other.scenario && group.broker == other.broker
}

fn name(group: &Group<'_>) -> String {
    format!("{} {}", group.scenario, group.broker.name())
}

impl fmt::Display for Diff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = tables::empty(&[
            "scenario, broker",
            "figure",
            "before",
            "(min–max)",
            "after",
            "(min–max)",
            "change",
            "verdict",
        ]);
        for change in &self.changes {
            let [before, after] = [&change.before, &change.after].map(|rounds| {
                let unit = rounds.figure.unit;
                let (least, greatest) = rounds.range();
                let range = format!("({}–{})", with_unit(least, unit), with_unit(greatest, unit));
                (with_unit(rounds.figure.value, unit), range)
            });
            let figure = change.before.figure.name.to_owned();
            let words = change.verdict.word().to_owned();
            let (name, percent) = (change.of.clone(), format!("{:+.1} %", change.percent));
            table.add_row([
                name, figure, before.0, before.1, after.0, after.1, percent, words,
            ]);
        }
        if table.row_count() > 0 {
            writeln!(out, "{table}\n")?;
        }
        for line in &self.broken {
            writeln!(out, "REGRESSION {line}")?;
        }
        for note in &self.notes {
            writeln!(out, "NOTE {note}")?;
        }
        writeln!(
            out,
            "{} worse, {} better, {} the same; worse or better is over {} % and beyond the range of the rounds",
            self.count(Verdict::Worse) + self.broken.len(),
            self.count(Verdict::Better),
            self.count(Verdict::Noise) + self.count(Verdict::Same),
            self.terms.threshold,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Run, RunResult, sample};

    fn terms() -> Terms {
        Terms {
            threshold: 10.0,
            scenarios: Vec::new(),
            brokers: Vec::new(),
        }
    }

    fn report(results: impl IntoIterator<Item = RunResult>) -> Report {
        let mut report = sample::empty();
        for (index, result) in results.into_iter().enumerate() {
            report.push(Run::new("scenario", Broker::Mles, index + 1, result));
        }
        report
    }

    fn compare(before: &Report, after: &Report) -> Diff {
        Diff::between(before, after, terms()).expect("they have a scenario in common")
    }

    #[test]
    fn a_report_is_no_worse_than_itself() {
        let report = sample::report();
        let diff = compare(&report, &report);
        assert!(!diff.is_regression(), "{diff}");
        for wanted in [
            "server CPU per delivery",
            "p99.9",
            "deviation",
            "memory per idle subscriber",
        ] {
            assert!(diff.to_string().contains(wanted), "{wanted}: {diff}");
        }
        assert_eq!(diff.count(Verdict::Same), diff.changes.len());
    }

    #[test]
    fn slower_is_worse_one_way_and_better_the_other() {
        let quick = report([sample::latency(10), sample::latency(11)]);
        let slow = report([sample::latency(20), sample::latency(21)]);
        let diff = compare(&quick, &slow);
        assert!(diff.is_regression(), "{diff}");
        assert!(diff.to_string().contains("REGRESSION"), "{diff}");
        let diff = compare(&slow, &quick);
        assert!(!diff.is_regression(), "{diff}");
        assert!(diff.count(Verdict::Better) > 0, "{diff}");
    }

    #[test]
    fn percentiles_of_rounds_are_those_of_all_their_times() {
        let diff = compare(
            &report([sample::latency(1)]),
            &report([sample::latency(1), sample::latency(9)]),
        );
        let p50 = diff
            .changes
            .iter()
            .find(|it| it.before.figure.name == "p50")
            .expect("it is compared");
        // Of 1000 times evenly up to 1 ms and as many up to 9 ms; the mean of the two would be 2.5.
        let merged = p50.after.figure.value / 1e3;
        assert!((0.89..0.92).contains(&merged), "{merged}");
    }

    #[test]
    fn what_does_not_count_any_more_is_a_regression() {
        let good = report([sample::fanout(1)]);
        let bad = report([RunResult::Failed("it ended".to_owned())]);
        let diff = compare(&good, &bad);
        assert!(
            diff.is_regression() && diff.to_string().contains("it ended"),
            "{diff}"
        );
        let other_way = Diff::between(&bad, &good, terms());
        assert!(matches!(other_way, Err(DiffError::NothingCounts)));
    }

    #[test]
    fn only_what_is_asked_for_and_in_both_is_compared() {
        let all = sample::report();
        let one = Terms {
            scenarios: vec!["idle".to_owned()],
            brokers: vec![Broker::Nats],
            ..terms()
        };
        let diff = Diff::between(&all, &all, one).expect("it is in both");
        assert!(
            diff.changes.iter().all(|change| change.of == "idle nats"),
            "{diff}"
        );
        let none = Terms {
            scenarios: vec!["other".to_owned()],
            ..terms()
        };
        assert!(matches!(
            Diff::between(&all, &all, none),
            Err(DiffError::NothingInCommon)
        ));
    }
}
