//! The runs of one scenario over one broker, put together for a line of a table.

use super::figure::{Figure, Times, per_delivery};
use super::spread::Spread;
use super::{Report, Run, RunResult};
use crate::broker::Broker;
use crate::distribution::Distribution;
use crate::scenario::{
    FanoutOutcome, HistoryOutcome, IdleOutcome, LatencyOutcome, SeedOutcome, SlowReaderOutcome,
    StormOutcome,
};

/// The runs of one scenario over one broker.
pub(super) struct Group<'a> {
    pub(super) scenario: &'a str,
    pub(super) broker: Broker,
    pub(super) runs: Vec<&'a Run>,
}

/// Makes methods of [`Group`] that return the outcomes of its runs, where they are of one kind.
macro_rules! outcomes {
    ($($kind:ident: $name:ident -> $outcome:ty,)*) => {
        impl<'a> Group<'a> {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = &'a $outcome> {
                self.runs.iter().filter_map(|run| match &run.result {
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
}

impl<'a> Group<'a> {
    /// Returns the runs that figures are told of: those that count, or all that have any where none does.
    pub(super) fn counting_runs(&self) -> Vec<&'a Run> {
        let counting: Vec<_> = self
            .runs
            .iter()
            .copied()
            .filter(|run| run.counts())
            .collect();
        if !counting.is_empty() {
            return counting;
        }
        let failed = |run: &&Run| matches!(run.result, RunResult::Failed(_));
        self.runs
            .iter()
            .copied()
            .filter(|run| !failed(run))
            .collect()
    }

    /// Returns the latencies among the runs that figures are told of.
    pub(super) fn counting(&self) -> Vec<&'a LatencyOutcome> {
        let runs = self.counting_runs().into_iter();
        runs.filter_map(|run| match &run.result {
            RunResult::Latency(outcome) => Some(&**outcome),
            _ => None,
        })
        .collect()
    }

    /// Returns the latencies of all runs that count; `None` for scenarios without latencies.
    pub(super) fn latency(&self) -> Option<Distribution> {
        let runs = self.counting_runs().into_iter();
        merged(runs.filter_map(|run| Some(run.result.times()?.distribution)))
    }

    /// Returns the figures of all runs that count: the median of the rounds, or what their merged times say.
    pub(super) fn figures(&self) -> Vec<Rounds> {
        let runs = self.counting_runs();
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

    /// Returns the broker's CPU time in nanoseconds for each delivery.
    pub(super) fn server_cpu(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| {
            let (tally, server, _) = run.result.cost()?;
            Some(per_delivery(server?, tally))
        }))
    }

    /// This program's likewise.
    pub(super) fn tool_cpu(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| {
            let (tally, _, tool) = run.result.cost()?;
            Some(per_delivery(tool, tally))
        }))
    }

    /// Returns how many runs delivered everything once and in order, of how many.
    pub(super) fn exact(&self) -> String {
        let exact = self.runs.iter().filter(|run| run.result.is_exact()).count();
        format!("{exact}/{}", self.runs.len())
    }

    /// Returns how many runs count, of how many.
    pub(super) fn valid(&self) -> String {
        let valid = self.latencies().filter(|it| it.invalid.is_empty()).count();
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
