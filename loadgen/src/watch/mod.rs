//! Views of a run while it goes on: a line on the terminal, an interval log, and the
//! time series of the report.
//!
//! The thread that measures only swaps one histogram for another once a second; everything else
//! is done by a thread beside it, so that watching does not delay what is watched.

mod interval_log;
mod progress_line;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
pub(crate) use interval_log::{IntervalLog, IntervalLogError};
use progress_line::Line;

/// How long one interval is.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Latencies of the deliveries that came in a span of time.
#[derive(Debug)]
pub(crate) struct Interval {
    /// When the interval began.
    pub(crate) began: Instant,
    /// How long the interval was: [`INTERVAL`], but for the last one of a run.
    pub(crate) length: Duration,
    /// The latencies of the interval's deliveries.
    pub(crate) latency: Distribution,
}

/// An interval as it is in the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Since the start of the measurement.
    pub(crate) start_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) deliveries: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

/// Where a run hands its intervals over.
#[derive(Debug)]
pub(crate) struct Feed {
    full: Sender<Interval>,
    empty: Receiver<Distribution>,
}

impl Feed {
    /// Returns an empty histogram for the next interval.
    pub(crate) fn empty(&self) -> Distribution {
        self.empty
            .try_recv()
            .unwrap_or_else(|_| Distribution::new())
    }

    /// Hands `interval` over without waiting.
    pub(crate) fn hand_over(&self, interval: Interval) {
        // The watching thread ends only after this sender is gone.
        let _ = self.full.send(interval);
    }
}

/// Watches runs, one after the other.
#[derive(Default)]
pub(crate) struct Watch {
    log: Option<IntervalLog>,
}

impl Watch {
    /// Writes the intervals of all runs to `log`.
    pub(crate) fn new(log: Option<IntervalLog>) -> Self {
        Self { log }
    }

    /// Does `work`, which is the run `label`, and returns what it returns with the series of its
    /// intervals.
    pub(crate) fn during<T>(
        &mut self,
        label: &str,
        work: impl FnOnce(Feed) -> T,
    ) -> (T, Vec<Slice>) {
        let (full, intervals) = channel();
        let (recycle, empty) = channel();
        let log = &mut self.log;
        thread::scope(|scope| {
            let watching = scope.spawn(|| watch(label, log.as_mut(), intervals, recycle));
            let done = work(Feed { full, empty });
            match watching.join() {
                Ok(series) => (done, series),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Ends the interval log.
    ///
    /// # Errors
    /// It could not be written, now or earlier.
    pub(crate) fn finish(self) -> Result<(), IntervalLogError> {
        self.log.map_or(Ok(()), IntervalLog::finish)
    }
}

/// Takes intervals until the run that makes them is over.
fn watch(
    label: &str,
    mut log: Option<&mut IntervalLog>,
    intervals: Receiver<Interval>,
    recycle: Sender<Distribution>,
) -> Vec<Slice> {
    let line = Line::new(label);
    let mut series = Vec::new();
    let mut start = None;
    for interval in intervals {
        let start = *start.get_or_insert(interval.began);
        let slice = slice(&interval, interval.began - start);
        line.show(&slice);
        series.push(slice);
        if let Some(log) = &mut log {
            log.write(label, &interval);
        }
        let mut empty = interval.latency;
        empty.clear();
        // A run that is over needs no more histograms.
        let _ = recycle.send(empty);
    }
    series
}

fn slice(interval: &Interval, since_start: Duration) -> Slice {
    let latency = &interval.latency;
    Slice {
        start_seconds: since_start.as_secs_f64(),
        seconds: interval.length.as_secs_f64(),
        deliveries: latency.count(),
        p50_ns: latency.percentile(50.0),
        p99_ns: latency.percentile(99.0),
        max_ns: latency.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_becomes_a_slice_of_the_series() {
        let began = Instant::now();
        let (result, series) = Watch::default().during("run", |feed| {
            for second in 0..3 {
                let mut latency = feed.empty();
                assert_eq!(latency.count(), 0, "a new interval is empty");
                for _ in 0..=second {
                    latency.record(1000);
                }
                feed.hand_over(Interval {
                    began: began + INTERVAL * second,
                    length: INTERVAL,
                    latency,
                });
            }
            "done"
        });
        assert_eq!(result, "done");
        let deliveries: Vec<u64> = series.iter().map(|slice| slice.deliveries).collect();
        assert_eq!(deliveries, [1, 2, 3]);
        assert!((series[2].start_seconds - 2.0).abs() < 1e-9);
        assert_eq!(series[2].p50_ns, 1000);
    }
}
