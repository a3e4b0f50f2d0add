//! `loadgen`: the same load over several message brokers, with the broker's CPU time and memory
//! for it, and every delivery checked.
//!
//! # Layers
//!
//! ```text
//! main, cli → command → report → scenario → fleet → adapter → verify
//!           ↘ null_relay       ↘ watch    ↘ broker → adapter, library, process
//! ```
//!
//! `scenario` loads brokers and `report` has what came of it: as JSON, CSV, HTML, percentiles and tables. `fleet`
//! has the connections, `watch` the progress and the interval log. `broker` is the table of brokers, with all
//! that differs between them behind the traits of `adapter` (wire formats) and `library` (client libraries) and
//! what `process` needs to start them. `null_relay` is itself a broker, the least there can be, and runs as a process of
//! its own.

#![warn(clippy::disallowed_macros)]

mod adapter;
mod alarm;
mod broker;
mod cli;
mod command;
mod command_line;
mod distribution;
mod fleet;
mod interrupt;
mod library;
mod null_relay;
mod output;
mod payload;
mod process;
mod report;
mod scenario;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, RenderArgs};
use command::{Compare, DiffCommand, DrainCommand, Measure};
use interrupt::Interrupt;
use output::{print, say};
use process::enter_congestion;
use report::{Outputs, Paths, Report};
use watch::{IntervalLog, Watch};

type Failure = Box<dyn std::error::Error>;

/// Runs the command. Exit codes: 0 all went well, 1 something failed, does not count or was not delivered once
/// in order or got worse, 2 the arguments or the files to read make no sense, 130 interrupted.
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("loadgen: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Command::Compare(args) = &cli.command
        && let Some(name) = &args.congestion
    {
        enter_congestion(name)?;
    }
    let interrupt = Interrupt::on_signals()?;
    // Each subscriber is an open file here.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let paths = cli.command.output_paths();
    let allows_loss = cli.command.allows_loss();
    let measurement: Box<dyn Measure> = match cli.command {
        Command::Start(args) => {
            args.resolve().run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::NullRelay(args) => {
            args.resolve()?.run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Drain(args) => return drain(&sensible(args.resolve()), &interrupt),
        Command::Render(args) => return render(&args, &paths.report),
        Command::Diff(args) => return diff(args.resolve()),
        Command::Throughput(args) => Box::new(sensible(args.resolve())),
        Command::Latency(args) => Box::new(sensible(args.resolve())),
        Command::Sweep(args) => Box::new(sensible(args.resolve())),
        Command::Publish(args) => Box::new(sensible(args.resolve())),
        Command::Seed(args) => Box::new(args.resolve()),
        Command::ConnectStorm(args) => Box::new(args.resolve()),
        Command::ReconnectStorm(args) => Box::new(sensible(args.resolve())),
        Command::HistoryJoin(args) => Box::new(args.resolve()),
        Command::SlowReader(args) => Box::new(sensible(args.resolve())),
        Command::Compare(args) => match planned(sensible(args.resolve()))? {
            Some(compare) => Box::new(compare),
            None => return Ok(ExitCode::SUCCESS),
        },
        Command::Idle(args) => match planned(sensible(args.resolve()))? {
            Some(compare) => Box::new(compare),
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    // Only now: a command that is refused leaves no file behind.
    let outputs = Outputs::open(&paths.report)?;
    let log = paths.interval_log.as_deref().map(IntervalLog::create);
    let mut watch = Watch::new(log.transpose()?);
    let mut report = measurement.run(&interrupt, &mut watch)?;
    if allows_loss {
        report.allow_inexact();
    }
    // The files first: they are worth more than what may not be written to a full disk.
    outputs.write(&report)?;
    watch.finish()?;
    print(&report.to_text())?;
    Ok(match (report.partial, report.failures()) {
        (true, _) => ExitCode::from(130),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

/// Returns what is to be run, or tells the plan where only that was asked for.
fn planned(compare: Compare) -> Result<Option<Compare>, Failure> {
    if !compare.plan_only {
        return Ok(Some(compare));
    }
    print(&format!("{}\n", compare.plan()?))?;
    Ok(None)
}

/// Moves clients from one server to another.
fn drain(command: &DrainCommand, interrupt: &Interrupt) -> Result<ExitCode, Failure> {
    let report = match command.run(interrupt) {
        Err(_) if interrupt.is_set() => return Ok(ExitCode::from(130)),
        report => report?,
    };
    print(&report)?;
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Shows a report that was kept, and writes it in other formats.
fn render(args: &RenderArgs, paths: &Paths) -> Result<ExitCode, Failure> {
    let report = match Report::read(&args.results) {
        Ok(report) => report,
        Err(error) => return Ok(bad_input(&error)),
    };
    Outputs::open(paths)?.write(&report)?;
    print(&match args.markdown {
        true => report.to_markdown(),
        false => report.to_text(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn diff(compared: DiffCommand) -> Result<ExitCode, Failure> {
    match compared.run() {
        Ok(diff) => {
            print(&diff)?;
            Ok(ExitCode::from(u8::from(diff.is_regression())))
        }
        Err(error) => Ok(bad_input(&error)),
    }
}

/// Tells that a file is not what it should be, and returns the exit code for that.
fn bad_input(error: &dyn std::error::Error) -> ExitCode {
    say(format_args!("loadgen: {error}"));
    ExitCode::from(2)
}

/// Returns settings, or ends the program with a word on why they make no sense.
fn sensible<T>(settings: Result<T, clap::Error>) -> T {
    settings.unwrap_or_else(|error| error.exit())
}
