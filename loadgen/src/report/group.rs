//! The runs of one scenario over one broker, put together for a line of a table.

use super::figure::{Figure, Times, per_delivery};
use super::spread::Spread;
use super::{Report, Run, RunResult};
use crate::broker::Broker;
use crate::distribution::Distribution;
use crate::scenario::{
    FanoutOutcome, HistoryOutcome, IdleOutcome, LatencyOutcome, PublishOutcome, ReconnectOutcome,
    SeedOutcome, SlowReaderOutcome, StormOutcome,
};

/// The runs of one scenario over one broker.
pub(super) struct Group<'a> {
    pub(super) scenario: &'a str,
    pub(super) broker: Broker,
    pub(super) runs: Vec<&'a Run>,
}

/// Makes methods of [`Group`] that return the outcomes of the runs that are shown, where they are of one kind.
macro_rules! outcomes {
    ($($kind:ident: $name:ident -> $outcome:ty,)*) => {
        impl<'a> Group<'a> {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = &'a $outcome> {
                self.shown_runs().into_iter().filter_map(|run| match &run.result {
                    RunResult::$kind(outcome) => {
                        let outcome: &$outcome = outcome;
                        Some(outcome)
                    }
                    _ => None,
                })
            })*
        }
    };
}

outcomes! {
    Fanout: outcomes -> FanoutOutcome,
    Idle: idles -> IdleOutcome,
    Latency: latencies -> LatencyOutcome,
    Seed: seeds -> SeedOutcome,
    Storm: storms -> StormOutcome,
    History: histories -> HistoryOutcome,
    SlowReader: slow_readers -> SlowReaderOutcome,
    Publish: publishes -> PublishOutcome,
    Reconnect: reconnects -> ReconnectOutcome,
}

impl<'a> Group<'a> {
    /// Returns the runs that count.
    pub(super) fn counting_runs(&self) -> Vec<&'a Run> {
        let runs = self.runs.iter().copied();
        runs.filter(|run| run.counts()).collect()
    }

    /// Returns `true` if any run counts. If none does, what is shown of the group has to be marked.
    pub(super) fn is_sound(&self) -> bool {
        self.runs.iter().any(|run| run.counts())
    }

    /// Returns the runs whose figures are shown: those that count, or all that have any if none does.
    pub(super) fn shown_runs(&self) -> Vec<&'a Run> {
        let counting = self.counting_runs();
        if !counting.is_empty() {
            return counting;
        }
        let failed = |run: &&Run| matches!(run.result, RunResult::Failed(_));
        let runs = self.runs.iter().copied();
        runs.filter(|run| !failed(run)).collect()
    }

    /// Returns the broker's name, marked if no run counts.
    pub(super) fn label(&self) -> String {
        let name = self.broker.name();
        if self.is_sound() {
            name.to_owned()
        } else if self.runs.iter().any(|run| run.trouble().is_some()) {
            format!("{name} (not counted)")
        } else {
            format!("{name} (interrupted)")
        }
    }

    /// Returns the times of all runs that are shown; `None` for scenarios without times.
    pub(super) fn latency(&self) -> Option<Distribution> {
        let runs = self.shown_runs().into_iter();
        merged(runs.filter_map(|run| Some(run.result.times()?.distribution)))
    }

    /// Returns the figures of all runs that are shown: the median of the rounds, or what their merged times say.
    pub(super) fn figures(&self) -> Vec<Rounds> {
        let runs = self.shown_runs();
        let mut figures: Vec<Rounds> = Vec::new();
        for figure in runs.iter().flat_map(|run| run.all_figures()) {
            match figures.iter_mut().find(|it| it.figure.key == figure.key) {
                Some(rounds) => rounds.values.push(figure.value),
                None => figures.push(Rounds::first(figure)),
            }
        }
        let of = runs.iter().find_map(|run| Some(run.result.times()?.of));
        let times = self.latency();
        let times = of
            .zip(times.as_ref())
            .map(|(of, distribution)| Times { distribution, of });
        let merged: Vec<Figure> = times.into_iter().flat_map(Times::figures).collect();
        for rounds in &mut figures {
            let merged = merged.iter().find(|it| it.key == rounds.figure.key);
            let median = Spread::of(rounds.values.iter().copied()).map(|spread| spread.median);
            if let Some(value) = merged.map(|figure| figure.value).or(median) {
                rounds.figure.value = value;
            }
        }
        figures
    }

    /// Returns the broker's CPU time in nanoseconds for each delivery, of the runs that are shown.
    pub(super) fn server_cpu(&self) -> Option<Spread> {
        Spread::of(self.shown_runs().into_iter().filter_map(|run| {
            let (tally, server, _) = run.result.cost()?;
            Some(per_delivery(server?, tally))
        }))
    }

    /// Returns loadgen's CPU time in nanoseconds for each delivery, of the runs that are shown.
    pub(super) fn tool_cpu(&self) -> Option<Spread> {
        Spread::of(self.shown_runs().into_iter().filter_map(|run| {
            let (tally, _, tool) = run.result.cost()?;
            Some(per_delivery(tool, tally))
        }))
    }

    /// Returns how many runs delivered everything once and in order, of how many.
    pub(super) fn exact(&self) -> String {
        let exact = self.runs.iter().filter(|run| run.result.is_exact()).count();
        format!("{exact}/{}", self.runs.len())
    }

    /// Returns how many runs are valid, of how many.
    pub(super) fn valid(&self) -> String {
        let is_valid =
            |run: &&&Run| matches!(&run.result, RunResult::Latency(it) if it.invalid.is_empty());
        let valid = self.runs.iter().filter(is_valid).count();
        format!("{valid}/{}", self.runs.len())
    }
}

