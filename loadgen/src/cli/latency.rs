//! Arguments of the commands about latency: `latency`, `seed` and `sweep`, and the part that
//! `compare` has of them.

use clap::Args;
use mles::protocol::Keyring;

use super::host::Host;
use super::output::{CourseFileArgs, LossArgs, TimesFileArgs};
use super::value::{exponent, factor, lag, payload_of, percent, rate};
use super::{ClientArgs, TimeArgs, invalid};
use crate::broker::{Broker, Client};
use crate::command::{SingleBroker, Steps, Sweep};
use crate::payload::TimedStamp;
use crate::scenario::{Amount, Arrivals, LagBound, Latency, Load, Seed, Target, Timing};

/// A broker that runs already.
#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
pub(super) struct TargetArgs {
    /// Kind of broker
    #[arg(long)]
    broker: Broker,
    /// Where it listens. With several nodes, fan-out and latency spread subscribers over all, and publishers use the first
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    addr: Vec<Host>,
    /// Process id of the broker, to measure its CPU time and memory; of all its processes, where it has several
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Key of a Mles server. Prefer the environment variable: other users of this machine can see
    /// arguments
    #[arg(long, env = "MLES_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

/// Publishers on a schedule, and how late this program may be.
#[derive(Debug, Args)]
pub(super) struct OpenLoopArgs {
    /// Publishers of each channel [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..1000), value_name = "COUNT")]
    publishers: Option<u16>,
    /// Subscribers of each channel [default: 10]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT")]
    subscribers: Option<u16>,
    /// Channels, each with its own publishers and subscribers [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT")]
    channels: Option<u16>,
    /// Give channel k a share of the messages in proportion to 1/k^EXPONENT [default: equal shares]
    #[arg(long, requires = "channels", value_name = "EXPONENT", value_parser = exponent)]
    zipf: Option<f64>,
    /// Size of each message in bytes, or such as 64KiB; at least 24 bytes [default: 64]
    #[arg(long, value_parser = payload_of::<TimedStamp>, value_name = "SIZE")]
    payload: Option<usize>,
    /// Times at which messages are due [default: fixed]
    #[arg(long)]
    arrivals: Option<Arrivals>,
    /// Seed of the schedule: the same seed makes the same schedule [default: 1]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How late loadgen may send messages before the run is invalid [default: 1ms]
    #[arg(long, value_name = "DURATION", value_parser = lag, help_heading = "Validity")]
    max_lag: Option<u64>,
    /// Percentage of messages that --max-lag applies to [default: 99]
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Validity")]
    lag_percentile: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Messages per second, of all publishers together
    #[arg(long, default_value_t = 1000.0, value_parser = rate)]
    #[arg(help_heading = "Load")]
    rate: f64,
    #[command(flatten, next_help_heading = "Load")]
    open_loop: OpenLoopArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: CourseFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SeedArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Subscribers of the channel
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    subscribers: u16,
    #[command(flatten)]
    client: ClientArgs,
    /// Messages to measure
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(value_name = "COUNT", help_heading = "Measurement")]
    samples: u64,
    /// Messages to send before measuring
    #[arg(
        long,
        default_value_t = 10,
        value_name = "COUNT",
        help_heading = "Measurement"
    )]
    warm_up_samples: u64,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// First rate, in messages per second of all publishers together
    #[arg(long, default_value_t = 1000.0, value_parser = rate, value_name = "RATE")]
    #[arg(help_heading = "Load")]
    from: f64,
    /// Highest rate, in messages per second
    #[arg(long, default_value_t = 1_000_000.0, value_parser = rate, value_name = "RATE")]
    #[arg(help_heading = "Load")]
    to: f64,
    /// Ratio of each rate to the one before it
    #[arg(long, default_value_t = 1.5, value_parser = factor)]
    #[arg(help_heading = "Load")]
    factor: f64,
    /// Runs of a rate before it counts as not sustained
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    #[arg(value_name = "COUNT", help_heading = "Measurement")]
    tries: u8,
    #[command(flatten, next_help_heading = "Load")]
    open_loop: OpenLoopArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: CourseFileArgs,
}

/// The options of `latency` that `compare` has too.
#[derive(Debug, Args)]
pub(super) struct CompareLatencyArgs {
    /// Rates, in messages per second of all publishers together [default: 1000,10000]
    #[arg(long, value_delimiter = ',', value_parser = rate, help_heading = "Scenario latency")]
    rates: Vec<f64>,
    #[command(flatten, next_help_heading = "Scenario latency")]
    open_loop: OpenLoopArgs,
}

impl TargetArgs {
    pub(super) fn resolve(self, scenarios: Vec<(String, Load)>, timing: Timing) -> SingleBroker {
        SingleBroker {
            broker: self.broker,
            target: self.target(),
            scenarios,
            timing,
        }
    }

    fn target(&self) -> Target {
        let mut addrs = self.addr.iter().map(Host::reachable);
        Target {
            addr: addrs.next().expect("clap asks for an address"),
            others: addrs.collect(),
            pids: self.pid.clone(),
            keyring: Keyring::new(self.key.clone(), None),
        }
    }
}

