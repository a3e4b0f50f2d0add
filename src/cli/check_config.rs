//! `mles check-config`: checks a file and prints the settings that it makes.

use std::path::PathBuf;
use std::process::ExitCode;

use super::open_files::OpenFilesNotice;
use super::output::{print, printed, say};
use super::{exit, open_files};
use crate::broker::preflight;
use crate::config::{AsToml, Environment, Sources, resolve};

/// Check a configuration file and print the resulting settings
#[derive(clap::Args)]
#[command(after_help = "\
Reads FILE and the MLES_ variables of the environment as `mles serve --config FILE` would, and reports \
whatever would keep the server from starting: certificates and keys, addresses that this machine does \
not have, upstreams whose names do not resolve. Prints all settings as TOML, each with the place it came \
from; a secret is replaced by a comment. Nothing is started and no port is opened, so a server may be \
running meanwhile.

Examples:
  mles check-config /etc/mles/mles.toml

Exit codes:
  0  the file is fine
  1  it is not; the reasons are on standard error
  2  wrong arguments")]
pub(super) struct CheckConfigArgs {
    /// TOML file to check
    file: PathBuf,
}

pub(super) fn run(args: CheckConfigArgs) -> ExitCode {
    let sources = Sources {
        file: Some(args.file),
        environment: Environment::of_process(),
        ..Sources::default()
    };
    let resolved = match resolve(&sources) {
        Ok(resolved) => resolved,
        Err(error) => {
            say(error);
            return ExitCode::from(exit::FAILED);
        }
    };
    let found = preflight(&resolved.config.settings);
    for warning in resolved.warnings.iter().chain(&found.warnings) {
        say(format_args!("warning: {warning}"));
    }
    let is_asked_for = resolved.origins.is_set("max_connections");
    // What is printed is what was asked for.
    let mut settings = resolved.config.settings.clone();
    if let Some(OpenFilesNotice::Warning(text)) = open_files::make_room(&mut settings, is_asked_for)
    {
        say(format_args!("warning: {text}"));
    }
    for (options, problem) in &found.problems {
        match resolved.origins.place_of(options) {
            Some(place) => say(format_args!("{place}: {problem}")),
            None => say(problem),
        }
    }
    if !found.problems.is_empty() {
        return ExitCode::from(exit::FAILED);
    }
    printed(print(&AsToml(&resolved).to_string()))
}
