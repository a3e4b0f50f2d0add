//! The command line: raw arguments, resolved once into the commands' own settings.

mod drain;
mod events;
mod host;
mod latency;
mod output;
mod publish;
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
use drain::DrainArgs;
use events::{ConnectStormArgs, HistoryJoinArgs, ReconnectStormArgs, SlowReaderArgs};
use host::Host;
use latency::{CompareLatencyArgs, LatencyArgs, SeedArgs, SweepArgs};
use output::{CourseFileArgs, FileArgs, LossArgs};
use publish::PublishArgs;
use report_files::DiffArgs;
pub(crate) use report_files::RenderArgs;
use throughput::ThroughputArgs;
use value::duration;

/// One load, many brokers: latencies, deliveries per second, and the broker's CPU time for each.
///
/// Messages are numbered, and every subscriber checks that each arrives once and in order. The exit
/// code is 1 if any is lost, duplicated or reordered, unless --allow-loss is given.
///
/// Subscribers of mles-resume, mles-v2-resume and mles-events ask for positions and count them; a run
/// fails if what the server says does not fit.
///
/// CPU time is that of all threads of the broker, user and kernel, measured between two moments at
/// which no message is in flight. The column `exact` counts the runs in which every message arrived
/// once and in order.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load a running broker as fast as it delivers
    ///
    /// The load is a closed loop with a window: a publisher sends while its slowest subscriber is less
    /// than --window behind. The result is the rate that the broker delivers, not the rate it accepts.
    /// It says nothing about latency: see `loadgen latency` for that.
    #[command(visible_alias = "fanout")]
    Throughput(ThroughputArgs),
    /// Start brokers on loopback and run the same scenarios on each in turn
    Compare(CompareArgs),
    /// Start brokers on loopback and measure their memory per idle subscriber
    Idle(IdleArgs),
    /// Send to a running broker at a fixed rate and measure latencies
    ///
    /// The load is an open loop: every message is due at a time that is set before the run, and its
    /// latency counts from then, so any delay in sending it is included. Service time counts from when
    /// the message was handed to its socket. The difference between the two is loadgen's own lag.
    ///
    /// A run is invalid, and the exit code is 1, if loadgen itself was too late (see --max-lag) or if
    /// fewer than 95 % of the messages arrived within the measured time.
    Latency(LatencyArgs),
    /// Raise the rate on a running broker until it cannot keep up
    ///
    /// A rate is sustained if one of its runs is valid and exact; see `loadgen help latency`. The report
    /// has all runs. A rate that is not sustained ends the sweep and is not a failure.
    Sweep(SweepArgs),
    /// Measure the time until all of 100 subscribers have a message, on a running broker
    ///
    /// Messages are sent one at a time: the next is sent once all subscribers have the last. Payloads
    /// are `Hello World!` after a stamp of 8 bytes, and 1.6 MB (1,600,000 bytes, stamp included).
    Seed(SeedArgs),
    /// Publish to a running broker and wait until each message is confirmed
    ///
    /// Each connection is kept, and sends the next message when one of those in flight is confirmed: by
    /// the reply to PUBLISH (Redis), by the answer to a PING behind the message (NATS), by the response to a
    /// POST (mles-http), or by a receipt (mles-resume, mles-v2-resume). A time counts from before a message is
    /// sent until it is confirmed. One subscriber checks what arrives.
    Publish(PublishArgs),
    /// Connect many clients at once to a running broker
    ///
    /// A connection is timed from `connect` until its first message. The channel gets a message every
    /// millisecond while somebody waits, and later one every tenth of the longest wait. The latency of
    /// another channel is measured meanwhile. The exit code is 1 if any connection fails.
    ConnectStorm(ConnectStormArgs),
    /// Cut many clients off a running broker at once, and let them come back
    ///
    /// They subscribe to channels on which messages go on. After the cut each connects again at a moment of its own
    /// within --spread, and asks for what it missed with the brokers that can do that: mles-resume,
    /// mles-v2-resume and mles-events. The server must keep what is published in that time. With other brokers
    /// clients just subscribe again; what they lose is counted, and is no failure. The latency of another
    /// channel is measured for as long before and meanwhile. The exit code is 1 if any client does not come
    /// back, or one that resumes does not have every message once and in order.
    ReconnectStorm(ReconnectStormArgs),
    /// Join channels that have a history, on a running Mles server
    ///
    /// A join is timed from `connect` until the whole history has arrived, complete and in order. The
    /// server must keep at least --history messages per channel.
    HistoryJoin(HistoryJoinArgs),
    /// Let one subscriber of a running broker stop reading, and watch the others
    ///
    /// The latencies of the other subscribers are measured before and after. The growth of the
    /// broker's memory needs --pid. The time until the broker disconnects the slow subscriber is only
    /// known for a broker on this machine.
    SlowReader(SlowReaderArgs),
    /// Start two linked servers of Mles, and drain one of them while many clients are connected
    ///
    /// Messages are published at the second server. The first one lets its clients go over --period, and each joins
    /// the second the moment that it is let go. The exit code is 1 if a client does not move or loses a message, if
    /// a connection ends inside a message, if more come in any second than in an even spread, or if the first
    /// server does not end well.
    Drain(DrainArgs),
    Render(RenderArgs),
    Diff(DiffArgs),
    /// Start one broker on loopback, print how to reach it, and run it until Ctrl-C
    Start(StartArgs),
    /// Copy bytes between Mles sessions: what `--brokers null` runs
    #[command(hide = true)]
    NullRelay(NullRelayArgs),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
