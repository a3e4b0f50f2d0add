//! The decision whether a figure changed or the rounds are only far apart.

use crate::report::figure::Better;
use crate::report::group::Rounds;
use crate::report::judgement::overlap;

/// One figure before and after.
#[derive(Debug)]
pub(super) struct Change {
    /// Scenario and broker.
    pub(super) of: String,
    pub(super) before: Rounds,
    pub(super) after: Rounds,
    /// Change in percent of the figure before; infinite when that is 0.
    pub(super) percent: f64,
    pub(super) verdict: Verdict,
}

/// The meaning of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Worse,
    Better,
    /// Over the threshold, but rounds overlap.
    Noise,
    /// The change is not over the threshold.
    Same,
}

impl Verdict {
    /// Returns its word in tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Worse => "REGRESSION",
            Self::Better => "better",
            Self::Noise => "noise",
            Self::Same => "same",
        }
    }
}

impl Change {
    /// Compares two figures; returns `None` if they are no numbers.
    pub(super) fn new(of: String, before: &Rounds, after: &Rounds, threshold: f64) -> Option<Self> {
        let (old, new) = (before.figure.value, after.figure.value);
        if !(old.is_finite() && new.is_finite()) {
            return None;
        }
        let percent = match (old == 0.0, new == 0.0) {
            (true, true) => 0.0,
            (true, false) => f64::INFINITY.copysign(new),
            (false, _) => (new - old) / old.abs() * 100.0,
        };
        Some(Self {
            of,
            verdict: verdict(before, after, percent, threshold),
            before: before.clone(),
            after: after.clone(),
            percent,
        })
    }
}

/// Applies the rule of [`super`].
fn verdict(before: &Rounds, after: &Rounds, percent: f64, threshold: f64) -> Verdict {
    if percent.abs() <= threshold {
        return Verdict::Same;
    }
    if overlap(before, after) {
        return Verdict::Noise;
    }
    match (before.figure.better, percent > 0.0) {
        (Better::Lower, true) | (Better::Higher, false) => Verdict::Worse,
        (Better::Lower, false) | (Better::Higher, true) => Verdict::Better,
        (Better::Neither, _) => Verdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Figure;

    /// Rounds whose figure is their median, as three of them have it.
    fn rounds(
        figure: fn(&'static str, &'static str, &'static str, f64) -> Figure,
        values: [f64; 3],
    ) -> Rounds {
        Rounds {
            figure: figure("key", "name", "µs", values[1]),
            values: values.into(),
        }
    }

    fn verdict_of(
        figure: fn(&'static str, &'static str, &'static str, f64) -> Figure,
        before: [f64; 3],
        after: [f64; 3],
    ) -> Verdict {
        let (before, after) = (rounds(figure, before), rounds(figure, after));
        Change::new(String::new(), &before, &after, 10.0)
            .expect("they are numbers")
            .verdict
    }

    #[test]
    fn a_change_counts_over_the_threshold_and_with_rounds_apart() {
        let lower = |after| verdict_of(Figure::lower, [95.0, 100.0, 105.0], after);
        assert_eq!(lower([106.0, 120.0, 130.0]), Verdict::Worse);
        assert_eq!(lower([70.0, 80.0, 94.0]), Verdict::Better);
        // Over the threshold, but a round is within the range of before.
        assert_eq!(lower([105.0, 120.0, 130.0]), Verdict::Noise);
        assert_eq!(lower([70.0, 80.0, 95.0]), Verdict::Noise);
        // Apart, but not over it.
        assert_eq!(lower([107.0, 110.0, 112.0]), Verdict::Same);
        assert_eq!(lower([95.0, 100.0, 105.0]), Verdict::Same);
    }

    #[test]
    fn less_of_what_should_be_more_is_worse() {
        let before = [95.0, 100.0, 105.0];
        assert_eq!(
            verdict_of(Figure::higher, before, [70.0, 80.0, 90.0]),
            Verdict::Worse
        );
        assert_eq!(
            verdict_of(Figure::higher, before, [110.0, 120.0, 130.0]),
            Verdict::Better
        );
        assert_eq!(
            verdict_of(Figure::told, before, [110.0, 120.0, 130.0]),
            Verdict::Same
        );
    }

    #[test]
    fn from_nothing_to_something_is_a_change_and_from_nothing_to_nothing_is_none() {
        assert_eq!(
            verdict_of(Figure::lower, [0.0; 3], [1.0; 3]),
            Verdict::Worse
        );
        assert_eq!(verdict_of(Figure::lower, [0.0; 3], [0.0; 3]), Verdict::Same);
        let (before, after) = (
            rounds(Figure::lower, [f64::NAN; 3]),
            rounds(Figure::lower, [1.0; 3]),
        );
        assert!(Change::new(String::new(), &before, &after, 10.0).is_none());
    }
}