impl OpenLoopArgs {
    fn resolve(&self, rate: f64) -> Latency {
        let default = Latency::default();
        let lag = default.lag_bound;
        Latency {
            publishers: self.publishers.unwrap_or(default.publishers),
            subscribers: self.subscribers.map_or(default.subscribers, usize::from),
            channels: self.channels.map_or(default.channels, usize::from),
            zipf: self.zipf,
            client: Client::Lean,
            payload: self.payload.unwrap_or(default.payload),
            rate,
            arrivals: self.arrivals.unwrap_or(default.arrivals),
            seed: self.seed.unwrap_or(default.seed),
            lag_bound: LagBound {
                percentile: self.lag_percentile.unwrap_or(lag.percentile),
                nanoseconds: self.max_lag.unwrap_or(lag.nanoseconds),
            },
        }
    }

    fn is_given(&self) -> bool {
        [self.publishers, self.subscribers, self.channels] != [None; 3]
            || self.payload.is_some()
            || self.zipf.is_some()
            || self.arrivals.is_some()
            || self.seed.or(self.max_lag).is_some()
            || self.lag_percentile.is_some()
    }
}

impl LatencyArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// There is no time to measure.
    pub(crate) fn resolve(self) -> Result<SingleBroker, clap::Error> {
        let timing = self.time.measured()?;
        let latency = Latency {
            client: self.client.client,
            ..self.open_loop.resolve(self.rate)
        };
        Ok(self.target.resolve(vec![latency.at(self.rate)], timing))
    }
}

impl SeedArgs {
    pub(crate) fn resolve(self) -> SingleBroker {
        let seed = Seed {
            subscribers: self.subscribers.into(),
            samples: self.samples,
            warm_up_samples: self.warm_up_samples,
            client: self.client.client,
            ..Seed::default()
        };
        let by_samples = Timing {
            warm_up_seconds: 0.0,
            measured: Amount::Messages(self.samples),
        };
        self.target.resolve(seed.both(), by_samples)
    }
}

impl SweepArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// There is no time to measure, or no rate between the first and the last.
    pub(crate) fn resolve(self) -> Result<Sweep, clap::Error> {
        if self.from > self.to {
            return Err(invalid("--from must not be over --to"));
        }
        Ok(Sweep {
            broker: self.target.broker,
            target: self.target.target(),
            latency: Latency {
                client: self.client.client,
                ..self.open_loop.resolve(self.from)
            },
            steps: Steps {
                from: self.from,
                to: self.to,
                factor: self.factor,
            },
            tries: self.tries.into(),
            timing: self.time.measured()?,
        })
    }
}

impl CompareLatencyArgs {
    /// Returns the load of `latency` and its rates.
    ///
    /// # Errors
    /// Something is given although `latency` is not run.
    pub(super) fn resolve(self, is_run: bool) -> Result<(Latency, Vec<f64>), clap::Error> {
        if !is_run && (!self.rates.is_empty() || self.open_loop.is_given()) {
            return Err(invalid(
                "--rates and the other options of scenario latency need --scenario latency",
            ));
        }
        let rates = if self.rates.is_empty() {
            vec![1000.0, 10_000.0]
        } else {
            self.rates
        };
        Ok((self.open_loop.resolve(rates[0]), rates))
    }
}

impl TimeArgs {
    /// Returns a time that something can be measured in.
    fn measured(&self) -> Result<Timing, clap::Error> {
        if self.duration > 0.0 {
            Ok(self.resolve())
        } else {
            Err(invalid("--duration must be over 0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use crate::cli::{Cli, Command};

    fn parse(args: &[&str]) -> Result<Command, ErrorKind> {
        let args = ["loadgen"].iter().chain(args);
        match Cli::try_parse_from(args) {
            Ok(cli) => Ok(cli.command),
            Err(error) => Err(error.kind()),
        }
    }

    const NATS: [&str; 4] = ["--broker", "nats", "--addr", "127.0.0.1:4222"];

    #[test]
    fn figures_that_make_no_schedule_are_refused() {
        for bad in [
            ["--rate", "0"],
            ["--rate", "-5"],
            ["--rate", "NaN"],
            ["--payload", "23"],
            ["--max-lag", "-1"],
            ["--max-lag", "1"],
            ["--lag-percentile", "101"],
            ["--arrivals", "bursty"],
        ] {
            let args = [["latency"].as_slice(), &NATS, &bad].concat();
            assert!(parse(&args).is_err(), "{bad:?}");
        }
        let no_time = parse(&[["latency", "--duration", "0s"].as_slice(), &NATS].concat());
        let Ok(Command::Latency(no_time)) = no_time else {
            panic!("it is well formed");
        };
        assert!(no_time.resolve().is_err());
        let upwards = ["sweep", "--from", "10", "--to", "5"];
        let upwards = parse(&[upwards.as_slice(), &NATS].concat());
        let Ok(Command::Sweep(upwards)) = upwards else {
            panic!("it is well formed");
        };
        assert!(upwards.resolve().is_err());
    }

    #[test]
    fn options_of_a_scenario_that_is_not_run_are_refused() {
        for (scenario, is_fine) in [("latency", true), ("seed", false)] {
            let args = ["compare", "--rates", "5,10", "--scenario", scenario];
            let Ok(Command::Compare(args)) = parse(&args) else {
                panic!("{scenario} is one");
            };
            assert_eq!(args.resolve().is_ok(), is_fine, "{scenario}");
        }
    }

    #[test]
    fn each_rate_is_a_scenario() {
        let args = ["compare", "--scenario", "latency,seed", "--rates", "5,1e4"];
        let Ok(Command::Compare(args)) = parse(&args) else {
            panic!("it is well formed");
        };
        let compare = args.resolve().expect("latency is run");
        let names: Vec<_> = compare
            .scenarios
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            ["latency-5", "latency-10000", "seed-hello", "seed-1.6MB"]
        );
    }
}
