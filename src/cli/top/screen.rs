//! What is on the screen: the last snapshot, and rates from it and those before.

use std::collections::VecDeque;
use std::time::Instant;

use crate::cli::admin::{ChannelOrder, Snapshot};

/// Most rates that are kept for the graphs: ten minutes.
const KEPT: usize = 600;

/// Messages per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) published: f64,
    pub(super) delivered: f64,
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
    pub(super) history: VecDeque<Rates>,
    /// Rates of each shard of the last snapshot, in its order.
    pub(super) by_shard: Vec<Rates>,
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
            by_shard: Vec::new(),
        }
    }

    /// Shows a snapshot. While it is paused, nothing changes.
    pub(super) fn take(&mut self, at: Instant, snapshot: Snapshot) {
        self.problem = None;
        if self.is_paused {
            return;
        }
        self.by_shard = vec![Rates::default(); snapshot.shards.len()];
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
        }
        while self.history.len() > KEPT {
            self.history.pop_front();
        }
        self.last = Some(Taken { at, snapshot });
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
fn rates(seconds: f64, counter: impl Fn(&str) -> (Option<u64>, Option<u64>)) -> Rates {
    let rate = |name| match counter(name) {
        #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
        (Some(before), Some(after)) if seconds > 0.0 => {
            after.saturating_sub(before) as f64 / seconds
        }
        _ => 0.0,
    };
    Rates {
        published: rate("frames_in"),
        delivered: rate("deliveries"),
    }
}
