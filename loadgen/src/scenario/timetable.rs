//! When each publisher has to send: an absolute schedule, made before anything is sent.
//!
//! Pure: times are nanoseconds since the start of a phase, and the caller says what time it is.
//! Nothing that a broker or this program does moves a later message: that is what makes a load open,
//! and latencies from it free of coordinated omission.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

const NANOSECONDS: f64 = 1e9;

/// How messages are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Evenly, publishers in turn
    Fixed,
    /// At random with this mean, each publisher independently, like many users
    Poisson,
}

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// When, in nanoseconds.
    pub(super) at: u64,
    /// Whose.
    pub(super) publisher: usize,
}

/// The messages that all publishers are to send until the end of a phase, and when.
#[derive(Debug)]
pub(super) struct Timetable {
    /// The next message of each publisher that may send.
    next: BinaryHeap<Reverse<Due>>,
    /// The schedules of the publishers.
    sources: Vec<PublisherSchedule>,
    /// When the phase ends.
    end: u64,
}

/// The part of all messages that each publisher sends.
#[derive(Clone, Debug)]
pub(super) enum Shares {
    /// Equal parts for so many publishers, which take turns.
    Even(usize),
    /// A part for each publisher, together 1; each sends evenly by itself, from a random time on.
    Each(Vec<f64>),
}

impl Shares {
    fn publishers(&self) -> usize {
        match self {
            Self::Even(publishers) => *publishers,
            Self::Each(parts) => parts.len(),
        }
    }

    fn of(&self, publisher: usize) -> f64 {
        match self {
            Self::Even(publishers) => 1.0 / *publishers as f64,
            Self::Each(parts) => parts[publisher],
        }
    }
}

/// One publisher's messages.
#[derive(Debug)]
struct PublisherSchedule {
    gaps: Gaps,
    /// The next message of a publisher that must not send now, or `None` while it may.
    parked: Option<Option<Due>>,
}

impl Timetable {
    /// Messages at `rate` a second altogether, of which each publisher has its share, from 0 until
    /// before `end`. The same `seed` makes the same times.
    pub(super) fn new(arrivals: Arrivals, rate: f64, shares: &Shares, seed: u64, end: u64) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        let publishers = shares.publishers();
        let mut table = Self {
            next: BinaryHeap::with_capacity(publishers),
            sources: Vec::with_capacity(publishers),
            end,
        };
        for publisher in 0..publishers {
            let gap = 1.0 / (rate * shares.of(publisher));
            let gaps = match (arrivals, shares) {
                (Arrivals::Fixed, Shares::Even(_)) => Gaps::Fixed {
                    sent: 0,
                    first: publisher as f64 / rate,
                    gap,
                },
                (Arrivals::Fixed, Shares::Each(_)) => Gaps::Fixed {
                    sent: 0,
                    first: seeds.f64() * gap,
                    gap,
                },
                (Arrivals::Poisson, _) => Gaps::Poisson {
                    at: 0.0,
                    gap,
                    random: seeds.fork(),
                },
            };
            table.sources.push(PublisherSchedule { gaps, parked: None });
            table.queue(publisher);
        }
        table
    }

    /// Takes the next message that is due at `now`, once.
    pub(super) fn take(&mut self, now: u64) -> Option<Due> {
        loop {
            let &Reverse(due) = self.next.peek()?;
            let parked = &mut self.sources[due.publisher].parked;
            if let Some(parked) = parked {
                *parked = Some(due);
                self.next.pop();
                continue;
            }
            if due.at > now {
                return None;
            }
            self.next.pop();
            self.queue(due.publisher);
            return Some(due);
        }
    }

    /// Returns when the next message is due; in the past when it is overdue. `None` when no publisher that
    /// may send has one left.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.next.peek().map(|Reverse(due)| due.at)
    }

    /// Returns `true` if no publisher has a message left, those included that may not send now.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
            && self
                .sources
                .iter()
                .all(|source| !matches!(source.parked, Some(Some(_))))
    }

    /// Keeps the messages of `publisher` back: it cannot send. They stay due when they were.
    pub(super) fn hold(&mut self, publisher: usize) {
        self.sources[publisher].parked.get_or_insert(None);
    }

    /// Lets `publisher` send again, beginning with what it missed.
    pub(super) fn release(&mut self, publisher: usize) {
        if let Some(Some(due)) = self.sources[publisher].parked.take() {
            self.next.push(Reverse(due));
        }
    }

    /// Returns how many messages are left, of those who may not send too.
    pub(super) fn into_remaining(mut self) -> u64 {
        for publisher in 0..self.sources.len() {
            self.release(publisher);
        }
        let mut remaining = 0;
        while self.take(u64::MAX).is_some() {
            remaining += 1;
        }
        remaining
    }

    fn queue(&mut self, publisher: usize) {
        let at = self.sources[publisher].gaps.next();
        if at < self.end {
            self.next.push(Reverse(Due { at, publisher }));
        }
    }
}

