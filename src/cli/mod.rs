//! The `mles` program: one file for each command, and the list of them here.
//!
//! A command turns arguments into calls of the library, and results into text and an exit code.
//! Nothing here knows the wire or a channel. Results go to standard output, everything said to the
//! person at the terminal to standard error, both by way of `output`: nothing panics when they cannot
//! be written.

mod admin;
mod arguments;
mod chat;
mod check_config;
mod completions;
mod connect;
mod dev_cert;
mod drain;
mod duration;
mod exit;
mod failure;
mod fleet;
mod greeting;
mod history_end;
mod inherited;
mod interrupt;
mod log_queue;
mod logging;
mod man;
mod open_files;
mod options;
mod output;
mod overview;
mod printer;
mod publish;
mod receipts;
mod refusal;
mod reload;
mod reloader;
mod serve;
mod service;
mod signals;
mod status;
mod stdin_lines;
mod store;
mod subscribe;
mod subscriptions;
mod template;
mod token;
mod top;
mod whole_input;

use std::process::ExitCode;

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "mles",
    version,
    about = "Publish/subscribe broker for the Mles protocol, and its clients",
    after_help = "\
Examples:
  mles                           run a broker for this machine, on 127.0.0.1:8077
  mles sub room                  print what is published on the channel \"room\"
  mles pub room hello            publish a message there
  mles chat room --uid alice     talk there
  mles serve --listen 0.0.0.0:8077 --key-file key
                                 serve other machines too

`mles COMMAND --help` describes a command."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Subcommand)]
enum CliCommand {
    Serve(serve::ServeArgs),
    CheckConfig(check_config::CheckConfigArgs),
    DevCert(dev_cert::DevCertArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Reload(reload::ReloadArgs),
    Drain(drain::DrainArgs),
    #[command(alias = "publish")]
    Pub(publish::PubArgs),
    #[command(alias = "subscribe")]
    Sub(subscribe::SubArgs),
    Chat(chat::ChatArgs),
    Token(token::TokenArgs),
    Store(store::StoreArgs),
    Fleet(fleet::FleetArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the program with the arguments of this process.
///
/// A result that cannot be written is an error; what is said to a person is left unsaid then.
pub fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let command = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.command,
        Err(error) => return arguments::explain(&error, &command()),
    };
    match command.unwrap_or_else(|| CliCommand::Serve(serve::ServeArgs::default())) {
        CliCommand::Serve(args) => serve::run(args),
        CliCommand::CheckConfig(args) => check_config::run(args),
        CliCommand::DevCert(args) => dev_cert::run(args),
        CliCommand::Status(args) => status::run(&args),
        CliCommand::Top(args) => top::run(&args),
        CliCommand::Reload(args) => reload::run(&args),
        CliCommand::Drain(args) => drain::run(&args),
        CliCommand::Pub(args) => publish::run(args),
        CliCommand::Sub(args) => subscribe::run(args),
        CliCommand::Chat(args) => chat::run(args),
        CliCommand::Token(args) => token::run(args),
        CliCommand::Store(args) => store::run(&args),
        CliCommand::Fleet(args) => fleet::run(&args),
        CliCommand::Completions(args) => completions::run(&args, self::command()),
        CliCommand::Man(args) => man::run(&args, self::command()),
    }
}

/// Returns the description of all arguments.
fn command() -> Command {
    overview::with_groups(Cli::command())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{OPTIONS, Opt};

    #[test]
    fn arguments_are_well_defined() {
        command().debug_assert();
    }

    #[test]
    fn serve_takes_what_the_file_and_the_environment_take_and_nothing_else() {
        let mut command = command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help = serve.render_long_help().to_string();
        let flags: BTreeSet<_> = serve
            .get_arguments()
            .map(|arg| arg.get_long().unwrap().to_owned())
            .collect();
        let of_the_command_line_only = ["config", "help"].map(str::to_owned);
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
