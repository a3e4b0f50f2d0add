//! Answers to arguments: help, the version, and complaints in one line.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use super::exit;
use super::logging::say_error;
use super::output::printed;
use crate::config::{Environment, LogFormat};

/// The log format in which every line of the server is an object.
const JSON: &str = "json";

/// Names that are alike by this much, of 1, may have been meant.
const ALIKE: f64 = 0.75;

/// Options of `mosquitto_pub` and `mosquitto_sub` whose place another argument takes here.
const FOREIGN: [(&str, &str); 3] = [
    (
        "-t",
        "the channel is an argument without an option: CHANNEL",
    ),
    (
        "-m",
        "the message is an argument without an option: CHANNEL MESSAGE",
    ),
    ("-p", "the port is a part of the server: --server HOST:PORT"),
];

/// Prints help or the version, or says in one line what is wrong with the arguments; returns the exit
/// code.
pub(super) fn explain(error: &Error, command: &Command) -> ExitCode {
    if !error.use_stderr() {
        return printed(error.print());
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let format = if is_json_asked_for(&args, &Environment::of_process()) {
        LogFormat::Json
    } else {
        LogFormat::Human
    };
    say_error(format, complaint(error, command, &args));
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
}

/// Says what is wrong and what to do about it.
fn complaint(error: &Error, command: &Command, args: &[OsString]) -> String {
    let called = called(command, args);
    let unknown = unknown_option(error);
    if let Some(option) = &unknown {
        if called.is_none()
            && let Some(place) = place_of(option, command)
        {
            return place;
        }
        if let Some(name @ ("pub" | "sub" | "chat")) = called
            && let Some((_, hint)) = FOREIGN.iter().find(|(name, _)| name == option)
        {
            return format!("`mles {name}` has no option {option}; {hint}");
        }
    }
    let said = match unknown_command(error) {
        Some(name) => match meant(name, command) {
            Some(meant) => return format!("unknown command '{name}': did you mean '{meant}'?"),
            None => format!("unknown command '{name}'"),
        },
        None => one_line(&error.render().to_string()),
    };
    let help = called.map_or_else(String::new, |name| format!("{name} "));
    format!("{said}; see `mles {help}--help`")
}

/// Returns the word of the arguments that is no command.
fn unknown_command(error: &Error) -> Option<&str> {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => Some(name),
        _ => None,
    }
}

/// Returns the command whose name is most like `name`, if one is like it.
fn meant<'a>(name: &str, command: &'a Command) -> Option<&'a str> {
    let likeness = |command: &Command| {
        let names = command.get_name_and_visible_aliases().into_iter();
        let hidden = command.get_all_aliases();
        names
            .chain(hidden)
            .map(|known| strsim::jaro_winkler(name, known))
            .fold(0.0, f64::max)
    };
    let best = command
        .get_subcommands()
        .map(|command| (likeness(command), command.get_name()))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= ALIKE)
        .map(|(_, name)| name)
}

/// Returns the option of the arguments that is not known, without its value.
fn unknown_option(error: &Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => {
            let name = arg.split('=').next().unwrap_or_default();
            Some(name.to_owned())
        }
        _ => None,
    }
}

/// Returns the command that is called. Before it there are no options with values, so it comes first.
fn called<'a>(command: &'a Command, args: &[OsString]) -> Option<&'a str> {
    let first = args.first()?.to_str()?;
    command.find_subcommand(first).map(Command::get_name)
}

/// Says to which commands an option belongs that was given to none.
fn place_of(option: &str, command: &Command) -> Option<String> {
    let owners: Vec<_> = command
        .get_subcommands()
        .filter(|command| has_option(command, option))
        .map(Command::get_name)
        .collect();
    let (first, rest) = owners.split_first()?;
    if owners.contains(&"serve") {
        return Some(format!(
            "{option} is an option of `mles serve`: run `mles serve {option} ...`"
        ));
    }
    let others = match rest {
        [] => String::new(),
        rest => format!(" (also of {})", rest.join(", ")),
    };
    Some(format!(
        "{option} is an option of `mles {first}`{others}: run `mles {first} {option} ...`"
    ))
}

fn has_option(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        long.as_deref() == Some(option) || short.as_deref() == Some(option)
    })
}

