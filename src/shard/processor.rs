//! How much of a processor each shard gets, and what it does with it.
//!
//! A shard does nothing for that but say once which thread it is. The watchdog looks: at the times that the system keeps for
//! the thread, and at the task that has its turn.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Looks at tasks that a report is made of.
const LOOKS: usize = 30;
/// Time over which the share of a processor is measured.
const SPAN: Duration = Duration::from_secs(1);
/// Most tasks that a report names.
const TASKS: usize = 3;

/// The processor time of one shard. Its own thread only makes itself known; the watchdog writes the report, and any thread
/// may read it.
#[derive(Debug, Default)]
pub(crate) struct ProcessorUse {
    /// The file in which the system has the times of the shard's thread.
    file: OnceLock<PathBuf>,
    report: Mutex<ProcessorReport>,
}

/// Time that a thread has run and waited since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessorTimes {
    /// Time on a processor.
    pub(crate) busy: Duration,
    /// Time in which it could have run and had no processor.
    pub(crate) waiting: Duration,
}

/// Use of a processor by a shard in the last seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProcessorReport {
    /// Share of the time on a processor; `None` where the system does not tell.
    pub(crate) busy: Option<f64>,
    /// Share of the time in which it could have run and had no processor.
    pub(crate) waiting: Option<f64>,
    /// Tasks that had their turn, the most frequent first, each with its share of the looks.
    pub(crate) tasks: Vec<(String, f64)>,
}

impl ProcessorUse {
    /// Records that this thread is the shard's.
    pub(crate) fn is_this_thread(&self) {
        // Elsewhere than on Linux there is no such file.
        if let Ok(thread) = std::fs::read_link("/proc/thread-self") {
            // It is set once: a shard has one thread.
            let _ = self
                .file
                .set(Path::new("/proc").join(thread).join("schedstat"));
        }
    }

    /// Returns what the shard's thread has spent so far; `None` where the system does not tell, and once the thread has ended.
    pub(crate) fn times(&self) -> Option<ProcessorTimes> {
        let text = std::fs::read_to_string(self.file.get()?).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let mut next = || fields.next()?.parse().ok().map(Duration::from_nanos);
        Some(ProcessorTimes {
            busy: next()?,
            waiting: next()?,
        })
    }

    /// Returns what the shard did in the last seconds.
    pub(crate) fn report(&self) -> ProcessorReport {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The watchdog's notes about the processor time of one shard.
#[derive(Debug, Default)]
pub(super) struct ProcessorMeter {
    /// The times of the last measurement.
    last: Option<(Instant, ProcessorTimes)>,
    /// The tasks of the last looks, the newest last; `None` between two turns.
    looks: VecDeque<Option<String>>,
}

impl ProcessorMeter {
    /// Notes the task that has its turn now, and writes a report when it is time for one.
    pub(super) fn look(&mut self, of: &ProcessorUse, task: Option<String>, now: Instant) {
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(task);
        let is_due = self
            .last
            .is_none_or(|(at, _)| now.duration_since(at) >= SPAN);
        if let (true, Some(times)) = (is_due, of.times()) {
            let before = self.last.replace((now, times));
            let shares = before.map(|before| shares(before, (now, times)));
            self.write(of, shares);
        } else if of.file.get().is_none() {
            self.write(of, None);
        }
    }

    fn write(&self, of: &ProcessorUse, shares: Option<(f64, f64)>) {
        let report = ProcessorReport {
            busy: shares.map(|(busy, _)| busy),
            waiting: shares.map(|(_, waiting)| waiting),
            tasks: frequent(&self.looks),
        };
        *of.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// Returns the shares of the time between two measurements in which a thread ran, and waited.
fn shares(
    (before, then): (Instant, ProcessorTimes),
    (now, times): (Instant, ProcessorTimes),
) -> (f64, f64) {
    let all = now.duration_since(before).as_secs_f64();
    let share = |later: Duration, earlier: Duration| {
        let spent = later.saturating_sub(earlier).as_secs_f64();
        (spent / all).clamp(0.0, 1.0)
    };
    (
        share(times.busy, then.busy),
        share(times.waiting, then.waiting),
    )
}

/// Returns the most frequent tasks of some looks, each with its share of all looks.
fn frequent(looks: &VecDeque<Option<String>>) -> Vec<(String, f64)> {
    let mut counts: Vec<(&str, u32)> = Vec::new();
    for task in looks.iter().flatten() {
        match counts.iter_mut().find(|(known, _)| known == task) {
            Some((_, count)) => *count += 1,
            None => counts.push((task, 1)),
        }
    }
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let all = u32::try_from(looks.len().max(1)).unwrap_or(u32::MAX);
    let share = |count| f64::from(count) / f64::from(all);
    let first = counts.into_iter().take(TASKS);
    first
        .map(|(task, count)| (task.to_owned(), share(count)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let start = Instant::now();
        let times = |busy, waiting| ProcessorTimes {
            busy: Duration::from_millis(busy),
            waiting: Duration::from_millis(waiting),
        };
        let before = (start, times(1_000, 50));
        let after = (start + Duration::from_secs(2), times(1_500, 1_550));
        assert_eq!(shares(before, after), (0.25, 0.75));
    }

    #[test]
    fn the_most_frequent_tasks_come_first() {
        let task = |name: &str| Some(name.to_owned());
        let looks = [None, task("flush"), task("session"), task("flush")];
        let found = frequent(&looks.into());
        assert_eq!(
            found,
            [("flush".to_owned(), 0.5), ("session".to_owned(), 0.25)]
        );
        assert!(frequent(&VecDeque::new()).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_what_a_thread_spends() {
        let of = ProcessorUse::default();
        assert_eq!(of.times(), None);
        of.is_this_thread();
        let before = of.times();
        let is_later = || of.times().map(|times| times.busy) > before.map(|times| times.busy);
        while !is_later() {
            std::hint::spin_loop();
        }
    }
}
