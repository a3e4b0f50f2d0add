//! The `mles` program: one file for each command, and the list of them here.
//!
//! A command turns arguments into calls of the library, and results into text and an exit code.
//! Nothing here knows the wire or a channel. Results go to standard output, everything said to the
//! person at the terminal to standard error, both by way of `output`: nothing panics when they cannot
//! be written.

mod arguments;
mod chat;
mod check_config;
mod connect;
mod dev_cert;
mod exit;
mod failure;
mod greeting;
mod interrupt;
mod log_queue;
mod logging;
mod open_files;
mod options;
mod output;
mod publish;
mod serve;
mod signals;
mod stdin_lines;
mod subscribe;
mod subscriptions;

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
    Pub(publish::PubArgs),
    Sub(subscribe::SubArgs),
    Chat(chat::ChatArgs),
    CheckConfig(check_config::CheckConfigArgs),
    DevCert(dev_cert::DevCertArgs),
}

/// Runs the program with the arguments of this process.
///
/// A result that cannot be written is an error; what is said to a person is left unsaid then.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return arguments::explain(&error),
    };
    match command.unwrap_or_else(|| Command::Serve(serve::ServeArgs::default())) {
        Command::Serve(args) => serve::run(args),
        Command::Pub(args) => publish::run(args),
        Command::Sub(args) => subscribe::run(args),
        Command::Chat(args) => chat::run(args),
        Command::CheckConfig(args) => check_config::run(args),
        Command::DevCert(args) => dev_cert::run(args),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::config::{OPTIONS, Opt};

    #[test]
    fn arguments_are_well_defined() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_what_the_file_and_the_environment_take_and_nothing_else() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help = serve.render_long_help().to_string();
        let flags: BTreeSet<_> = serve
            .get_arguments()
            .map(|arg| arg.get_long().unwrap().to_owned())
            .collect();
        let of_the_command_line_only = ["config", "help", "version"].map(str::to_owned);
        let of_the_table = OPTIONS.iter().map(Opt::flag);
        let known: BTreeSet<_> = of_the_table
            .clone()
            .chain(of_the_command_line_only)
            .collect();
        assert!(flags.is_subset(&known), "{flags:?}");
        for flag in of_the_table {
            assert!(flags.contains(&flag), "{flag}");
            // The value follows: `--pin [<true|false>]`, `--shards <N>`.
            let is_shown = |end| help.contains(&format!("--{flag}{end}"));
            assert!(is_shown(" <") || is_shown(" [<"), "{flag} in {help}");
        }
    }
}
