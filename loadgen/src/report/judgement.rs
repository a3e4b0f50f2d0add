//! Who is ahead of whom in a figure, by the one rule that all reports share.
//!
//! The rounds of a figure span a range, from the least to the greatest. Two brokers differ beyond noise if
//! their ranges do not overlap; ranges that touch overlap. One round has no range, so nothing is said from it.
//! Rounds that do not count have no part in this.

use super::figure::Better;
use super::group::{Group, Rounds};
use crate::broker::Broker;

/// Rounds without which a range says nothing.
pub(super) const ENOUGH_ROUNDS: usize = 2;

/// How a broker stands to another in a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Worse in every round.
    Behind,
    /// Better in every round.
    Ahead,
    /// Their rounds overlap: there is no difference beyond noise.
    Even,
}

/// One scenario with the figures of all brokers that ran it.
#[derive(Debug)]
pub(super) struct Contest<'a> {
    pub(super) scenario: &'a str,
    pub(super) contenders: Vec<Contender>,
}

/// The figures of one broker in a scenario.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) broker: Broker,
    /// Rounds that count.
    pub(super) counting: usize,
    /// Rounds that were run.
    pub(super) rounds: usize,
    /// Figures that are better one way or the other; none if no round counts.
    pub(super) figures: Vec<Rounds>,
}

/// A figure of one broker beside that of another.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) own: &'a Rounds,
    pub(super) broker: Broker,
    /// The figure of `broker`.
    pub(super) other: &'a Rounds,
    pub(super) standing: Standing,
}

/// Returns `true` if the ranges of the two have a value in common.
pub(super) fn overlap(one: &Rounds, other: &Rounds) -> bool {
    let ((least, greatest), (other_least, other_greatest)) = (one.range(), other.range());
    least <= other_greatest && other_least <= greatest
}

/// Returns how `own` stands to `other`; `None` if nothing can be said: there are too few rounds, a value is no
/// number, or the figure is neither good nor bad.
pub(super) fn standing(own: &Rounds, other: &Rounds) -> Option<Standing> {
    let is_enough = |rounds: &Rounds| {
        rounds.values.len() >= ENOUGH_ROUNDS && rounds.values.iter().all(|it| it.is_finite())
    };
    let better = own.figure.better;
    if better == Better::Neither || !is_enough(own) || !is_enough(other) {
        return None;
    }
    if overlap(own, other) {
        return Some(Standing::Even);
    }
    let is_less = own.range().1 < other.range().0;
    if is_less == (better == Better::Lower) {
        Some(Standing::Ahead)
    } else {
        Some(Standing::Behind)
    }
}

/// Returns the broker that the others are compared with: mles where it was run, else the first.
pub(super) fn subject(groups: &[Group<'_>]) -> Option<Broker> {
    let mut brokers = groups.iter().map(|group| group.broker);
    let first = brokers.clone().next();
    brokers.find(|it| *it == Broker::Mles).or(first)
}

/// Returns the scenarios in the order in which they were run.
pub(super) fn contests<'a>(groups: &[Group<'a>]) -> Vec<Contest<'a>> {
    let mut contests: Vec<Contest<'a>> = Vec::new();
    for group in groups {
        let contender = Contender::of(group);
        match contests.iter_mut().find(|it| it.scenario == group.scenario) {
            Some(contest) => contest.contenders.push(contender),
            None => contests.push(Contest {
                scenario: group.scenario,
                contenders: vec![contender],
            }),
        }
    }
    contests
}

/// Returns the comparisons with this `standing`, put together by figure.
pub(super) fn by_figure<'c, 'a>(
    comparisons: &'c [Comparison<'a>],
    standing: Standing,
) -> Vec<Vec<&'c Comparison<'a>>> {
    let mut figures: Vec<Vec<&Comparison<'a>>> = Vec::new();
    for it in comparisons.iter().filter(|it| it.standing == standing) {
        match figures.last_mut() {
            Some(same) if same[0].own.figure.key == it.own.figure.key => same.push(it),
            _ => figures.push(vec![it]),
        }
    }
    figures
}