/// One figure over several rounds.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    /// The figure of all rounds together.
    pub(super) figure: Figure,
    /// The figure's values in each round; at least one.
    pub(super) values: Vec<f64>,
}

impl Rounds {
    fn first(figure: Figure) -> Self {
        Self {
            values: vec![figure.value],
            figure,
        }
    }

    /// Returns the least and the greatest of the rounds.
    pub(super) fn range(&self) -> (f64, f64) {
        let values = self.values.iter().copied();
        let least = values.clone().fold(f64::INFINITY, f64::min);
        (least, values.fold(f64::NEG_INFINITY, f64::max))
    }
}

/// Groups runs by scenario and broker, in the order they were first run.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
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

/// Merges distributions into one; `None` when there are none.
pub(super) fn merged<'a>(
    distributions: impl Iterator<Item = &'a Distribution>,
) -> Option<Distribution> {
    distributions.fold(None, |all, one| match all {
        None => Some(one.clone()),
        Some(mut all) => {
            all.merge(one);
            Some(all)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{RunResult, sample};

    /// Returns closed loops of one broker: what each round takes for a delivery, in µs, and whether it is exact.
    fn report(rounds: &[(u64, bool)]) -> Report {
        let mut report = sample::empty();
        for (index, &(scale, is_exact)) in rounds.iter().enumerate() {
            let mut result = sample::fanout(scale);
            if let RunResult::Fanout(outcome) = &mut result {
                outcome.tally.lost = u64::from(!is_exact);
            }
            report.push(Run::new("fanout", Broker::Mles, index + 1, result));
        }
        report
    }

    #[test]
    fn figures_are_those_of_the_runs_that_count() {
        let report = report(&[(1, true), (50, false), (3, true)]);
        let groups = groups(&report);
        let group = &groups[0];
        assert_eq!(group.label(), "mles");
        assert_eq!(group.outcomes().count(), 2);
        let cpu = group.server_cpu().map(|it| (it.min, it.max));
        assert_eq!(cpu, Some((1000.0, 3000.0)), "nanoseconds");
        assert_eq!(group.tool_cpu().map(|it| it.max), Some(2000.0));
        assert_eq!(group.exact(), "2/3", "all runs are told of");
    }

    #[test]
    fn runs_that_do_not_count_are_shown_with_a_mark_if_there_are_no_others() {
        let report = report(&[(1, false), (2, false)]);
        let groups = groups(&report);
        let group = &groups[0];
        assert!(!group.is_sound() && group.counting_runs().is_empty());
        assert_eq!(group.label(), "mles (not counted)");
        assert_eq!(group.outcomes().count(), 2);
    }
}
