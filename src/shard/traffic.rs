//! How much passes through a channel, or comes from a session.

use std::cell::{Cell, OnceCell};

/// Frames and bytes that have passed, and their rates. Counting is an addition for each run; rates are made when the shard
/// is measured. Most sessions only receive, so there is nothing in it until something passes.
#[derive(Debug, Default)]
pub(super) struct Traffic(OnceCell<Box<Passed>>);

#[derive(Debug, Default)]
struct Passed {
    frames: Cell<u64>,
    bytes: Cell<u64>,
    /// Frames and bytes that had passed when the rates were made.
    before: Cell<(u64, u64)>,
    rates: Cell<TrafficRates>,
}

/// Traffic in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TrafficRates {
    pub(crate) frames: f32,
    pub(crate) bytes: f32,
}

impl Traffic {
    /// Counts a run.
    #[inline]
    pub(super) fn count(&self, frames: usize, bytes: usize) {
        let passed = self.0.get_or_init(Box::default);
        passed.frames.set(passed.frames.get() + frames as u64);
        passed.bytes.set(passed.bytes.get() + bytes as u64);
    }

    /// Returns the number of frames that have passed.
    pub(super) fn frames(&self) -> u64 {
        self.0.get().map_or(0, |passed| passed.frames.get())
    }

    /// Returns the bytes that have passed.
    pub(super) fn bytes(&self) -> u64 {
        self.0.get().map_or(0, |passed| passed.bytes.get())
    }

    /// Returns the rates as they were last made.
    pub(super) fn rates(&self) -> TrafficRates {
        self.0
            .get()
            .map_or_else(TrafficRates::default, |passed| passed.rates.get())
    }

    /// Makes the rates anew, of what has passed in the `seconds` since that was done last.
    pub(super) fn sample(&self, seconds: f32) {
        let Some(passed) = self.0.get() else {
            return;
        };
        let now = (passed.frames.get(), passed.bytes.get());
        let before = passed.before.replace(now);
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let rate = |now: u64, before: u64| (now - before) as f32 / seconds;
        passed.rates.set(TrafficRates {
            frames: rate(now.0, before.0),
            bytes: rate(now.1, before.1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_has_passed_since_they_were_made_last() {
        let traffic = Traffic::default();
        traffic.count(3, 300);
        traffic.count(1, 100);
        traffic.sample(2.0);
        let (frames, bytes) = (2.0, 200.0);
        assert_eq!(traffic.rates(), TrafficRates { frames, bytes });
        traffic.sample(1.0);
        assert_eq!(traffic.rates(), TrafficRates::default());
        assert_eq!((traffic.frames(), traffic.bytes()), (4, 400));
    }
}
