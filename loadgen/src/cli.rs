//! The command line: raw arguments, resolved once into the commands' own settings.

mod events;
mod host;
mod latency;
mod report_files;
mod throughput;
mod value;

use std::io;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::broker::{Broker, Client, Programs, Table};
use crate::command::{Compare, Selection, Start};
use crate::null_relay::{self, NullRelay};
use crate::scenario::{Amount, Idle, Load, ScenarioName, ScenarioOptions, Seed, Timing};
use events::{ConnectStormArgs, HistoryJoinArgs, SlowReaderArgs};
use host::Host;
use latency::{CompareLatencyArgs, LatencyArgs, SeedArgs, SweepArgs};
use report_files::{DiffArgs, RenderArgs};
use throughput::ThroughputArgs;
use value::seconds;

/// One load, many brokers: latencies, deliveries per second, and the broker's CPU time for each.
///
/// Every message carries a number, and every subscriber checks that it got each message once and in
/// order; loss, duplicates and reordering make the exit code 1, unless --allow-loss is given.
///
/// CPU time is that of all threads of the broker's process, user and kernel, between two moments
/// with no message under way. `exact` in the table counts the runs in which every delivery came
/// once and in order.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Let messages be lost, doubled or reordered: they are counted and told, and are no failure. A
    /// sweep takes them for the end of a rate all the same
    #[arg(long, global = true)]
    pub(crate) allow_loss: bool,
    /// Write all runs and the environment as JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the figures of all runs as CSV to this file, a line for each
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write plots, tables and how to repeat it as one HTML file that needs nothing else
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write latencies by percentile as HdrHistogram files to this directory
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write latencies second by second as a HdrHistogram interval log to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) interval_log: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one broker that runs already as fast as it delivers: a windowed closed loop
    ///
    /// Publishers wait for the slowest of their subscribers: each sends while that is less than the
    /// window behind. So these are rates that a broker delivers, not such that it accepts, and they
    /// say nothing about latency: `loadgen help latency` does.
    #[command(visible_alias = "fanout")]
    Throughput(ThroughputArgs),
    /// Start brokers on loopback and run scenarios over all of them in turn
    Compare(CompareArgs),
    /// Start brokers on loopback and read their memory per idle subscriber
    Idle(IdleArgs),
    /// Send at a given rate to one broker that runs already, and measure latencies
    ///
    /// Every message is due at a time that is set before the run, and its latency counts from then:
    /// if something keeps it from being sent, that is in its latency. Service time counts from when
    /// it was handed to its socket; lag is the difference, per message.
    ///
    /// A run is invalid, and the exit code 1, when loadgen itself was too late (--max-lag), or when
    /// less than 95 % of the messages came within the measured time.
    Latency(LatencyArgs),
    /// Raise the rate on one broker that runs already until it does not keep up
    ///
    /// A rate is sustained when one of its runs is valid and exact, see `loadgen help latency`. All
    /// runs are in the report; those that find the knee are no failures.
    Sweep(SweepArgs),
    /// Time until all of 100 receivers have a message, on one broker that runs already
    ///
    /// One message at a time: the next is sent when all receivers have the one before. Payloads are
    /// `Hello World!` behind a stamp of 8 bytes, and 1.6 MB (1,600,000 bytes, stamp included).
    Seed(SeedArgs),
    /// Connect many clients at once to one broker that runs already
    ///
    /// A connection is timed from `connect` until its first message: its channel gets one a
    /// millisecond while somebody waits, later ten in the time that the longest has waited. A channel
    /// beside is watched meanwhile. Connections that fail make the exit code 1.
    ConnectStorm(ConnectStormArgs),
    /// Join channels with a history, on one server of Mles that runs already
    ///
    /// A join is timed from `connect` until the whole history has come, complete and in order. The
    /// server must keep at least --history messages.
    HistoryJoin(HistoryJoinArgs),
    /// Let one subscriber stop reading, on one broker that runs already
    ///
    /// What the others wait is in two histograms, before and after. How the broker's memory grows
    /// needs --pid; whether it lets the slow one go, a broker on this machine.
    SlowReader(SlowReaderArgs),
    Render(RenderArgs),
    Diff(DiffArgs),
    /// Start one broker on loopback, print how to reach it, and leave it running until Ctrl-C
    Start(StartArgs),
    /// Copy bytes between mles sessions: what `--brokers null` runs
    NullRelay(NullRelayArgs),
}

