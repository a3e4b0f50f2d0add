//! Token buckets of clients: those of their addresses and keys, which all shards share, and those of single sessions.
//!
//! A bucket is known by what it counts. It is found under a lock once for each join or request; a session keeps the
//! buckets that its messages are taken from, and takes from them without a lock.
//!
//! A bucket that nobody keeps and that is full says no more than a new one, so it may be forgotten. Where there are
//! [`MOST`] that are not full, some of them are forgotten early: memory is bounded, whatever the number of addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::labels::Label as _;
use super::address::AddressKey;
use super::unpoisoned;
use crate::rate::{BucketClock, BucketTime, Rate, TokenBucket};

/// Most buckets that are kept although no session has them.
const MOST: usize = 1 << 16;
/// Buckets that come between two looks at which may be forgotten, and that are forgotten early at a time.
const PART: usize = MOST / 16;

/// A rate that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateReached {
    JoinsOfAddress,
    JoinsOfKey,
    PublishesOfSession,
    PublishesOfAddress,
    PublishesOfKey,
}

impl RateReached {
    /// Returns the name of the setting that was reached.
    pub(crate) fn limit(self) -> &'static str {
        Self::VALUES[self.index()]
    }
}

/// Something has come too often: in so much time it may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    pub(crate) rate: RateReached,
    pub(crate) wait: Duration,
}

/// Holder of a bucket, and the action that it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BucketKey {
    JoinsFrom(AddressKey),
    JoinsWith(Box<str>),
    PublishesFrom(AddressKey),
    PublishesWith(Box<str>),
    /// Messages of one that publishes without a session, known by a hash of who and where it is.
    PublishesBy(u64),
}

impl BucketKey {
    pub(crate) fn joins_from(ip: IpAddr) -> Self {
        Self::JoinsFrom(AddressKey::of(ip))
    }

    pub(crate) fn publishes_from(ip: IpAddr) -> Self {
        Self::PublishesFrom(AddressKey::of(ip))
    }
}

/// A bucket together with the rate at which it fills.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    bucket: Arc<TokenBucket>,
    rate: Rate,
    reached: RateReached,
}

impl Meter {
    /// Creates a meter with a full bucket of its own.
    pub(crate) fn new(rate: Rate, reached: RateReached) -> Self {
        let bucket = Arc::default();
        Self {
            bucket,
            rate,
            reached,
        }
    }

    /// Returns a meter with the same bucket that fills at another rate.
    pub(crate) fn with_rate(&self, rate: Rate) -> Self {
        Self {
            rate,
            ..self.clone()
        }
    }

    /// Returns the rate that it holds somebody to.
    pub(crate) fn reached(&self) -> RateReached {
        self.reached
    }
}

/// The buckets that all shards share.
#[derive(Debug)]
pub(crate) struct Rates {
    clock: BucketClock,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_key: HashMap<BucketKey, Arc<TokenBucket>>,
    /// Number of buckets at which those that are full are looked for.
    prune_at: usize,
}

impl Rates {
    pub(crate) fn new(now: Instant) -> Self {
        let buckets = Buckets {
            by_key: HashMap::new(),
            prune_at: PART,
        };
        Self {
            clock: BucketClock::new(now),
            buckets: Mutex::new(buckets),
        }
    }

    /// Returns the meter of `key` at `rate`.
    pub(crate) fn meter(
        &self,
        key: BucketKey,
        rate: Rate,
        reached: RateReached,
        now: Instant,
    ) -> Meter {
        let bucket = unpoisoned(&self.buckets).get(key, self.clock.time(now));
        Meter {
            bucket,
            rate,
            reached,
        }
    }

    /// Takes `count` from all of `meters`, or from none.
    ///
    /// # Errors
    ///
    /// One of them does not hold as much. That with the longest wait is returned.
    pub(crate) fn try_take(
        &self,
        meters: &[Meter],
        count: u64,
        now: Instant,
    ) -> Result<(), TooOften> {
        match self.wait(meters, count, now) {
            Some(too_often) => Err(too_often),
            None => {
                self.take(meters, count, now);
                Ok(())
            }
        }
    }

    /// Takes `count` from all of `meters`, more than they hold if need be.
    pub(crate) fn take(&self, meters: &[Meter], count: u64, now: Instant) {
        let now = self.clock.time(now);
        for meter in meters {
            meter.bucket.take(count, meter.rate, now);
        }
    }

    /// Returns what has to be waited for until all of `meters` hold `count`; `None` if they do.
    pub(crate) fn wait(&self, meters: &[Meter], count: u64, now: Instant) -> Option<TooOften> {
        let now = self.clock.time(now);
        let waits = meters.iter().filter_map(|meter| {
            let wait = meter.bucket.wait(count, meter.rate, now)?;
            let rate = meter.reached;
            Some(TooOften { rate, wait })
        });
        waits.max_by_key(|too_often| too_often.wait)
    }
}

