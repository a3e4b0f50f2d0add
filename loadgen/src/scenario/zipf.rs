//! Channels that are not equally busy: message by message, a Zipf law says which channel is next.
//!
//! The channel in place k gets messages in proportion to 1 / k^s. A closed loop then has one window
//! for all channels together: the law says which channel the next message goes to, and the window
//! when. With a window for each channel all of them would be equally busy again.

use super::ScenarioError;
use super::publisher::Publisher;
use super::topology::{Subscriber, Topology, WRITE_LEN};
use crate::verify::Stamp;

/// The part of all messages that each channel gets.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    /// For each channel the part that it and those before it get; the last is 1.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(channels: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=channels).map(|place| (place as f64).powf(-exponent));
        let mut cumulative: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|part| *part /= sum);
        Self { cumulative }
    }

    /// Returns the part of each channel.
    pub(super) fn parts(&self) -> impl Iterator<Item = f64> {
        let before = std::iter::once(&0.0).chain(&self.cumulative);
        self.cumulative
            .iter()
            .zip(before)
            .map(|(to, from)| to - from)
    }

    /// Draws the channel of the next message.
    fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64();
        let channel = self.cumulative.partition_point(|&part| part <= at);
        // Rounding may leave the last part a little short of 1.
        channel.min(self.cumulative.len() - 1)
    }
}

/// Publishers of many channels with one window, in a closed loop.
#[derive(Debug)]
pub(super) struct SharedWindow {
    zipf: Zipf,
    random: fastrand::Rng,
    /// Messages under way at most, on all channels.
    window: u64,
    /// Under way now.
    in_flight: u64,
    /// Messages that all subscribers of each channel have.
    acknowledged: Vec<u64>,
    /// The publisher of each channel that is next.
    turn: Vec<usize>,
    /// Publishers with something new in their outbox.
    filled: Vec<usize>,
}

impl SharedWindow {
    pub(super) fn new(zipf: Zipf, seed: u64, window: u64) -> Self {
        let channels = zipf.cumulative.len();
        Self {
            zipf,
            random: fastrand::Rng::with_seed(seed),
            window,
            in_flight: 0,
            acknowledged: vec![0; channels],
            turn: vec![0; channels],
            filled: Vec::new(),
        }
    }

    /// Takes in what came on `touched` channels and sends what the window has room for, up to `left`
    /// messages, which become fewer. Says whether something is under way.
    ///
    /// # Errors
    /// A connection fails.
    pub(super) fn publish(
        &mut self,
        topology: &mut Topology<'_, Stamp>,
        touched: &mut [bool],
        left: &mut u64,
    ) -> Result<bool, ScenarioError> {
        for (channel, (publishers, subscribers)) in topology.by_channel().enumerate() {
            if std::mem::take(&mut touched[channel]) {
                let acknowledged = acknowledged(publishers, subscribers);
                self.in_flight -= acknowledged - self.acknowledged[channel];
                self.acknowledged[channel] = acknowledged;
            }
        }
        let each = topology.publishers.len() / self.turn.len();
        while self.in_flight < self.window && *left > 0 {
            let channel = self.zipf.draw(&mut self.random);
            let who = channel * each + self.turn[channel];
            self.turn[channel] = (self.turn[channel] + 1) % each;
            let publisher = &mut topology.publishers[who];
            let outbox = topology.fleet.outbox(publisher.link);
            if outbox.is_empty() {
                self.filled.push(who);
            }
            publisher.publish(outbox, |stamp| stamp);
            if outbox.len() > WRITE_LEN {
                topology.fleet.flush(publisher.link)?;
            }
            self.in_flight += 1;
            *left -= 1;
        }
        for who in self.filled.drain(..) {
            topology.fleet.flush(topology.publishers[who].link)?;
        }
        Ok(self.in_flight > 0)
    }
}

/// Returns how many messages of a channel all of its subscribers have.
fn acknowledged(publishers: &[Publisher], subscribers: &[Subscriber]) -> u64 {
    let of_one = |publisher: &Publisher| {
        let progress = |it: &Subscriber| it.verifier.progress(publisher.index.into());
        let slowest = subscribers.iter().map(progress).min();
        // What a broker made up is the verifier's to tell.
        slowest.unwrap_or_default().min(publisher.sent)
    };
    publishers.iter().map(of_one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_gets_its_part_and_the_same_seed_the_same_order() {
        const DRAWS: usize = 100_000;
        let zipf = Zipf::new(10, 1.0);
        let draws = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let draws = (0..DRAWS).map(|_| zipf.draw(&mut random));
            draws.collect::<Vec<_>>()
        };
        let first = draws(1);
        assert_eq!(first, draws(1));
        assert_ne!(first, draws(2));
        let harmonic: f64 = (1..=10).map(|place| 1.0 / f64::from(place)).sum();
        for (channel, part) in zipf.parts().enumerate() {
            let expected = 1.0 / (channel as f64 + 1.0) / harmonic;
            assert!((part - expected).abs() < 1e-9, "{channel}: {part}");
            let drawn = first.iter().filter(|&&it| it == channel).count() as f64 / DRAWS as f64;
            // Three standard deviations of the largest are 0.0045.
            assert!((drawn - part).abs() < 0.006, "{channel}: {drawn} of {part}");
        }
    }

    #[test]
    fn an_exponent_of_zero_makes_all_alike() {
        for part in Zipf::new(4, 0.0).parts() {
            assert!((part - 0.25).abs() < 1e-9);
        }
    }
}
