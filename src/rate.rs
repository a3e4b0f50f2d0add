//! Rates: how often something may happen, and the token buckets that hold it to that.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The most that a rate may allow in its period, or at once.
pub(crate) const MAX_COUNT: u32 = 100_000_000;

/// Limit on how often something may happen: so many times in each period, and so many times at once.
///
/// As text it is `10/s`, `600/m` or `5/h`, and `10/s burst 50` where more may happen at once than in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Period,
    burst: u32,
}

/// The time that a rate is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn unit(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    const fn nanos(self) -> u64 {
        let seconds = match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        };
        seconds * 1_000_000_000
    }
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a rate as in 10/s, 600/m, 5/h or \"10/s burst 50\"")]
pub struct BadRate;

impl Rate {
    /// Creates the rate of `count` in each second, all of which may come at once. 0 counts as 1.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Period::Second)
    }

    /// Creates the rate of `count` in each minute, all of which may come at once. 0 counts as 1.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Period::Minute)
    }

    fn new(count: u32, period: Period) -> Self {
        let count = count.clamp(1, MAX_COUNT);
        Self {
            count,
            period,
            burst: count,
        }
    }

    /// Allows `burst` at once. 0 counts as 1.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Self {
        let burst = burst.clamp(1, MAX_COUNT);
        Self { burst, ..self }
    }

    /// Returns the time after which one more may happen, in nanoseconds.
    fn interval(self) -> u64 {
        (self.period.nanos() / u64::from(self.count)).max(1)
    }

    /// Returns the time after which an empty bucket is full again, in nanoseconds.
    fn filling(self) -> u64 {
        self.interval().saturating_mul(self.burst.into())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.unit())?;
        if self.burst != self.count {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let mut words = text.split_ascii_whitespace();
        let (count, unit) = words
            .next()
            .and_then(|rate| rate.split_once('/'))
            .ok_or(BadRate)?;
        let period = Period::ALL.into_iter().find(|period| period.unit() == unit);
        let rate = Self::new(number(count)?, period.ok_or(BadRate)?);
        match (words.next(), words.next(), words.next()) {
            (None, ..) => Ok(rate),
            (Some("burst"), Some(burst), None) => Ok(rate.with_burst(number(burst)?)),
            _ => Err(BadRate),
        }
    }
}

fn number(text: &str) -> Result<u32, BadRate> {
    // Parsing alone would let a sign through.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_digits.then(|| text.parse().ok()).flatten();
    number
        .filter(|number| (1..=MAX_COUNT).contains(number))
        .ok_or(BadRate)
}

/// A clock for token buckets: counts nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketClock(Instant);

impl BucketClock {
    /// Creates a clock that begins at `now`.
    pub(crate) const fn new(now: Instant) -> Self {
        Self(now)
    }