impl Buckets {
    fn get(&mut self, key: BucketKey, now: BucketTime) -> Arc<TokenBucket> {
        if let Some(bucket) = self.by_key.get(&key) {
            return bucket.clone();
        }
        if self.by_key.len() >= self.prune_at {
            self.make_room(now);
        }
        self.by_key.entry(key).or_default().clone()
    }

    /// Forgets the buckets that are as good as new, and if there are too many others that no session keeps, a part of
    /// those.
    fn make_room(&mut self, now: BucketTime) {
        let mut idle = 0;
        self.by_key.retain(|_, bucket| {
            let is_kept = Arc::strong_count(bucket) > 1;
            let stays = is_kept || !bucket.is_full(now);
            idle += usize::from(stays && !is_kept);
            stays
        });
        let mut too_many = if idle >= MOST { PART } else { 0 };
        if too_many > 0 {
            self.by_key.retain(|_, bucket| {
                let goes = too_many > 0 && Arc::strong_count(bucket) == 1;
                too_many -= usize::from(goes);
                !goes
            });
        }
        self.prune_at = self.by_key.len() + PART;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn joins(rates: &Rates, from: &str, rate: Rate, now: Instant) -> Meter {
        let key = BucketKey::joins_from(ip(from));
        rates.meter(key, rate, RateReached::JoinsOfAddress, now)
    }

    #[test]
    fn a_network_of_ipv6_has_one_bucket_and_others_have_their_own() {
        let now = Instant::now();
        let rates = Rates::new(now);
        let rate = Rate::per_second(1);
        let try_join = |from| rates.try_take(&[joins(&rates, from, rate, now)], 1, now);
        assert_eq!(try_join("2001:db8:1:2::1"), Ok(()));
        let again = try_join("2001:db8:1:2:ffff::9").unwrap_err();
        assert_eq!(again.rate.limit(), "join_rate_per_address");
        assert_eq!(again.wait, Duration::from_secs(1));
        for other in ["2001:db8:1:3::1", "192.0.2.1"] {
            assert_eq!(try_join(other), Ok(()), "{other}");
        }
        assert!(try_join("::ffff:192.0.2.1").is_err());
    }

    #[test]
    fn what_one_meter_lacks_is_taken_from_none() {
        let now = Instant::now();
        let rates = Rates::new(now);
        let (few, many) = (Rate::per_second(1), Rate::per_second(10));
        let of_key = rates.meter(
            BucketKey::PublishesWith("web".into()),
            many,
            RateReached::PublishesOfKey,
            now,
        );
        let of_session = Meter::new(few, RateReached::PublishesOfSession);
        let both = [of_key.clone(), of_session];
        assert_eq!(rates.try_take(&both, 1, now), Ok(()));
        for _ in 0..20 {
            let too_often = rates.try_take(&both, 1, now).unwrap_err();
            assert_eq!(too_often.rate, RateReached::PublishesOfSession);
        }
        assert_eq!(rates.wait(&[of_key], 9, now), None);
    }

    #[test]
    fn memory_is_bounded_whatever_the_number_of_addresses() {
        let now = Instant::now();
        let rates = Rates::new(now);
        let rate = "1/h".parse().unwrap();
        let kept = joins(&rates, "192.0.2.1", rate, now);
        rates.take(std::slice::from_ref(&kept), 1, now);
        for address in 0..200_000_u32 {
            let from = IpAddr::V4((0x0a00_0000 + address).into());
            let meter = rates.meter(
                BucketKey::joins_from(from),
                rate,
                RateReached::JoinsOfAddress,
                now,
            );
            rates.take(&[meter], 1, now);
        }
        let len = |rates: &Rates| rates.buckets.lock().unwrap().by_key.len();
        assert!(len(&rates) <= MOST + 2 * PART, "{}", len(&rates));
        // That of somebody who is still there is not forgotten.
        let again = joins(&rates, "192.0.2.1", rate, now);
        assert!(rates.try_take(&[again], 1, now).is_err());
        // All others are as good as new after their time, and go.
        let later = now + Duration::from_secs(3601);
        for address in 0..=u32::try_from(PART).unwrap() {
            let from = IpAddr::V4((0x0b00_0000 + address).into());
            rates.meter(
                BucketKey::joins_from(from),
                rate,
                RateReached::JoinsOfAddress,
                later,
            );
        }
        assert!(len(&rates) <= 2 * PART, "{}", len(&rates));
    }
}
