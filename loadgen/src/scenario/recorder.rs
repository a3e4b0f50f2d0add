//! The times of an open-loop phase: latency, service time and the generator's own lag.
//!
//! Latency counts from when a message was due, service time from when it was handed to its socket;
//! the difference is this message's lag. Times are nanoseconds since the phase began, given by the
//! caller.

use std::time::{Duration, Instant};

use crate::distribution::{Distribution, nanoseconds};
use crate::payload::TimedStamp;
use crate::watch::{Feed, INTERVAL, Interval};

/// The times that a phase has recorded so far.
#[derive(Debug)]
pub(super) struct Recorder {
    /// When the phase began.
    epoch: Instant,
    /// When its last message is due at the latest.
    end: u64,
    /// Times from due to delivered, for each delivery.
    pub(super) latency: Distribution,
    /// Times from sent to delivered, for each delivery.
    pub(super) service: Distribution,
    /// Times from due to sent, for each message.
    pub(super) lag: Distribution,
    /// Deliveries until the end of the phase.
    pub(super) in_time: u64,
    current: Option<Current>,
}

/// The interval that is being filled.
#[derive(Debug)]
struct Current {
    feed: Feed,
    began: u64,
    latency: Distribution,
}

impl Recorder {
    /// Begins a phase now, with messages for `length`. Its intervals go to `feed`.
    pub(super) fn start(length: Duration, feed: Option<Feed>) -> Self {
        let current = feed.map(|feed| Current {
            latency: feed.empty(),
            feed,
            began: 0,
        });
        Self {
            latency: Distribution::new(),
            service: Distribution::new(),
            lag: Distribution::new(),
            in_time: 0,
            current,
            end: nanoseconds(length),
            epoch: Instant::now(),
        }
    }

    /// Returns the nanoseconds since the phase began.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }

    /// Records that a message that was due at `due` is sent now.
    pub(super) fn sent(&mut self, due: u64, now: u64) {
        self.lag.record(now.saturating_sub(due));
    }

    /// Records that a subscriber has got a message now.
    #[inline]
    pub(super) fn delivered(&mut self, header: TimedStamp, now: u64) {
        let latency = now.saturating_sub(header.intended);
        self.latency.record(latency);
        self.service.record(now.saturating_sub(header.sent));
        self.in_time += u64::from(now <= self.end);
        if let Some(current) = &mut self.current {
            current.turn_over(self.epoch, now);
            current.latency.record(latency);
        }
    }

    /// Hands over the intervals that ended before now, without deliveries too.
    pub(super) fn tick(&mut self, now: u64) {
        if let Some(current) = &mut self.current {
            current.turn_over(self.epoch, now);
        }
    }

    /// Hands over the interval that is not full.
    pub(super) fn finish(&mut self) {
        let now = self.now();
        if let Some(mut current) = self.current.take() {
            current.turn_over(self.epoch, now);
            current.hand_over(self.epoch, now);
        }
    }
}

impl Current {
    #[inline]
    fn turn_over(&mut self, epoch: Instant, now: u64) {
        while now >= self.end() {
            self.hand_over(epoch, self.end());
        }
    }

    fn end(&self) -> u64 {
        self.began + nanoseconds(INTERVAL)
    }

    #[cold]
    fn hand_over(&mut self, epoch: Instant, end: u64) {
        let empty = self.feed.empty();
        self.feed.hand_over(Interval {
            began: epoch + Duration::from_nanos(self.began),
            length: Duration::from_nanos(end - self.began),
            latency: std::mem::replace(&mut self.latency, empty),
        });
        self.began = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::timetable::{Arrivals, Shares, Timetable};
    use super::*;
    use crate::verify::Stamp;

    const MILLISECOND: u64 = 1_000_000;
    /// From sent to delivered, in every case here.
    const SERVICE: u64 = 50_000;

    /// Returns a virtual second of 1000 messages a second whose publisher cannot send for 200 ms from the
    /// middle on, and gets rid of all that it missed at their end.
    fn stalled() -> Recorder {
        let second = Duration::from_secs(1);
        let end = nanoseconds(second);
        let mut recorder = Recorder::start(second, None);
        let mut table = Timetable::new(Arrivals::Fixed, 1000.0, &Shares::Even(1), 1, end);
        let mut now = 0;
        while !table.is_empty() {
            match now / MILLISECOND {
                500 => table.hold(0),
                700 => table.release(0),
                _ => {}
            }
            while let Some(due) = table.take(now) {
                recorder.sent(due.at, now);
                let header = TimedStamp {
                    stamp: Stamp::new(0, 0),
                    intended: due.at,
                    sent: now,
                };
                recorder.delivered(header, now + SERVICE);
            }
            now += MILLISECOND;
        }
        recorder
    }

    #[test]
    fn a_stall_is_in_the_latency_of_all_that_were_due_in_it() {
        let recorder = stalled();
        assert_eq!(recorder.latency.count(), 1000);
        // 200 of 1000 were due in the stall and waited for up to 200 ms: 100 of them over 100 ms.
        assert!(recorder.latency.max() >= 200 * MILLISECOND);
        assert!(recorder.latency.percentile(91.0) >= 100 * MILLISECOND);
        assert!(recorder.latency.percentile(99.0) >= 180 * MILLISECOND);
        assert!(
            recorder.latency.percentile(79.0) < MILLISECOND,
            "the others did not"
        );
    }

    #[test]
    fn a_stall_is_not_in_the_service_time_but_in_the_lag() {
        let recorder = stalled();
        let service = recorder.service.max();
        assert!((SERVICE..SERVICE + 100).contains(&service), "{service}");
        assert!(recorder.lag.percentile(99.0) >= 180 * MILLISECOND);
        assert_eq!(recorder.lag.percentile(79.0), 0);
    }

    #[test]
    fn what_comes_after_the_end_is_not_in_time() {
        let mut recorder = Recorder::start(Duration::from_millis(10), None);
        let header = TimedStamp {
            stamp: Stamp::new(0, 0),
            intended: 9 * MILLISECOND,
            sent: 9 * MILLISECOND,
        };
        recorder.delivered(header, 10 * MILLISECOND);
        recorder.delivered(header, 10 * MILLISECOND + 1);
        assert_eq!((recorder.in_time, recorder.latency.count()), (1, 2));
    }
}