#[derive(Debug, Args)]
struct ClientArgs {
    /// What speaks with the broker
    #[arg(long, default_value = "lean")]
    client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct NullRelayArgs {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT")]
    listen: Host,
    /// TCP congestion control of its connections, by the kernel's name for it
    #[arg(long, value_name = "NAME", default_value = null_relay::CONGESTION)]
    congestion: String,
}

#[derive(Debug, Args)]
struct TimeArgs {
    /// How long to measure
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// How long to load before measuring, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = seconds, value_name = "SECONDS")]
    warm_up: f64,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Which
    #[arg(long)]
    broker: Broker,
    #[command(flatten)]
    programs: ProgramArgs,
}

#[derive(Debug, Args)]
struct ProgramArgs {
    /// The mles program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    mles_bin: Option<PathBuf>,
    /// The reference-server program [default: beside this one, or built in interop]
    #[arg(long, value_name = "PATH")]
    reference_bin: Option<PathBuf>,
    /// The program of the server mles 2.9.4 [default: where scripts/setup puts it]
    #[arg(long, value_name = "PATH")]
    reference_v2_bin: Option<PathBuf>,
    /// Shards of mles [default: its own]
    #[arg(long)]
    shards: Option<usize>,
}

#[derive(Debug, Args)]
struct BrokerArgs {
    /// Brokers to compare [default: those that are installed]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<Broker>,
    #[command(flatten)]
    programs: ProgramArgs,
    /// If packages with the brokers' programs are missing, say how to install them and stop
    #[arg(long)]
    install: bool,
    /// Say how many runs there would be and how long they would take, and stop
    #[arg(long)]
    plan: bool,
    /// How often each scenario is run over each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    /// What to run where --brokers or --scenario is not given
    #[arg(long, default_value = "brokers")]
    table: Table,
    /// Scenarios to run [default: those of --table; with --client library fanout, fanout-unbatched
    /// and large]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<ScenarioName>,
    /// Messages that scenario seed measures [default: 300]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// One TCP congestion control for the brokers and loadgen, by the kernel's name for it, in a network
    /// namespace where it is the default [default: the system's; mles and null take reno]
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    latency: CompareLatencyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    /// How many subscribers at each reading: at least two counts, ascending
    #[arg(long, value_delimiter = ',', default_values_t = Idle::default().counts)]
    counts: Vec<usize>,
    /// Subscribers of each channel
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    per_channel: u16,
    /// How long subscribers are left alone before a reading, in seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds, value_name = "SECONDS")]
    settle: f64,
}

impl CompareArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// An option is for a scenario that is not run, or there is no time to measure latencies, or a
    /// scenario cannot be run by the client that was chosen.
    pub(crate) fn resolve(self) -> Result<Compare, clap::Error> {
        let client = self.client.client;
        let scenarios = match (self.scenario.is_empty(), client) {
            (false, _) => self.scenario,
            (true, Client::Lean) => ScenarioName::of(self.table).to_vec(),
            (true, Client::Library) => vec![
                ScenarioName::Fanout,
                ScenarioName::FanoutUnbatched,
                ScenarioName::Large,
            ],
        };
        let is_latency_run = scenarios.contains(&ScenarioName::Latency);
        if is_latency_run && self.time.seconds == 0.0 {
            return Err(invalid("--seconds must be over 0 for scenario latency"));
        }
        let (latency, rates) = self.latency.resolve(is_latency_run)?;
        if self.samples.is_some() && !scenarios.contains(&ScenarioName::Seed) {
            return Err(invalid("--samples needs --scenario seed"));
        }
        let mut seed = Seed::default();
        seed.samples = self.samples.unwrap_or(seed.samples);
        let given = ScenarioOptions {
            latency,
            rates,
            seed,
        };
        let scenarios = scenarios
            .into_iter()
            .flat_map(|it| it.loads(&given))
            .map(|(name, load)| {
                let load = load.by(client).ok_or_else(|| {
                    invalid(&format!("--client library cannot run scenario {name}"))
                })?;
                Ok((name, load))
            })
            .collect::<Result<_, clap::Error>>()?;
        let timing = self.time.resolve();
        let mut compare = self.brokers.resolve(self.table, scenarios, timing);
        compare.programs.congestion = self.congestion;
        Ok(compare)
    }
}

impl NullRelayArgs {
    /// Returns the relay, which listens.
    ///
    /// # Errors
    /// The address is not to be had.
    pub(crate) fn resolve(self) -> io::Result<NullRelay> {
        NullRelay::bind(self.listen.first(), &self.congestion)
    }
}

impl IdleArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// The counts do not make a slope.
    pub(crate) fn resolve(self) -> Result<Compare, clap::Error> {
        if self.counts.len() < 2 || self.counts[0] == 0 || !self.counts.is_sorted_by(|a, b| a < b) {
            return Err(invalid(
                "--counts needs at least two numbers over 0, ascending",
            ));
        }
        let idle = Idle {
            counts: self.counts,
            per_channel: self.per_channel.into(),
            settle_seconds: self.settle,
        };
        let scenarios = vec![(ScenarioName::Idle.name(), Load::Idle(idle))];
        let unused = Timing {
            warm_up_seconds: 0.0,
            measured: Amount::Seconds(0.0),
        };
        Ok(self.brokers.resolve(Table::Brokers, scenarios, unused))
    }
}

impl StartArgs {
    pub(crate) fn resolve(self) -> Start {
        Start {
            broker: self.broker,
            programs: self.programs.resolve(),
        }
    }
}

impl ProgramArgs {
    fn resolve(self) -> Programs {
        Programs {
            mles: self.mles_bin,
            shards: self.shards,
            congestion: None,
            reference: self.reference_bin,
            reference_v2: self.reference_v2_bin,
            history: 0,
        }
    }
}

impl BrokerArgs {
    /// Returns the comparison; where no brokers are named, they are those of `table`.
    fn resolve(self, table: Table, scenarios: Vec<(String, Load)>, timing: Timing) -> Compare {
        Compare {
            brokers: if self.brokers.is_empty() {
                Selection::Installed(table.brokers())
            } else {
                Selection::Exactly(self.brokers)
            },
            programs: self.programs.resolve(),
            check_packages: self.install,
            plan_only: self.plan,
            scenarios,
            rounds: self.rounds.into(),
            timing,
        }
    }
}

impl TimeArgs {
    fn resolve(&self) -> Timing {
        Timing {
            warm_up_seconds: self.warm_up,
            measured: Amount::Seconds(self.seconds),
        }
    }
}

/// Arguments that make no sense together.
fn invalid(why: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{why}\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_that_make_no_slope_are_refused() {
        for bad in ["2000", "8000,2000", "0,100", "5,5"] {
            let cli = Cli::try_parse_from(["loadgen", "idle", "--counts", bad]);
            let Ok(Cli {
                command: Command::Idle(args),
                ..
            }) = cli
            else {
                panic!("{bad} is a list of numbers");
            };
            assert!(args.resolve().is_err(), "{bad}");
        }
    }
}
