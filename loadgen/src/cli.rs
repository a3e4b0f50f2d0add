//! The command line: raw arguments, resolved once into the commands' own settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::adapter::Broker;
use crate::command::{Compare, FanoutOne, Selection, Start};
use crate::process::Programs;
use crate::scenario::{Amount, Fanout, Idle, Load, Mode, Named, Target, Timing};
use crate::verify::Stamp;

/// One load, many brokers: deliveries per second and the broker's CPU time for each.
///
/// Every message carries a number, and every subscriber checks that it got each message once and in
/// order; loss, duplicates and reordering make the exit code 1.
///
/// CPU time is that of all threads of the broker's process, user and kernel, between two moments
/// with no message under way. `exact` in the table counts the runs in which every delivery came
/// once and in order.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Write all runs and the environment as JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one broker that runs already
    Fanout(FanoutArgs),
    /// Start brokers on loopback and run scenarios over all of them in turn
    Compare(CompareArgs),
    /// Start brokers on loopback and read their memory per idle subscriber
    Idle(IdleArgs),
    /// Start one broker on loopback, print how to reach it, and leave it running until Ctrl-C
    Start(StartArgs),
    /// Copy bytes between mles sessions: what `--brokers null` runs
    NullRelay(NullRelayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// What it speaks
    #[arg(long)]
    broker: Broker,
    /// Where it listens
    #[arg(long, value_name = "IP:PORT")]
    addr: SocketAddr,
    /// Its process id, to read its CPU time
    #[arg(long)]
    pid: Option<u32>,
    /// Publishers of each channel
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..1000))]
    publishers: u16,
    /// Subscribers of each channel
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    subscribers: u16,
    /// Channels, each with publishers and subscribers of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    channels: u16,
    /// Size of each message, at least 8 bytes, like 64 or 64KiB
    #[arg(long, default_value = "64", value_parser = payload)]
    payload: usize,
    /// How publishers send
    #[arg(long, default_value = "pipelined")]
    mode: Mode,
    /// Payload bytes that a pipelined publisher has under way, at least four messages
    #[arg(long, default_value = "256KiB", value_parser = size)]
    window: usize,
    /// Messages of each publisher, instead of a time
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    #[command(flatten)]
    time: TimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NullRelayArgs {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
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
    /// Shards of mles [default: its own]
    #[arg(long)]
    shards: Option<usize>,
}

#[derive(Debug, Args)]
struct BrokerArgs {
    /// Brokers to compare [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<Broker>,
    #[command(flatten)]
    programs: ProgramArgs,
    /// Install Debian's packages of brokers that are missing; needs root
    #[arg(long)]
    install: bool,
    /// How often each scenario is run over each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    /// Scenarios to run [default: all, the figures of the README]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<Named>,
    #[command(flatten)]
    time: TimeArgs,
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

impl FanoutArgs {
    /// The command's settings.
    pub(crate) fn resolve(self) -> FanoutOne {
        FanoutOne {
            broker: self.broker,
            target: Target {
                addr: self.addr,
                pid: self.pid,
            },
            load: Fanout {
                publishers: self.publishers,
                subscribers: self.subscribers.into(),
                channels: self.channels.into(),
                payload: self.payload,
                mode: self.mode,
                window: self.window,
            },
            timing: match self.messages {
                Some(messages) => Timing {
                    measured: Amount::Messages(messages),
                    ..self.time.resolve()
                },
                None => self.time.resolve(),
            },
        }
    }
}

impl CompareArgs {
    /// The command's settings.
    pub(crate) fn resolve(self) -> Compare {
        let scenarios = if self.scenario.is_empty() {
            Named::FIGURES.to_vec()
        } else {
            self.scenario
        };
        let scenarios = scenarios
            .into_iter()
            .map(|it| (it.name().to_owned(), it.load()))
            .collect();
        self.brokers.resolve(scenarios, self.time.resolve())
    }
}

impl IdleArgs {
    /// The command's settings.
    ///
    /// # Errors
    /// The counts do not make a slope.
    pub(crate) fn resolve(self) -> Result<Compare, clap::Error> {
        if self.counts.len() < 2 || self.counts[0] == 0 || !self.counts.is_sorted_by(|a, b| a < b) {
            let message = "--counts needs at least two numbers over 0, ascending\n";
            return Err(clap::Error::raw(
                clap::error::ErrorKind::ValueValidation,
                message,
            ));
        }
        let idle = Idle {
            counts: self.counts,
            per_channel: self.per_channel.into(),
            settle_seconds: self.settle,
        };
        let scenarios = vec![(Named::Idle.name().to_owned(), Load::Idle(idle))];
        let unused = Timing {
            warm_up_seconds: 0.0,
            measured: Amount::Seconds(0.0),
        };
        Ok(self.brokers.resolve(scenarios, unused))
    }
}

impl StartArgs {
    /// The command's settings.
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
            reference: self.reference_bin,
        }
    }
}

impl BrokerArgs {
    fn resolve(self, scenarios: Vec<(String, Load)>, timing: Timing) -> Compare {
        Compare {
            brokers: if self.brokers.is_empty() {
                Selection::Installed(Broker::value_variants().to_vec())
            } else {
                Selection::Exactly(self.brokers)
            },
            programs: self.programs.resolve(),
            install: self.install,
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

/// A size in bytes: digits, then nothing, `B`, `KiB` or `MiB`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        unit => return Err(format!("unknown unit {unit:?}: use B, KiB or MiB")),
    };
    let number: usize = digits.parse().map_err(|error| format!("{error}"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

fn payload(text: &str) -> Result<usize, String> {
    match size(text)? {
        short if short < Stamp::LEN => Err(format!("at least {} bytes are needed", Stamp::LEN)),
        payload => Ok(payload),
    }
}

/// Seconds: finite, not negative, at most a day.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be between 0 and 86400".to_owned())
    }
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
    fn sizes_have_units_and_limits() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2MiB"), Ok(2 << 20));
        for bad in ["", "KiB", "-1", "1kb", "1.5MiB", "99999999999999999MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(payload("7").is_err());
        assert!(seconds("NaN").is_err() && seconds("-1").is_err() && seconds("inf").is_err());
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
