//! `mles reload`: has a running server read its settings again.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value};

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
    Ok(said(&client.act("reload")?))
}

/// Returns a report in lines.
fn said(report: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, title) in [
        ("changed", "changed"),
        ("opened", "opened"),
        ("closed", "closed"),
        ("needs_restart", "needs a restart"),
    ] {
        let items = report.get(name).and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{title}: {}", text_of(item));
        }
    }
    let ended = report.get("sessions_ended").and_then(Value::as_u64);
    let ended = ended.unwrap_or_default();
    if ended > 0 {
        let _ = writeln!(out, "sessions ended: {ended}");
    }
    if out.is_empty() {
        out.push_str("nothing has changed\n");
    }
    out
}

/// Returns a name as it is, and a listener as its kind and its address.
fn text_of(item: &Value) -> String {
    let part = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let text = match item.as_str() {
        Some(text) => text.to_owned(),
        None => format!("{} {}", part("kind"), part("address")),
    };
    escape_for_terminal(text.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_for_each_change() {
        let report = r#"{"changed": ["max_frame", "key"], "needs_restart": ["shards"], "opened":
            [{"kind": "ws", "address": "127.0.0.1:8076"}], "closed": [], "sessions_ended": 2}"#;
        assert_eq!(
            said(&serde_json::from_str(report).unwrap()),
            "changed: max_frame\nchanged: key\nopened: ws 127.0.0.1:8076\nneeds a restart: shards\n\
             sessions ended: 2\n"
        );
        assert_eq!(said(&Map::new()), "nothing has changed\n");
    }
}
