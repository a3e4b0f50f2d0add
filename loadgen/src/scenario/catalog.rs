//! Scenarios with names, as `compare` runs them and reports show them.

use clap::ValueEnum;

use crate::broker::Table;

use super::{
    ConnectStorm, Fanout, HistoryJoin, Idle, Latency, Load, Mode, Publish, ReconnectStorm, Seed,
    SlowReader,
};

/// Scenarios by name, as `compare` runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScenarioName {
    /// 1 publisher → 10 subscribers, 64 bytes, pipelined
    Fanout,
    /// 1 publisher → 10 subscribers, 64 bytes, one message in flight
    FanoutUnbatched,
    /// Eight of the former beside each other
    #[value(name = "fanout-unbatched-x8")]
    FanoutUnbatchedX8,
    /// 1 publisher → 100 subscribers, 64 bytes, pipelined
    #[value(name = "fanout-100")]
    Fanout100,
    /// 1 publisher → 300 subscribers, 64 bytes, pipelined
    #[value(name = "fanout-300")]
    Fanout300,
    /// 1 publisher → 1000 subscribers, 64 bytes, pipelined
    #[value(name = "fanout-1000")]
    Fanout1000,
    /// 100 channels with 1 publisher → 10 subscribers each, 64 bytes, pipelined
    Channels,
    /// 1 publisher → 10 subscribers, 64 KiB, pipelined
    Large,
    /// 10 publishers → 1 subscriber, 64 bytes, pipelined
    FanIn,
    /// 10 clients, each publishing to all others, 64 bytes, pipelined
    NToN,
    /// 100 channels with 1 publisher → 10 subscribers each, where channel k gets messages in
    /// proportion to 1/k, 64 bytes, pipelined
    Zipf,
    /// fanout, fan-in, n-to-n and zipf
    Throughput,
    /// Memory per idle subscriber
    Idle,
    /// Latency in an open loop, once for each of `--rates`
    Latency,
    /// 2000 connections, 50 at a time, each timed until its first message
    ConnectStorm,
    /// 10,000 clients (or as many as may be open) that are all cut off at once and come back within 10 s,
    /// while messages go on
    ReconnectStorm,
    /// 500 joins to channels with a history of 100 messages of 64 bytes, timed until all is there
    HistoryJoin,
    /// 2500 messages of 4 KiB a second to 5 subscribers, and to a sixth that stops reading
    SlowReader,
    /// 50 publishers that wait until each message is confirmed, 64 bytes
    Publish,
    /// 50 publishers with 16 messages each in flight, each confirmed, 64 bytes
    PublishPipelined,
    /// 1 publisher → 100 subscribers, time until all have it, `Hello World!` and 1.6 MB
    Seed,
}

/// The user's settings for named scenarios.
#[derive(Debug)]
pub(crate) struct ScenarioOptions {
    pub(crate) latency: Latency,
    /// Rates of the scenario `latency`, in messages a second.
    pub(crate) rates: Vec<f64>,
    pub(crate) seed: Seed,
}

impl ScenarioName {
    /// Returns the lines of `table`, in their order.
    pub(crate) fn of(table: Table) -> &'static [Self] {
        match table {
            Table::Brokers => &[
                Self::Fanout,
                Self::FanoutUnbatched,
                Self::FanoutUnbatchedX8,
                Self::Fanout1000,
                Self::Channels,
                Self::Large,
                Self::Idle,
            ],
            Table::Positions => &[
                Self::Fanout,
                Self::FanoutUnbatched,
                Self::Fanout100,
                Self::Fanout1000,
                Self::Idle,
            ],
            Table::Publish | Table::Durable => &[Self::Publish, Self::PublishPipelined],
            Table::Fleet => &[Self::Fanout300, Self::Latency],
            Table::Gateway => &[Self::Fanout, Self::Fanout100, Self::Fanout1000, Self::Idle],
        }
    }

    /// Returns the name used on the command line and in reports.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |it| it.get_name().to_owned())
    }

    /// Returns the loads of the scenario by their names in reports: `latency` has one for each rate.
    pub(crate) fn loads(self, options: &ScenarioOptions) -> Vec<(String, Load)> {
        let fanout = |change: fn(&mut Fanout)| {
            let mut load = Fanout::default();
            change(&mut load);
            Load::Fanout(load)
        };
        let load = match self {
            Self::Latency => {
                let rates = options.rates.iter();
                return rates.map(|&rate| options.latency.at(rate)).collect();
            }
            Self::Seed => return options.seed.both(),
            Self::Throughput => {
                let all = [Self::Fanout, Self::FanIn, Self::NToN, Self::Zipf];
                return all.into_iter().flat_map(|it| it.loads(options)).collect();
            }
            Self::FanIn => Load::Fanout(Preset::FanIn.load()),
            Self::NToN => Load::Fanout(Preset::NToN.load()),
            Self::Zipf => Load::Fanout(Preset::Zipf.load()),
            Self::ConnectStorm => Load::Storm(ConnectStorm::default()),
            Self::ReconnectStorm => Load::Reconnect(ReconnectStorm::default()),
            Self::HistoryJoin => Load::History(HistoryJoin::default()),
            Self::Publish => Load::Publish(Publish::default()),
            Self::PublishPipelined => Load::Publish(Publish {
                in_flight: PIPELINE,
                ..Publish::default()
            }),
            Self::SlowReader => Load::SlowReader(SlowReader::default()),
            Self::Idle => Load::Idle(Idle::default()),
            Self::Fanout => fanout(|_| {}),
            Self::FanoutUnbatched => fanout(|it| it.mode = Mode::Unbatched),
            Self::FanoutUnbatchedX8 => fanout(|it| (it.mode, it.channels) = (Mode::Unbatched, 8)),
            Self::Fanout100 => fanout(|it| it.subscribers = 100),
            Self::Fanout300 => fanout(|it| it.subscribers = 300),
            Self::Fanout1000 => fanout(|it| it.subscribers = 1000),
            Self::Channels => fanout(|it| it.channels = 100),
            Self::Large => fanout(|it| it.payload = 64 << 10),
        };
        vec![(self.name(), load)]
    }
}

/// Messages that a publisher has in flight where it pipelines requests.
const PIPELINE: usize = 16;
/// The window of each of ten publishers of one channel: together they have about as much under way as
/// one has alone, so that slow brokers are not busy with the last window long after the time is up.
const SHARED_WINDOW: usize = 32 << 10;

/// Patterns of throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// 1 publisher → 10 subscribers
    FanOut,
    /// 10 publishers → 1 subscriber
    FanIn,
    /// 10 clients, each publishing to all others
    NToN,
    /// 100 channels with 1 publisher → 10 subscribers each, messages in proportion to 1/k
    Zipf,
}

impl Preset {
    /// Returns the load where the user sets nothing else.
    pub(crate) fn load(self) -> Fanout {
        let fan_out = Fanout::default();
        match self {
            Self::FanOut => fan_out,
            Self::FanIn => Fanout {
                publishers: 10,
                subscribers: 1,
                window: SHARED_WINDOW,
                ..fan_out
            },
            Self::NToN => Fanout {
                publishers: 10,
                subscribers: 10,
                members: true,
                window: SHARED_WINDOW,
                ..fan_out
            },
            Self::Zipf => Fanout {
                channels: 100,
                zipf: Some(1.0),
                ..fan_out
            },
        }
    }
}
