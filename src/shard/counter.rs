//! Counters, gauges and histograms with one writer, which any thread may read.
//!
//! Adding is a load and a store, without a lock prefix: only the shard's own thread may write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::labels::Label;

/// A counter or a gauge. Only the shard's own thread may write it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Takes `n` away, from what was added before.
    pub(crate) fn sub(&self, n: u64) {
        self.set(self.get().wrapping_sub(n));
    }

    /// Makes it `n` if that is more.
    #[inline]
    pub(crate) fn raise(&self, n: u64) {
        if n > self.get() {
            self.set(n);
        }
    }

    /// Makes it `n`.
    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Returns what it stands at.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one kind, one for each value of a label.
#[derive(Debug)]
pub(crate) struct CounterBy<L: Label>(L::Counters);

impl<L: Label> Default for CounterBy<L> {
    fn default() -> Self {
        Self(L::Counters::default())
    }
}

impl<L: Label> CounterBy<L> {
    /// Returns the counter of a value.
    #[inline]
    pub(crate) fn of(&self, label: L) -> &Counter {
        &self.0.as_ref()[label.index()]
    }

    /// Returns the sum of all.
    pub(crate) fn get(&self) -> u64 {
        let all = self.0.as_ref().iter();
        // A gauge may have been raised in one value and lowered in another meanwhile.
        all.fold(0, |sum, counter| sum.wrapping_add(counter.get()))
    }

    /// Returns each value with what its counter stands at.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = self.0.as_ref().iter().map(Counter::get);
        L::VALUES.iter().copied().zip(counters)
    }
}

/// The upper bounds of the buckets of a [`Histogram`], in microseconds; one without a bound comes on top.
pub(crate) const BUCKETS: [u64; 17] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000,
];

/// Times, counted by their length.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS.len() + 1],
    /// In nanoseconds.
    sum: Counter,
}

impl Histogram {
    /// Counts a time.
    pub(crate) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A time belongs to the first bucket whose bound it does not exceed.
        let whole = u64::from(!time.subsec_nanos().is_multiple_of(1000));
        let at = BUCKETS.partition_point(|&bound| bound < micros.saturating_add(whole));
        self.buckets[at].add(1);
        self.sum
            .add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the counts of all buckets.
    pub(crate) fn buckets(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|at| self.buckets[at].get())
    }

    /// Returns the sum of all times.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum.get())
    }
}

/// Delay of the tasks of a shard.
#[derive(Debug, Default)]
pub(crate) struct LoopDelay {
    /// All samples.
    pub(crate) all: Histogram,
    /// The longest of the last seconds, in nanoseconds.
    recent: Counter,
}

impl LoopDelay {
    /// Counts a sample.
    pub(crate) fn sample(&self, delay: Duration) {
        self.all.observe(delay);
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        // A peak fades by half in five samples, so that it is seen by who looks every few seconds.
        self.recent.set(nanos.max(self.recent.get() / 8 * 7));
    }

    /// Returns the longest delay of the last seconds; a peak fades slowly.
    pub(crate) fn recent(&self) -> Duration {
        Duration::from_nanos(self.recent.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        let times = [
            Duration::ZERO,
            Duration::from_micros(10),
            Duration::from_nanos(10_001),
            Duration::from_micros(2_500_000),
            Duration::from_secs(3),
        ];
        times.iter().for_each(|&time| histogram.observe(time));
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1]), (2, 1));
        assert_eq!((buckets[16], buckets[17]), (1, 1));
        assert_eq!(buckets.iter().sum::<u64>(), 5);
        assert_eq!(histogram.sum(), times.iter().sum::<Duration>());
    }

    #[test]
    fn a_peak_of_the_loop_delay_is_seen_for_a_while_and_fades() {
        let delay = LoopDelay::default();
        delay.sample(Duration::from_millis(80));
        delay.sample(Duration::from_micros(1));
        let seen = delay.recent();
        assert!(seen > Duration::from_millis(60), "{seen:?}");
        (0..200).for_each(|_| delay.sample(Duration::from_micros(1)));
        assert!(delay.recent() < Duration::from_micros(10));
    }
}