struct ClientArgs {
    /// Code that talks to the broker
    #[arg(long, default_value = "lean")]
    client: Client,
}

#[derive(Debug, Args)]
pub(crate) struct NullRelayArgs {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT")]
    listen: Host,
    /// TCP congestion control of its connections, by the kernel's name for it
    #[arg(long, value_name = "NAME", default_value = null_relay::CONGESTION)]
    congestion: String,
}

/// How long to load. Durations are in seconds once they are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Measurement")]
struct TimeArgs {
    /// How long each run is measured, such as 3s or 500ms
    // The alias keeps commands of earlier reports working.
    #[arg(long, alias = "seconds", default_value = "3s", value_parser = duration)]
    duration: f64,
    /// How long each run is loaded before it is measured
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    warm_up: f64,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Broker to start
    #[arg(long)]
    broker: Broker,
    #[command(flatten)]
    programs: ProgramArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Brokers")]
struct ProgramArgs {
    /// The mles program [default: the one next to loadgen]
    #[arg(long, value_name = "PATH")]
    mles_bin: Option<PathBuf>,
    /// The reference-server program [default: the one next to loadgen, or in interop]
    #[arg(long, value_name = "PATH")]
    reference_bin: Option<PathBuf>,
    /// The server of mles 2.9.4 [default: where scripts/setup installs it]
    #[arg(long, value_name = "PATH")]
    reference_v2_bin: Option<PathBuf>,
    /// Number of shards of mles [default: what mles chooses]
    #[arg(long, value_name = "COUNT")]
    shards: Option<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Brokers")]
struct BrokerArgs {
    /// Brokers to compare [default: those that are installed]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<Broker>,
    #[command(flatten)]
    programs: ProgramArgs,
    /// Stop if a broker's package is missing, and say how to install it
    #[arg(long)]
    install: bool,
    /// Say how many runs there would be and how long they would take, and stop
    #[arg(long)]
    plan: bool,
    /// Runs of each scenario on each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    #[arg(value_name = "COUNT", help_heading = "Measurement")]
    rounds: u8,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    /// Brokers and scenarios to run where --brokers or --scenario is not given
    #[arg(long, default_value = "brokers")]
    #[arg(help_heading = "Load")]
    table: Table,
    /// Scenarios to run [default: those of --table; with `--client library`, fanout,
    /// fanout-unbatched and large]
    #[arg(long, value_delimiter = ',')]
    #[arg(help_heading = "Load")]
    scenario: Vec<ScenarioName>,
    /// Messages to measure [default: 300]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(value_name = "COUNT", help_heading = "Scenario seed")]
    samples: Option<u64>,
    /// One TCP congestion control for the brokers and loadgen, by the kernel's name for it, in a network
    /// namespace where it is the default [default: the system's; mles and null take reno]
    #[arg(long, value_name = "NAME", help_heading = "Brokers")]
    pub(crate) congestion: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    latency: CompareLatencyArgs,
    #[command(flatten)]
    loss: LossArgs,
    #[command(flatten)]
    output: CourseFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    /// Subscribers at each reading: at least two numbers, ascending
    #[arg(long, value_delimiter = ',', default_values_t = Idle::default().counts)]
    #[arg(help_heading = "Load")]
    counts: Vec<usize>,
    /// Subscribers of each channel
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    per_channel: u16,
    /// How long subscribers are left alone before a reading, such as 3s or 500ms
    #[arg(long, default_value = "3s", value_parser = duration)]
    #[arg(value_name = "DURATION", help_heading = "Measurement")]
    settle: f64,
    #[command(flatten)]
    output: FileArgs,
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
        if is_latency_run && self.time.duration == 0.0 {
            return Err(invalid("--duration must be over 0 for scenario latency"));
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
            .collect::<Result<Vec<_>, clap::Error>>()?;
        let timing = self.time.resolve();
        self.output.check(&scenarios)?;
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
            drained: None,
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
            measured: Amount::Seconds(self.duration),
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
