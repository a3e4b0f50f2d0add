//! `loadgen`: the same load over several message brokers, with the broker's CPU time and memory
//! for it, and every delivery checked.
//!
//! # Layers
//!
//! ```text
//! main, cli → command → scenario → fleet → adapter → verify
//!           ↘ null              ↘ library            (client libraries instead)
//!                     ↘ process            (brokers' processes)
//!                     ↘ watch              (progress, interval log)
//!                     ↘ report             (JSON, CSV, percentiles, table)
//! ```
//!
//! A broker's protocol is in its file of `adapter`, its client library in that of `library`, how it is
//! started in `process::launch`; nothing else differs between brokers. `null` is itself a broker, the
//! least there can be, and runs as a process of its own.

mod adapter;
mod alarm;
mod cli;
mod command;
mod distribution;
mod fleet;
mod interrupt;
mod library;
mod mark;
mod null;
mod process;
mod report;
mod scenario;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use interrupt::Interrupt;
use null::NullRelay;
use report::Outputs;
use watch::{IntervalLog, Watch};

type Failure = Box<dyn std::error::Error>;

/// Exit codes: 0 all went well, 1 something failed, does not count or was not delivered exactly once
/// in order, 2 the arguments make no sense, 130 interrupted.
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::on_signals()?;
    // Each subscriber is an open file here.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let outputs = Outputs::open(cli.json.as_deref(), cli.csv.as_deref(), cli.hgrm.as_deref())?;
    let log = cli.interval_log.as_deref();
    let mut watch = Watch::new(log.map(IntervalLog::create).transpose()?);
    let mut report = match cli.command {
        Command::Start(args) => {
            args.resolve().run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::NullRelay(args) => {
            NullRelay::bind(args.listen)?.run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Throughput(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
        Command::Latency(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
        Command::Sweep(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
        Command::Seed(args) => args.resolve().run(&interrupt, &mut watch)?,
        Command::ConnectStorm(args) => args.resolve().run(&interrupt, &mut watch)?,
        Command::HistoryJoin(args) => args.resolve().run(&interrupt, &mut watch)?,
        Command::SlowReader(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
        Command::Compare(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
        Command::Idle(args) => sensible(args.resolve()).run(&interrupt, &mut watch)?,
    };
    if cli.allow_loss {
        report.allow_inexact();
    }
    print!("{}", report.to_text());
    outputs.write(&report)?;
    watch.finish()?;
    Ok(match (report.partial, report.failures()) {
        (true, _) => ExitCode::from(130),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Settings, or the end of the program with a word on why they make no sense.
fn sensible<T>(settings: Result<T, clap::Error>) -> T {
    settings.unwrap_or_else(|error| error.exit())
}
