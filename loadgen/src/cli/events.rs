//! Arguments of the commands in which something happens to a broker that runs already:
//! `connect-storm`, `history-join` and `slow-reader`.

use clap::Args;

use super::invalid;
use super::latency::TargetArgs;
use super::value::{payload_of, rate, seconds};
use crate::command::SingleBroker;
use crate::payload::TimedStamp;
use crate::scenario::{Amount, ConnectStorm, HistoryJoin, Load, ScenarioName, SlowReader, Timing};
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct ConnectStormArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How many connect
    #[arg(long, default_value_t = ConnectStorm::default().connections, value_parser = count)]
    connections: usize,
    /// How many of them at a time
    #[arg(long, default_value_t = ConnectStorm::default().in_flight, value_parser = count)]
    in_flight: usize,
    /// Messages a second on a channel beside, whose latency is watched
    #[arg(long, default_value_t = ConnectStorm::default().bystander_rate, value_parser = rate)]
    bystander_rate: f64,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryJoinArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Messages in the history of each channel: as many as the server keeps
    #[arg(long, default_value_t = HistoryJoin::default().history, value_parser = count)]
    history: usize,
    /// Size of each message, at least 8 bytes, like 64 or 64KiB
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>)]
    payload: usize,
    /// Channels, which joiners take in turn
    #[arg(long, default_value_t = HistoryJoin::default().channels, value_parser = count)]
    channels: usize,
    /// How many join
    #[arg(long, default_value_t = HistoryJoin::default().joiners, value_parser = count)]
    joiners: usize,
    /// How many of them at a time
    #[arg(long, default_value_t = HistoryJoin::default().in_flight, value_parser = count)]
    in_flight: usize,
}

#[derive(Debug, Args)]
pub(crate) struct SlowReaderArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Subscribers that go on reading
    #[arg(long, default_value_t = SlowReader::default().subscribers, value_parser = count)]
    subscribers: usize,
    /// Size of each message, at least 24 bytes, like 64 or 64KiB
    #[arg(long, default_value = "4KiB", value_parser = payload_of::<TimedStamp>)]
    payload: usize,
    /// Messages a second
    #[arg(long, default_value_t = SlowReader::default().rate, value_parser = rate)]
    rate: f64,
    /// How long all read
    #[arg(long, default_value_t = SlowReader::default().before_seconds, value_parser = seconds)]
    #[arg(value_name = "SECONDS")]
    before: f64,
    /// How long one of them does not
    #[arg(long, default_value_t = SlowReader::default().after_seconds, value_parser = seconds)]
    #[arg(value_name = "SECONDS")]
    after: f64,
}

impl ConnectStormArgs {
    pub(crate) fn resolve(self) -> SingleBroker {
        let load = Load::Storm(ConnectStorm {
            connections: self.connections,
            in_flight: self.in_flight,
            bystander_rate: self.bystander_rate,
        });
        one(self.target, ScenarioName::ConnectStorm, load)
    }
}

impl HistoryJoinArgs {
    pub(crate) fn resolve(self) -> SingleBroker {
        let load = Load::History(HistoryJoin {
            history: self.history,
            payload: self.payload,
            channels: self.channels,
            joiners: self.joiners,
            in_flight: self.in_flight,
        });
        one(self.target, ScenarioName::HistoryJoin, load)
    }
}

impl SlowReaderArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// There is no time to measure.
    pub(crate) fn resolve(self) -> Result<SingleBroker, clap::Error> {
        if self.before == 0.0 || self.after == 0.0 {
            return Err(invalid("--before and --after must be over 0"));
        }
        let load = Load::SlowReader(SlowReader {
            subscribers: self.subscribers,
            payload: self.payload,
            rate: self.rate,
            before_seconds: self.before,
            after_seconds: self.after,
            ..SlowReader::default()
        });
        Ok(one(self.target, ScenarioName::SlowReader, load))
    }
}

/// Returns a load that says itself how long it takes.
fn one(target: TargetArgs, named: ScenarioName, load: Load) -> SingleBroker {
    let unused = Timing {
        warm_up_seconds: 0.0,
        measured: Amount::Seconds(0.0),
    };
    target.resolve(vec![(named.name(), load)], unused)
}

/// Reads a number over 0 that is no mistake.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        Ok(_) => Err("must be between 1 and 1000000".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}
