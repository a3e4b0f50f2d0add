//! Arguments of the commands in which something happens to a broker that runs already:
//! `connect-storm`, `reconnect-storm`, `history-join` and `slow-reader`.

use clap::Args;

use super::invalid;
use super::latency::TargetArgs;
use super::output::{LossArgs, TimesFileArgs};
use super::value::{count, duration, payload_of, rate};
use crate::command::SingleBroker;
use crate::payload::TimedStamp;
use crate::scenario::{
    Amount, ConnectStorm, HistoryJoin, Load, ReconnectStorm, ScenarioName, SlowReader, Timing,
};
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct ConnectStormArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections to make
    #[arg(long, default_value_t = ConnectStorm::default().connections, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    connections: usize,
    /// Connections to make at the same time
    #[arg(long, default_value_t = ConnectStorm::default().in_flight, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    in_flight: usize,
    /// Messages per second on another channel, whose latency is measured meanwhile
    #[arg(long, default_value_t = ConnectStorm::default().bystander_rate, value_parser = rate)]
    #[arg(value_name = "RATE")]
    #[arg(help_heading = "Load")]
    bystander_rate: f64,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReconnectStormArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Clients on all channels together [default: 10000, or as many as this process may have open]
    #[arg(long, value_parser = count, value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    clients: Option<usize>,
    /// Channels, which the clients are spread over
    #[arg(long, default_value_t = ReconnectStorm::default().channels, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    channels: usize,
    /// Messages per second on all channels together
    #[arg(long, default_value_t = ReconnectStorm::default().rate, value_parser = rate)]
    #[arg(help_heading = "Load")]
    rate: f64,
    /// Size of each message in bytes, or such as 64KiB; at least 8 bytes
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    /// Time within which all come back, such as 10s or 500ms; as long is measured before
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    #[arg(help_heading = "Load")]
    spread: f64,
    /// Messages per second on another channel, whose latency is measured
    #[arg(long, default_value_t = ReconnectStorm::default().bystander_rate, value_parser = rate)]
    #[arg(value_name = "RATE")]
    #[arg(help_heading = "Load")]
    bystander_rate: f64,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryJoinArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Messages in the history of each channel
    #[arg(long, default_value_t = HistoryJoin::default().history, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    history: usize,
    /// Size of each message in bytes, or such as 64KiB; at least 8 bytes
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    /// Channels, which the joins are spread over
    #[arg(long, default_value_t = HistoryJoin::default().channels, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    channels: usize,
    /// Joins to make
    #[arg(long, default_value_t = HistoryJoin::default().joiners, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    joiners: usize,
    /// Joins to make at the same time
    #[arg(long, default_value_t = HistoryJoin::default().in_flight, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    in_flight: usize,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SlowReaderArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Subscribers that keep reading
    #[arg(long, default_value_t = SlowReader::default().subscribers, value_parser = count)]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    subscribers: usize,
    /// Size of each message in bytes, or such as 64KiB; at least 24 bytes
    #[arg(long, default_value = "4KiB", value_parser = payload_of::<TimedStamp>)]
    #[arg(value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    /// Messages per second
    #[arg(long, default_value_t = SlowReader::default().rate, value_parser = rate)]
    #[arg(help_heading = "Load")]
    rate: f64,
    /// How long all subscribers read, such as 2s or 500ms
    #[arg(long, default_value = "2s", value_parser = duration)]
    #[arg(value_name = "DURATION", help_heading = "Measurement")]
    before: f64,
    /// How long the slow subscriber does not read
    #[arg(long, default_value = "8s", value_parser = duration)]
    #[arg(value_name = "DURATION", help_heading = "Measurement")]
    after: f64,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
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

impl ReconnectStormArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// There is no time to come back in.
    pub(crate) fn resolve(self) -> Result<SingleBroker, clap::Error> {
        if self.spread == 0.0 {
            return Err(invalid("--spread must be over 0"));
        }
        let default = ReconnectStorm::default();
        let load = Load::Reconnect(ReconnectStorm {
            clients: self.clients.unwrap_or(default.clients),
            channels: self.channels,
            payload: self.payload,
            rate: self.rate,
            spread_seconds: self.spread,
            bystander_rate: self.bystander_rate,
        });
        Ok(one(self.target, ScenarioName::ReconnectStorm, load))
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
