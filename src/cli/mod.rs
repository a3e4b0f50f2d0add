//! The `mles` program: one file for each command.
//!
//! A command turns arguments into calls of the library, and results into text and an exit code.
//! Nothing here knows the wire or a channel. Results go to standard output, everything said to the
//! person at the terminal to standard error.

mod check_config;
mod exit;
mod greeting;
mod logging;
mod nofile;
mod options;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "mles",
    version,
    about = "A publish/subscribe broker that speaks Mles v1, and its clients",
    long_about = "A publish/subscribe broker that speaks Mles v1, and its clients.\n\n\
                  `mles` alone is `mles serve`: a broker on 127.0.0.1:8077 for this machine.",
    after_help = "Try it: run `mles` in one terminal, `mles sub room` in a second, and \
                  `mles pub room hello` in a third.",
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    CheckConfig(check_config::CheckConfigArgs),
}

/// Runs the program with the arguments of this process.
///
/// Help, version and wrong arguments end the process here, as clap does it.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    match command.unwrap_or_else(|| Command::Serve(serve::ServeArgs::default())) {
        Command::Serve(args) => serve::run(args),
        Command::CheckConfig(args) => check_config::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_well_defined() {
        Cli::command().debug_assert();
    }
}
