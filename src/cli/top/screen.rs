//! What is on the screen: the last snapshot, and rates from it and those before.

use std::collections::VecDeque;
use std::time::Instant;

use crate::cli::admin::{ChannelOrder, LOSSES, Snapshot};

/// Most rates that are kept for the graphs: ten minutes.
const KEPT: usize = 600;
/// Snapshots of a minute, the first included.
const RECENT: usize = 61;

/// Messages, and what else is counted, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CounterRates {
    pub(super) published: f64,
    pub(super) delivered: f64,
    /// Sessions that join.
    pub(super) joined: f64,
    /// HTTP requests.
    pub(super) requested: f64,
}

/// A snapshot and when it was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) snapshot: Snapshot,
}

/// All that is drawn.
#[derive(Debug)]
pub(super) struct Screen {
    /// Host and port of the listener that is asked.
    pub(super) place: String,
    pub(super) order: ChannelOrder,
    pub(super) is_paused: bool,
    /// Reason why the server could not be asked last.
    pub(super) problem: Option<String>,
    pub(super) last: Option<Taken>,
    /// Rates of the whole server, the newest last.
    pub(super) history: VecDeque<CounterRates>,
    /// Counters of what goes wrong, as they were in the last minute, the newest last.
    losses: VecDeque<Vec<u64>>,
    /// Rates of each shard of the last snapshot, in its order.
    pub(super) by_shard: Vec<CounterRates>,
}

impl Screen {
    pub(super) const fn new(place: String) -> Self {
        Self {
            place,
            order: ChannelOrder::Rate,
            is_paused: false,
            problem: None,
            last: None,
            history: VecDeque::new(),
            losses: VecDeque::new(),
            by_shard: Vec::new(),
        }
    }

    /// Shows a snapshot. While it is paused, nothing changes.
    pub(super) fn take(&mut self, at: Instant, snapshot: Snapshot) {
        self.problem = None;
        if self.is_paused {
            return;
        }
        self.by_shard = vec![CounterRates::default(); snapshot.shards.len()];
        if let Some(before) = &self.last
            && before.is_of_the_same_run(&snapshot)
        {
            let seconds = at.duration_since(before.at).as_secs_f64();
            self.history.push_back(rates(seconds, |name| {
                let total = |of: &Snapshot| of.server.totals.get(name).copied();
                (total(&before.snapshot), total(&snapshot))
            }));
            for (rate, shard) in self.by_shard.iter_mut().zip(&snapshot.shards) {
                let mut others = before.snapshot.shards.iter();
                let old = others.find(|old| old.id == shard.id);
                *rate = rates(seconds, |name| {
                    let old = old.and_then(|old| old.counters.get(name).copied());
                    (old, shard.counters.get(name).copied())
                });
            }
        } else {
            self.history.clear();
            self.losses.clear();
        }
        let total = |name: &&str| snapshot.server.totals.get(*name).copied();
        let losses = LOSSES.iter().map(|name| total(name).unwrap_or_default());
        self.losses.push_back(losses.collect());
        if self.losses.len() > RECENT {
            self.losses.pop_front();
        }
        while self.history.len() > KEPT {
            self.history.pop_front();
        }
        self.last = Some(Taken { at, snapshot });
    }
}

impl Screen {
    /// Returns the counters of what goes wrong that have grown in the last minute, and by how much.
    pub(super) fn troubles(&self) -> Vec<(&'static str, u64)> {
        let (Some(before), Some(now)) = (self.losses.front(), self.losses.back()) else {
            return Vec::new();
        };
        let grown = now
            .iter()
            .zip(before)
            .map(|(now, old)| now.saturating_sub(*old));
        let grown = LOSSES.into_iter().zip(grown);
        grown.filter(|(_, by)| *by > 0).collect()
    }
}

impl Taken {
    /// Returns `true` if the server was not restarted in between, which sets its counters back.
    fn is_of_the_same_run(&self, later: &Snapshot) -> bool {
        let run = |of: &Snapshot| (of.server.started, of.server.pid);
        run(&self.snapshot) == run(later)
    }
}

/// Returns how fast counters have grown. `counter` gives one before and after.
fn rates(seconds: f64, counter: impl Fn(&str) -> (Option<u64>, Option<u64>)) -> CounterRates {
    let rate = |name| match counter(name) {
        #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
        (Some(before), Some(after)) if seconds > 0.0 => {
            after.saturating_sub(before) as f64 / seconds
        }
        _ => 0.0,
    };
    CounterRates {
        published: rate("frames_in"),
        delivered: rate("deliveries"),
        joined: rate("joined"),
        requested: rate("requests"),
    }
}