impl Contest<'_> {
    /// Returns the contender that is `broker`.
    pub(super) fn contender(&self, broker: Broker) -> Option<&Contender> {
        self.contenders.iter().find(|it| it.broker == broker)
    }

    /// Returns the keys and names of the figures that any contender has, but for those that are nothing
    /// everywhere.
    pub(super) fn columns(&self) -> Vec<(&'static str, &'static str)> {
        let mut columns = Vec::new();
        for rounds in self.contenders.iter().flat_map(|it| &it.figures) {
            let column = (rounds.figure.key, rounds.figure.name);
            let is_nothing = rounds.range() == (0.0, 0.0);
            if !is_nothing && !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Compares every figure of `own` with that of each other broker, where something can be said: figure by
    /// figure.
    pub(super) fn compare(&self, own: Broker) -> Vec<Comparison<'_>> {
        let Some(subject) = self.contender(own) else {
            return Vec::new();
        };
        let mut comparisons = Vec::new();
        for (key, _) in self.columns() {
            let Some(own_rounds) = subject.figure(key) else {
                continue;
            };
            for contender in self.contenders.iter().filter(|it| it.broker != own) {
                let Some(other) = contender.figure(key) else {
                    continue;
                };
                if let Some(standing) = standing(own_rounds, other) {
                    comparisons.push(Comparison {
                        own: own_rounds,
                        broker: contender.broker,
                        other,
                        standing,
                    });
                }
            }
        }
        comparisons
    }
}

impl Contender {
    fn of(group: &Group<'_>) -> Self {
        let counting = group.counting_runs().len();
        let mut figures = group.figures();
        figures.retain(|it| counting > 0 && it.figure.better != Better::Neither);
        Self {
            broker: group.broker,
            counting,
            rounds: group.runs.len(),
            figures,
        }
    }

    /// Returns the figure with this key.
    pub(super) fn figure(&self, key: &str) -> Option<&Rounds> {
        self.figures.iter().find(|it| it.figure.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Figure;
    use crate::report::group::groups;
    use crate::report::{RunResult, sample};

    fn rounds(better: Better, values: &[f64]) -> Rounds {
        let figure = Figure::lower("key", "name", "µs", values[0]);
        Rounds {
            figure: Figure { better, ..figure },
            values: values.to_vec(),
        }
    }

    #[test]
    fn only_ranges_that_do_not_overlap_set_apart() {
        use Standing::{Ahead, Behind, Even};
        let own = [4.0, 5.0, 6.0];
        for (other, lower, higher) in [
            ([7.0, 8.0, 9.0], Ahead, Behind),
            ([1.0, 2.0, 3.0], Behind, Ahead),
            // They touch.
            ([6.0, 7.0, 8.0], Even, Even),
            ([2.0, 3.0, 4.0], Even, Even),
            // One is within the other, either way.
            ([1.0, 5.0, 9.0], Even, Even),
            ([4.5, 5.0, 5.5], Even, Even),
        ] {
            for (better, expected) in [(Better::Lower, lower), (Better::Higher, higher)] {
                let found = standing(&rounds(better, &own), &rounds(better, &other));
                assert_eq!(found, Some(expected), "{better:?}, {other:?}");
            }
            let told = |values: &[f64]| rounds(Better::Neither, values);
            assert_eq!(standing(&told(&own), &told(&other)), None);
        }
    }

    #[test]
    fn nothing_is_said_from_one_round_or_from_what_is_no_number() {
        let lower = |values: &[f64]| rounds(Better::Lower, values);
        for (own, other) in [
            (&[1.0][..], &[9.0][..]),
            (&[1.0, 2.0], &[9.0]),
            (&[1.0], &[8.0, 9.0]),
            (&[1.0, f64::NAN], &[8.0, 9.0]),
            (&[1.0, 2.0], &[8.0, f64::INFINITY]),
        ] {
            let found = standing(&lower(own), &lower(other));
            assert_eq!(found, None, "{own:?}, {other:?}");
        }
    }

    #[test]
    fn runs_that_do_not_count_have_no_part_in_it() {
        let mut report = sample::report();
        let p50 = |report: &crate::report::Report| {
            let groups = groups(report);
            let contests = contests(&groups);
            let contest = contests.iter().find(|it| it.scenario == "latency-1000");
            let comparisons = contest.expect("it was run").compare(Broker::Mles);
            let p50 = comparisons.iter().find(|it| it.own.figure.name == "p50");
            p50.map(|it| it.standing)
        };
        assert_eq!(p50(&report), Some(Standing::Ahead));
        let mut invalidate = |round: usize| {
            let mut runs = report.runs.iter_mut();
            let run = runs.find(|run| {
                run.broker == Broker::Nats && run.scenario == "latency-1000" && run.round == round
            });
            if let Some(RunResult::Latency(outcome)) = run.map(|run| &mut run.result) {
                outcome.invalid.push("too late".to_owned());
            }
            p50(&report)
        };
        assert_eq!(invalidate(1), None, "one round that counts is left");
        assert_eq!(invalidate(2), None, "none is left");
    }

    #[test]
    fn mles_is_compared_with_the_others_where_it_was_run() {
        let report = sample::report();
        let mut groups = groups(&report);
        assert_eq!(subject(&groups), Some(Broker::Mles));
        groups.retain(|group| group.broker != Broker::Mles);
        assert_eq!(subject(&groups), Some(Broker::Nats));
        assert_eq!(subject(&[]), None);
    }
}
