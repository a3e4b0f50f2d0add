//! Answers of clap to the arguments: help, the version, and complaints.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use super::exit;
use super::logging::say_error;
use super::output::printed;
use crate::config::{Environment, LogFormat};

/// The log format in which every line of the server is an object.
const JSON: &str = "json";

/// Prints help or the version, or says what is wrong with the arguments; returns the exit code.
pub(super) fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return printed(error.print());
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if is_json_asked_for(&args, &Environment::of_process()) {
        say_error(LogFormat::Json, error.render().to_string().trim());
    } else {
        // There is nobody left to tell if that fails.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
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