    /// Returns the time of `now` by this clock.
    pub(crate) fn time(self, now: Instant) -> BucketTime {
        let nanos = now.saturating_duration_since(self.0).as_nanos();
        BucketTime(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A time of a [`BucketClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BucketTime(u64);

/// A token bucket that any number of threads take from. It holds no more than the time at which it is full again, so the
/// rate may be another one each time.
///
/// What has come already is taken even if the bucket does not hold as much: the next then wait until that is made up for.
#[derive(Debug, Default)]
pub(crate) struct TokenBucket {
    full_at: AtomicU64,
}

impl TokenBucket {
    /// Takes `count` tokens, more than there are if need be.
    pub(crate) fn take(&self, count: u64, rate: Rate, now: BucketTime) {
        let cost = rate.interval().saturating_mul(count);
        let add = |full_at: u64| Some(full_at.max(now.0).saturating_add(cost));
        // It never fails, as there is always a new value.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Returns how long it is until `count` tokens are there, or the bucket is full; `None` if that is so now.
    pub(crate) fn wait(&self, count: u64, rate: Rate, now: BucketTime) -> Option<Duration> {
        let cost = rate.interval().saturating_mul(count.min(rate.burst.into()));
        let room = now.0.saturating_add(rate.filling().saturating_sub(cost));
        let over = self.full_at.load(Ordering::Relaxed).saturating_sub(room);
        (over > 0).then(|| Duration::from_nanos(over))
    }

    /// Returns `true` if it is full, so that a new bucket is as good.
    pub(crate) fn is_full(&self, now: BucketTime) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, rate) in [
            ("10/s", Rate::per_second(10)),
            ("600/m", Rate::per_minute(600)),
            ("10/s burst 50", Rate::per_second(10).with_burst(50)),
            ("10/s burst 1", Rate::per_second(10).with_burst(1)),
        ] {
            assert_eq!(text.parse(), Ok(rate));
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!(" 5/h  burst 5 ".parse::<Rate>().unwrap().to_string(), "5/h");
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "10",
            "10/",
            "/s",
            "0/s",
            "+1/s",
            "-1/s",
            "1.5/s",
            "10/d",
            "10/s burst",
            "10/s burst 0",
            "10/s 50",
            "10/s burst 50 more",
            "100000001/s",
            "99999999999999999999/s",
            "10 / s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate), "{text:?}");
        }
    }

    fn at(millis: u64) -> BucketTime {
        BucketTime(millis * 1_000_000)
    }

    #[test]
    fn a_bucket_gives_the_burst_at_once_and_the_rate_from_then_on() {
        let (bucket, rate) = (TokenBucket::default(), Rate::per_second(10).with_burst(3));
        for _ in 0..3 {
            assert_eq!(bucket.wait(1, rate, at(0)), None);
            bucket.take(1, rate, at(0));
        }
        let tenth = Duration::from_millis(100);
        assert_eq!(bucket.wait(1, rate, at(0)), Some(tenth));
        assert_eq!(bucket.wait(1, rate, at(100)), None);
        assert_eq!(bucket.wait(2, rate, at(100)), Some(tenth));
        assert!(!bucket.is_full(at(299)) && bucket.is_full(at(300)));
        // More than it ever holds has to wait until it is full.
        assert_eq!(bucket.wait(50, rate, at(0)), Some(3 * tenth));
        assert_eq!(bucket.wait(50, rate, at(300)), None);
    }

    #[test]
    fn what_came_is_made_up_for() {
        let (bucket, rate) = (TokenBucket::default(), Rate::per_second(100));
        bucket.take(1000, rate, at(0));
        let wait = bucket.wait(1, rate, at(0)).unwrap();
        assert_eq!(wait, Duration::from_millis(9010));
        // No number of messages makes the sum wrap.
        bucket.take(u64::MAX, rate, at(0));
        assert!(bucket.wait(1, rate, at(0)).is_some());
    }

    proptest! {
        /// Whoever waits as told never gets more than the burst and the rate, and never much less.
        #[test]
        fn the_rate_holds_over_any_time(
            count in 1..1000_u32,
            burst in 1..1000_u32,
            sizes in proptest::collection::vec(1..50_u64, 1..50),
        ) {
            let rate = Rate::per_second(count).with_burst(burst);
            let bucket = TokenBucket::default();
            let (mut now, mut taken) = (0, 0);
            for size in sizes {
                if let Some(wait) = bucket.wait(1, rate, BucketTime(now)) {
                    now += u64::try_from(wait.as_nanos()).unwrap();
                }
                // One that was let through may bring more than there is.
                let before = taken;
                bucket.take(size, rate, BucketTime(now));
                taken += size;
                let allowed = u64::from(burst) + now / rate.interval();
                prop_assert!(before < allowed, "{before} before {now}");
                prop_assert!(now == 0 || before + 2 >= allowed, "{before} before {now}");
            }
        }

        #[test]
        fn any_text_does_no_harm(text in "\\PC{0,30}") {
            if let Ok(rate) = text.parse::<Rate>() {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }
    }
}
