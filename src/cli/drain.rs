//! `mles drain`: has a running server let its clients go, and stop.

use std::process::ExitCode;

use serde::Deserialize;

use super::admin::{ADMIN_EXIT_CODES, AdminArgs, AdminError, admin_exit_code};
use super::output::{print, printed};
use crate::escape::Escaped;

/// Drain a running server: let its clients go, then stop
#[derive(clap::Args)]
#[command(after_help = format!("\
Asks the admin listener of the server (`mles serve --admin`), and does not wait for the end. The server \
does what it does on SIGTERM: it takes no new clients, sends what is queued for its sessions, and ends \
after `drain_deadline` at the latest.

Examples:
  mles drain
  mles drain --admin broker.example:8078 --admin-token-file token

{ADMIN_EXIT_CODES}"))]
pub(super) struct DrainArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Answer of the server.
#[derive(Deserialize)]
struct DrainState {
    state: String,
}

pub(super) fn run(args: &DrainArgs) -> ExitCode {
    match drain(args) {
        Ok(said) => printed(print(&said)),
        Err(error) => admin_exit_code(&error),
    }
}

fn drain(args: &DrainArgs) -> Result<String, AdminError> {
    let client = args.admin.client()?;
    let state: DrainState = client.act("drain")?;
    Ok(format!(
        "the server at {} is {}\n",
        client.place(),
        Escaped(&state.state)
    ))
}
