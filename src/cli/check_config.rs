//! `mles check-config`: what a file, with the environment, comes to.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit;
use crate::config::{AsToml, Environment, Sources, resolve};

#[derive(clap::Args)]
#[command(
    after_help = "Secrets are not printed: each is replaced by a comment that says whether it is \
                  set and where. The rest could be loaded again.\n\n\
                  Exit codes: 0 the file is fine, 1 it is not (the reasons are on standard error), \
                  2 wrong arguments."
)]
/// Check a configuration file and print what it comes to
///
/// Reads FILE and the MLES_ variables of the environment as `mles serve --config FILE` would, and
/// prints all settings as TOML, each with the place it came from. Nothing is started.
pub(super) struct CheckConfigArgs {
    /// The TOML file
    file: PathBuf,
}

pub(super) fn run(args: CheckConfigArgs) -> ExitCode {
    let sources = Sources {
        file: Some(args.file),
        environment: Environment::of_process(),
        options: Vec::new(),
    };
    let resolved = match resolve(&sources) {
        Ok(resolved) => resolved,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    for warning in &resolved.warnings {
        eprintln!("warning: {warning}");
    }
    match write_out(&AsToml(&resolved).to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mles: cannot write to standard output: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn write_out(text: &str) -> std::io::Result<()> {
    use std::io::Write;

    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