/// Returns what clap says, without usage and colours, on one line.
fn one_line(rendered: &str) -> String {
    let mut said = String::new();
    for line in rendered.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let (separator, text) = match line.strip_prefix("tip: ") {
            Some(tip) => ("; ", tip),
            None => (" ", line.strip_prefix("error: ").unwrap_or(line)),
        };
        if text.is_empty() {
            continue;
        }
        if !said.is_empty() {
            said.push_str(separator);
        }
        said.push_str(text);
    }
    said
}

/// Returns `true` if these arguments ask the server for logs in JSON. They are not all understood, so
/// they are only looked through.
fn is_json_asked_for(args: &[OsString], environment: &Environment) -> bool {
    let is_serve = args
        .iter()
        .map(|arg| arg.to_string_lossy())
        .find(|arg| !arg.starts_with('-'))
        .is_none_or(|command| command == "serve");
    let mut formats = args.iter().enumerate().filter_map(|(at, arg)| {
        let rest = arg.to_str()?.strip_prefix("--log-format")?;
        match rest.strip_prefix('=') {
            Some(value) => Some(OsStr::new(value)),
            None if rest.is_empty() => args.get(at + 1).map(OsString::as_os_str),
            None => None,
        }
    });
    let given = formats.next_back();
    let given = given.or_else(|| environment.get("MLES_LOG_FORMAT").map(OsString::as_os_str));
    is_serve && given == Some(OsStr::new(JSON))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaint about arguments, each separated by a space.
    fn said(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = super::super::command();
        let words = [&["mles".into()], &args[..]].concat();
        let error = command.clone().try_get_matches_from(words);
        complaint(&error.expect_err(line), &command, &args)
    }

    #[test]
    fn an_option_without_its_command_is_told_where_it_belongs() {
        assert_eq!(
            said("--listen 0.0.0.0:8077"),
            "--listen is an option of `mles serve`: run `mles serve --listen ...`"
        );
        assert_eq!(
            said("--key=secret"),
            "--key is an option of `mles serve`: run `mles serve --key ...`"
        );
        assert_eq!(
            said("-s localhost sub room"),
            "-s is an option of `mles pub` (also of sub, chat): run `mles pub -s ...`"
        );
    }

    #[test]
    fn a_slip_is_one_line_with_what_was_meant() {
        for (line, parts) in [
            ("--bogus", &["--bogus", "`mles --help`"][..]),
            ("sreve", &["did you mean 'serve'?"]),
            ("subs room", &["did you mean 'sub'?"]),
            ("publsh room", &["did you mean 'pub'?"]),
            ("xyzzy", &["unknown command 'xyzzy'; see"]),
            (
                "sub room --cuont 3",
                &["--cuont", "'--count'", "`mles sub --help`"],
            ),
            ("pub", &["<CHANNEL>", "`mles pub --help`"]),
            (
                "serve --shards many",
                &["'many'", "an integer from 1", "`mles serve --help`"],
            ),
            ("serve --lisen x", &["'--listen'"]),
            ("completions tcsh", &["'tcsh'", "bash", "zsh"]),
            ("sub -t room", &["-t", "`mles sub`", "CHANNEL"]),
            ("pub room -m x", &["-m", "CHANNEL MESSAGE"]),
            ("sub room -p 8077", &["-p", "HOST:PORT"]),
        ] {
            let said = said(line);
            assert!(
                !said.contains('\n') && !said.contains("  "),
                "{line}: {said}"
            );
            for part in parts {
                assert!(said.contains(part), "{line}: no {part} in {said}");
            }
        }
    }

    #[test]
    fn json_is_known_from_arguments_that_are_wrong() {
        let asked = |args: &[&str], variables: &[(&str, &str)]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            let variable = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            let environment = Environment::new(variables.iter().map(variable));
            is_json_asked_for(&args, &environment)
        };
        let by_environment = &[("MLES_LOG_FORMAT", "json")];
        assert!(asked(&["serve", "--log-format", "json", "--bogus"], &[]));
        assert!(asked(&["serve", "--bogus", "--log-format=json"], &[]));
        assert!(asked(&["serve", "--bogus"], by_environment));
        assert!(asked(&["--bogus"], by_environment));
        assert!(!asked(&["serve", "--log-format=human"], by_environment));
        assert!(!asked(&["sub", "--bogus"], by_environment));
        assert!(!asked(&["serve", "--log-format"], &[]));
        assert!(!asked(&["serve", "--bogus"], &[]));
    }
}
