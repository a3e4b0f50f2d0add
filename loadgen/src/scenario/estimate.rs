//! How long a load takes, so that a comparison can say so before it begins.

use std::time::Duration;

use super::{Amount, Load, Timing};

/// Connections that are made and subscribed in a second, one after the other.
const CONNECTIONS_PER_SECOND: f64 = 2500.0;
/// Connections of a storm, and joins to a history, in a second.
const JOINS_PER_SECOND: f64 = 1000.0;
/// Bytes delivered in a second, where messages are large.
const BYTES_PER_SECOND: f64 = 3e9;
/// Messages in a second of a load that is given in messages: it says itself when it is done.
const MESSAGES_PER_SECOND: f64 = 10_000.0;
/// Time for one small message, there and to all receivers.
const ROUND_TRIP: f64 = 0.001;
/// Time until the first messages come, and until the last have.
const ENDS: f64 = 0.2;

impl Load {
    /// Returns about how long one run takes on a broker that delivers so many small messages in a second.
    pub(crate) fn estimate(&self, timing: Timing, pace: f64) -> Duration {
        let measured = match timing.measured {
            Amount::Seconds(seconds) => seconds,
            Amount::Messages(messages) => messages as f64 / MESSAGES_PER_SECOND,
        };
        let timed = timing.warm_up_seconds + measured;
        let connecting = |connections: usize| connections as f64 / CONNECTIONS_PER_SECOND;
        let seconds = match self {
            Self::Fanout(load) => {
                let each = usize::from(load.publishers) + load.subscribers;
                // A window at the end of the warm-up, and one at the end of the measurement.
                let under_way = 2.0 * load.deliveries_under_way() as f64;
                timed + connecting(load.channels * each) + under_way / pace
            }
            Self::Latency(load) => {
                let each = usize::from(load.publishers) + load.subscribers;
                timed + connecting(load.channels * each)
            }
            Self::Publish(load) => timed + connecting(load.connections.into()),
            Self::Idle(load) => {
                let readings = load.counts.len() + 1;
                let last = load.counts.last().copied().unwrap_or_default();
                readings as f64 * load.settle_seconds + connecting(last)
            }
            Self::Seed(load) => {
                let bytes = (load.payload * load.subscribers) as f64;
                let samples = load.samples + load.warm_up_samples;
                samples as f64 * (ROUND_TRIP + bytes / BYTES_PER_SECOND)
            }
            // A second before it, for the bystander alone.
            Self::Storm(load) => 1.0 + load.connections as f64 / JOINS_PER_SECOND,
            // As long before as in the storm.
            Self::Reconnect(load) => {
                2.0 * load.spread_seconds + 1.0 + connecting(load.all_clients())
            }
            Self::History(load) => load.joiners as f64 / JOINS_PER_SECOND,
            Self::SlowReader(load) => load.before_seconds + load.after_seconds,
        };
        Duration::from_secs_f64(seconds + ENDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Fanout, Idle};

    #[test]
    fn the_measured_time_is_the_least() {
        let timing = Timing {
            warm_up_seconds: 0.5,
            measured: Amount::Seconds(3.0),
        };
        let seconds = |load: Load| load.estimate(timing, 1e6).as_secs_f64();
        let fanout = seconds(Load::Fanout(Fanout::default()));
        assert!((3.5..4.5).contains(&fanout), "{fanout}");
        let many = Fanout {
            subscribers: 1000,
            ..Fanout::default()
        };
        let many = seconds(Load::Fanout(many));
        assert!(many > 11.0, "two windows of 4096 messages to each: {many}");
        let idle = seconds(Load::Idle(Idle::default()));
        assert!((9.0..20.0).contains(&idle), "it has its own: {idle}");
    }
}
