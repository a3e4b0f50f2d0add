//! `loadgen`: the same load over several message brokers, with the broker's CPU time and memory
//! for it, and every delivery checked.
//!
//! # Layers
//!
//! ```text
//! main, cli → command → scenario → fleet → adapter → verify
//!                     ↘ process            (brokers' processes)
//!                     ↘ report             (JSON, table)
//! ```
//!
//! A broker's protocol is in its file of `adapter`, how it is started in `process::launch`; nothing
//! else differs between brokers.

mod adapter;
mod cli;
mod command;
mod fleet;
mod interrupt;
mod null;
mod process;
mod report;
mod scenario;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use interrupt::Interrupt;
use null::NullRelay;
use report::JsonFile;

type Failure = Box<dyn std::error::Error>;

/// Exit codes: 0 all went well, 1 something failed or was not delivered exactly once in order, 2 the
/// arguments make no sense, 130 interrupted.
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
    let json = cli.json.as_deref().map(JsonFile::open).transpose()?;
    let report = match cli.command {
        Command::Start(args) => {
            args.resolve().run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::NullRelay(args) => {
            NullRelay::bind(args.listen)?.run(&interrupt)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Fanout(args) => args.resolve().run(&interrupt)?,
        Command::Compare(args) => args.resolve().run(&interrupt)?,
        Command::Idle(args) => args
            .resolve()
            .unwrap_or_else(|error| error.exit())
            .run(&interrupt)?,
    };
    print!("{}", report.to_text());
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(match (report.partial, report.failures()) {
        (true, _) => ExitCode::from(130),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}
