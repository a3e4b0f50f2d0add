//! `mles reload`: has a running server read its settings again.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::admin::{ADMIN_EXIT_CODES, AdminArgs, AdminError, admin_exit_code};
use super::output::{print, printed};
use crate::escape::escape_for_terminal;

/// Have a running server read its settings again
#[derive(clap::Args)]
#[command(after_help = format!("\
Asks the admin listener of the server (`mles serve --admin`), and prints what has changed and what needs \
a restart. If the new settings are invalid, the old ones stay in force, and the reason is printed.

Examples:
  mles reload
  mles reload --admin broker.example:8078 --admin-token-file token

{ADMIN_EXIT_CODES}"))]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &ReloadArgs) -> ExitCode {
    match reload(args) {
        Ok(report) => printed(print(&report)),
        Err(error) => admin_exit_code(&error),
    }
}

fn reload(args: &ReloadArgs) -> Result<String, AdminError> {
    let client = args.admin.client()?;
    let answer = client.act("reload")?;
    let report = serde_json::from_slice(&answer);
    Ok(said(&report.unwrap_or_default()))
}

/// Returns a report in lines.
fn said(report: &Value) -> String {
    let mut out = String::new();
    for (name, title) in [
        ("changed", "changed"),
        ("opened", "opened"),
        ("closed", "closed"),
        ("needs_restart", "needs a restart"),
    ] {
        for item in report[name].as_array().into_iter().flatten() {
            let text = item.as_str().unwrap_or_default();
            // Writing to a String does not fail.
            let _ = writeln!(out, "{title}: {}", escape_for_terminal(text.as_bytes()));
        }
    }
    let ended = report["sessions_ended"].as_u64().unwrap_or_default();
    if ended > 0 {
        let _ = writeln!(out, "sessions ended: {ended}");
    }
    if out.is_empty() {
        out.push_str("nothing has changed\n");
    }
    out
}