/// The times of one publisher, in seconds, without an end.
#[derive(Debug)]
enum Gaps {
    Fixed {
        sent: u64,
        first: f64,
        gap: f64,
    },
    Poisson {
        at: f64,
        gap: f64,
        random: fastrand::Rng,
    },
}

impl Gaps {
    /// Returns the next time, in nanoseconds.
    fn next(&mut self) -> u64 {
        let seconds = match self {
            Self::Fixed { sent, first, gap } => {
                // From the start each time: rounding does not add up.
                let at = *first + *sent as f64 * *gap;
                *sent += 1;
                at
            }
            Self::Poisson { at, gap, random } => {
                // 1 - f64() is over 0, so that its logarithm is finite.
                *at -= (1.0 - random.f64()).ln() * *gap;
                *at
            }
        };
        nanoseconds(seconds)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates; never negative
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * NANOSECONDS).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn all(table: &mut Timetable, now: u64) -> Vec<Due> {
        std::iter::from_fn(|| table.take(now)).collect()
    }

    fn times(arrivals: Arrivals, rate: f64, seed: u64, end: u64) -> Vec<u64> {
        let mut table = Timetable::new(arrivals, rate, &Shares::Even(1), seed, end);
        all(&mut table, u64::MAX).iter().map(|due| due.at).collect()
    }

    #[test]
    fn fixed_messages_come_evenly_and_only_when_they_are_due() {
        let mut table = Timetable::new(Arrivals::Fixed, 1000.0, &Shares::Even(2), 1, SECOND);
        let due = |at, publisher| Due { at, publisher };
        assert_eq!(all(&mut table, 0), [due(0, 0)]);
        assert_eq!(table.take(999_999), None, "a nanosecond early");
        assert_eq!(table.next_at(), Some(1_000_000));
        // The clock jumps: what was missed is due, at the times at which it was.
        let missed = [due(1_000_000, 1), due(2_000_000, 0), due(3_000_000, 1)];
        assert_eq!(all(&mut table, 3_000_000), missed);
        assert_eq!(all(&mut table, u64::MAX).len(), 1000 - 4);
        assert!(table.is_empty());
    }

    #[test]
    fn rounding_does_not_add_up() {
        // A third of a millisecond: the last of an hour is where it belongs.
        let times = times(Arrivals::Fixed, 3000.0, 1, 3600 * SECOND);
        assert_eq!(times.len(), 3000 * 3600);
        let last = times.last().copied();
        assert_eq!(last, Some(3600 * SECOND - 333_333));
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_an_exponential() {
        let times = times(Arrivals::Poisson, 1000.0, 42, 100 * SECOND);
        // 100,000 expected with a standard deviation of 316.
        assert!((98_000..102_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        let deviation = (variance / gaps.len() as f64).sqrt();
        assert!((0.98..1.02).contains(&(deviation / mean)));
        let over_mean = gaps.iter().filter(|&&gap| gap > mean).count() as f64;
        assert!(
            (0.36..0.376).contains(&(over_mean / gaps.len() as f64)),
            "1/e of them"
        );
    }

    #[test]
    fn a_seed_makes_the_same_times_and_another_seed_others() {
        let times = |seed| times(Arrivals::Poisson, 100.0, seed, SECOND);
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
        let mut table = Timetable::new(Arrivals::Poisson, 1000.0, &Shares::Even(2), 7, SECOND);
        let (first, second): (Vec<_>, Vec<_>) = all(&mut table, u64::MAX)
            .into_iter()
            .partition(|due| due.publisher == 0);
        let times = |dues: Vec<Due>| dues.iter().map(|due| due.at).collect::<Vec<_>>();
        assert_ne!(times(first), times(second), "publishers are independent");
    }

    #[test]
    fn shares_are_kept_whatever_the_arrivals() {
        let shares = Shares::Each(vec![0.7, 0.2, 0.1]);
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            let mut table = Timetable::new(arrivals, 10_000.0, &shares, 1, SECOND);
            let mut counts = [0_u32; 3];
            for due in all(&mut table, u64::MAX) {
                counts[due.publisher] += 1;
            }
            for (count, expected) in counts.into_iter().zip([7000.0, 2000.0, 1000.0]) {
                // Over four standard deviations of the smallest.
                let off = (f64::from(count) - expected).abs();
                assert!(off < 0.15 * expected, "{arrivals:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn who_cannot_send_misses_nothing_and_holds_nobody_up() {
        let mut table = Timetable::new(Arrivals::Fixed, 1000.0, &Shares::Even(2), 1, 10_000_000);
        table.hold(0);
        let of_the_other = all(&mut table, u64::MAX);
        assert_eq!(of_the_other.len(), 5);
        assert!(of_the_other.iter().all(|due| due.publisher == 1));
        assert_eq!((table.next_at(), table.is_empty()), (None, false));
        table.release(0);
        let missed = all(&mut table, 4_000_000);
        let at: Vec<u64> = missed.iter().map(|due| due.at).collect();
        assert_eq!(at, [0, 2_000_000, 4_000_000]);
        table.hold(0);
        assert_eq!(table.into_remaining(), 2);
    }
}
