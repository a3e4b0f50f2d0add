//! Axes: from figures to places, and the ticks on them.

/// A mapping from figures to places between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

/// A log scale over less than so many decades has ticks inside of them too.
const FEW_DECADES: f64 = 3.1;
/// Figures up to this one are drawn as nothing.
const TINY: f64 = 1e-9;

impl Scale {
    /// Returns a logarithmic scale over all of `figures`, rounded outwards to 1, 2 or 5 of a decade. Figures below
    /// `least`, which is over 0, count as that.
    pub(super) fn log(figures: impl Iterator<Item = f64> + Clone, least: f64) -> Self {
        let finite = figures.filter(|figure| figure.is_finite());
        let low = finite.clone().fold(f64::INFINITY, f64::min).max(least);
        let low = if low.is_finite() { low } else { least };
        let high = finite.fold(low, f64::max);
        let decade = 10_f64.powf(low.log10().floor());
        let low = steps(decade).filter(|step| *step <= low * 1.000_001);
        let low = low.fold(decade, f64::max);
        let mut higher = (0..).flat_map(|power| steps(decade * 10_f64.powi(power)));
        let high = higher.find(|step| *step >= high * 0.999_999 && *step > low);
        Self {
            low,
            high: high.unwrap_or(low * 10.0),
            is_log: true,
        }
    }

    /// Returns a logarithmic scale from `low` to `high`, both over 0.
    pub(super) fn log_between(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            is_log: true,
        }
    }

    /// Returns a scale from 0 to the greatest of `figures`, rounded up to a tick.
    pub(super) fn from_zero(figures: impl Iterator<Item = f64>) -> Self {
        let finite = figures.filter(|figure| figure.is_finite());
        let greatest = finite.fold(0.0, f64::max);
        let high = if greatest > TINY { greatest } else { 1.0 };
        let step = tick_step(high);
        Self {
            low: 0.0,
            high: (high / step - 0.000_001).ceil() * step,
            is_log: false,
        }
    }

    /// Returns a scale from 0 to `high`, without ticks of its own.
    pub(super) fn to(high: f64) -> Self {
        let high = if high > TINY { high } else { 1.0 };
        Self {
            low: 0.0,
            high,
            is_log: false,
        }
    }

    /// Returns where `figure` is: 0 at the low end, 1 at the high end, and never beyond.
    pub(super) fn place(&self, figure: f64) -> f64 {
        let place = if self.is_log {
            (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (figure - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    /// Returns round figures from the low end to the high one.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let edge = self.high * 1.000_001;
        if !self.is_log {
            let step = tick_step(self.high);
            let ticks = (0_u32..).map(|number| f64::from(number) * step);
            return ticks.take_while(|tick| *tick <= edge).collect();
        }
        let is_close = (self.high / self.low).log10() < FEW_DECADES;
        let decade = 10_f64.powf((self.low * 1.000_001).log10().floor());
        let decades = (0..).map(|power| decade * 10_f64.powi(power));
        decades
            .take_while(|decade| *decade <= edge)
            .flat_map(|decade| steps(decade).take(if is_close { 3 } else { 1 }))
            .filter(|tick| *tick >= self.low * 0.999_999 && *tick <= edge)
            .collect()
    }
}

/// Returns 1, 2 and 5 of the decade that begins with `decade`.
fn steps(decade: f64) -> impl Iterator<Item = f64> {
    [1.0, 2.0, 5.0].into_iter().map(move |step| step * decade)
}

/// Returns a round step with which three to six ticks reach `high`, which is over 0.
fn tick_step(high: f64) -> f64 {
    let decade = 10_f64.powf(high.log10().floor());
    let ticks_at = |step: &f64| high / (step * decade);
    let step = [0.2, 0.25, 0.5, 1.0, 2.0].into_iter();
    decade
        * step
            .clone()
            .find(|step| ticks_at(step) <= 5.0)
            .unwrap_or(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::quantity::count;

    #[test]
    fn a_log_scale_ends_at_round_figures_around_all_of_them() {
        let scale = Scale::log([30.0, 7000.0, f64::NAN].into_iter(), 1.0);
        let ticks: Vec<String> = scale.ticks().into_iter().map(count).collect();
        assert_eq!(
            ticks,
            ["20", "50", "100", "200", "500", "1 k", "2 k", "5 k", "10 k"]
        );
        assert_eq!((scale.place(20.0), scale.place(10_000.0)), (0.0, 1.0));
        assert_eq!((scale.place(0.0), scale.place(f64::INFINITY)), (0.0, 1.0));
        let wide = Scale::log([1e3, 9e8].into_iter(), 1.0);
        assert_eq!(wide.ticks().len(), 7, "decades alone: {:?}", wide.ticks());
    }

    #[test]
    fn figures_that_are_all_the_same_or_none_have_a_scale() {
        for figures in [
            vec![],
            vec![0.0],
            vec![5.0, 5.0],
            vec![f64::INFINITY],
            vec![1e-300],
        ] {
            let log = Scale::log(figures.iter().copied(), 1.0);
            let linear = Scale::from_zero(figures.iter().copied());
            for scale in [log, linear] {
                assert!(scale.high > scale.low, "{figures:?}: {scale:?}");
                assert!(
                    (2..12).contains(&scale.ticks().len()),
                    "{figures:?}: {scale:?}"
                );
            }
        }
    }

    #[test]
    fn a_linear_scale_begins_at_nothing_and_ends_at_a_tick() {
        for greatest in [0.017, 0.99, 3.0, 9.1, 84_000.0, 1e7] {
            let scale = Scale::from_zero([greatest].into_iter());
            let ticks = scale.ticks();
            assert!((3..=7).contains(&ticks.len()), "{greatest}: {ticks:?}");
            assert_eq!(ticks[0], 0.0);
            let last = ticks.last().copied().unwrap_or_default();
            assert!(last >= greatest * 0.999_999, "{greatest}: {ticks:?}");
            assert!(scale.place(last) > 0.999, "{greatest}: {ticks:?}");
        }
    }
}
