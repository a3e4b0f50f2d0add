//! `mles completions`: a script by which a shell completes the program's arguments.

use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

use super::output::{print, printed};

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  source <(mles completions bash)
  mles completions bash > ~/.local/share/bash-completion/completions/mles
  mles completions zsh > ~/.zfunc/_mles        # a directory in $fpath
  mles completions fish > ~/.config/fish/completions/mles.fish")]
pub(super) struct CompletionsArgs {
    /// Shell that is to read the script
    shell: Shell,
}

/// Runs `mles completions` for the program that `command` describes.
pub(super) fn run(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "mles", &mut script);
    printed(print(&String::from_utf8_lossy(&script)))
}
