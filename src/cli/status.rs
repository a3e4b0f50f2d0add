//! `mles status`: how a running server is, on one screen.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::admin::{
    AdminArgs, AdminClient, AdminError, Channel, ChannelOrder, LOSSES, Link, Server, Session,
    Shard, Snapshot, admin_exit_code, byte_rate, bytes, count, micros, percent, rate, seconds,
    short_count,
};
use super::exit;
use super::output::{print, printed};
use crate::escape::Escaped;

/// Most channels, members and links that are listed.
const LISTED: usize = 5;
/// The parts of the API that `--json` prints, by name and path.
const PARTS: [(&str, &str); 5] = [
    ("server", "server"),
    ("shards", "shards"),
    ("channels", "channels?sort=rate&limit=5"),
    ("sessions", "sessions?sort=queued&limit=5"),
    ("links", "links"),
];

/// Show how a running server is
#[derive(clap::Args)]
#[command(after_help = "\
Asks the admin listener of the server (`mles serve --admin`). With --json, prints one object with the \
answers of its API: server, shards, channels, sessions, links.

Examples:
  mles status
  mles status --json | jq .server.sessions
  mles status --admin broker.example:8078 --admin-token-file token

Exit codes:
  0  the server works
  1  it cannot be asked, or a part of it is stuck
  2  wrong arguments")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Outcome of the command: its text, and whether the server works.
struct Status {
    text: String,
    is_healthy: bool,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let status = match args
        .admin
        .client()
        .and_then(|client| status(&client, args.json))
    {
        Ok(status) => status,
        Err(error) => return admin_exit_code(&error),
    };
    let code = printed(print(&status.text));
    if status.is_healthy {
        code
    } else {
        ExitCode::from(exit::FAILED)
    }
}

fn status(client: &AdminClient, is_json: bool) -> Result<Status, AdminError> {
    let ailment = client.ailment("/healthz")?;
    let text = if is_json {
        json(client)?
    } else {
        let snapshot = Snapshot::take(client, ChannelOrder::Rate, LISTED)?;
        let unready = client.ailment("/readyz")?;
        let troubles: Vec<_> = ailment.iter().chain(&unready).map(String::as_str).collect();
        page(&snapshot, &troubles, now())
    };
    Ok(Status {
        text,
        is_healthy: ailment.is_none(),
    })
}

/// Returns the answers of the API in one object.
fn json(client: &AdminClient) -> Result<String, AdminError> {
    let mut parts = Map::new();
    for (name, path) in PARTS {
        parts.insert(name.to_owned(), client.get::<Value>(path)?);
    }
    Ok(format!("{:#}\n", Value::Object(parts)))
}

/// Returns the seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Returns the screen. `troubles` are reasons why the server is not well or not ready.
fn page(snapshot: &Snapshot, troubles: &[&str], now: u64) -> String {
    let mut out = summary(&snapshot.server, now);
    let mut distinct: Vec<&str> = Vec::new();
    for trouble in troubles {
        if !distinct.contains(trouble) {
            distinct.push(trouble);
            fact(&mut out, "Not ready", trouble);
        }
    }
    section(&mut out, "Shards", &shards(&snapshot.shards));
    section(&mut out, "Busiest channels", &channels(&snapshot.channels));
    section(
        &mut out,
        "Busiest publishers",
        &publishers(&snapshot.publishers),
    );
    section(&mut out, "Slowest members", &slowest(&snapshot.slow));
    section(&mut out, "Links", &links(&snapshot.links));
    out
}

/// Appends a line of the summary.
fn fact(out: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{name:<12}  {value}");
}

fn summary(server: &Server, now: u64) -> String {
    let mut out = String::new();
    let total = |name: &str| server.totals.get(name).copied().unwrap_or_default();
    fact(
        &mut out,
        &format!("mles {}", server.version),
        &format!(
            "{}, up {}, pid {}",
            server.state,
            seconds(server.uptime_seconds),
            server.pid
        ),
    );
    let listeners = server.listeners.iter();
    let listeners: Vec<_> = listeners
        .map(|listener| format!("{} {}", listener.kind, listener.address))
        .collect();
    fact(&mut out, "Listeners", &listeners.join(", "));
    fact(
        &mut out,
        "Sessions",
        &format!(
            "{} on {} of {} connections, in {} of {} channels",
            count(server.sessions),
            count(server.connections),
            count(server.limits.max_connections),
            count(server.channels),
            count(server.limits.max_channels)
        ),
    );
    fact(
        &mut out,
        "Messages",
        &format!(
            "{} published, {} delivered",
            count(total("frames_in")),
            count(total("deliveries"))
        ),
    );
    fact(&mut out, "Memory", &memory(server));
    if let Some(store) = &server.store {
        fact(&mut out, "Store", &store.condition());
    }
    if let Some(fleet) = &server.fleet {
        fact(&mut out, "Fleet", &fleet.condition());
    }
    let lost: Vec<_> = LOSSES
        .iter()
        .filter(|name| total(name) > 0)
        .map(|name| format!("{} {}", name.replace('_', " "), count(total(name))))
        .collect();
    if !lost.is_empty() {
        fact(&mut out, "Lost", &lost.join(", "));
    }
    let expires = server.certificate.as_ref().and_then(|one| one.expires);
    if let Some(expires) = expires {
        let text = match expires.checked_sub(now) {
            Some(left) if left > 0 => format!("expires in {}", seconds(left)),
            _ => "has expired".to_owned(),
        };
        fact(&mut out, "Certificate", &text);
    }
    out
}

fn memory(server: &Server) -> String {
    let memory = &server.memory;
    let mut parts = Vec::new();
    if let Some(resident) = memory.resident {
        parts.push(format!("{} resident", bytes(resident)));
    }
    parts.push(format!(
        "{} of {} history",
        bytes(memory.history),
        bytes(memory.history_limit)
    ));
    parts.push(format!("{} queued", bytes(memory.queued)));
    parts.join(", ")
}

/// Appends a table under a title, unless it has no rows.
fn section(out: &mut String, title: &str, rows: &[Vec<String>]) {
    if rows.len() > 1 {
        let _ = write!(out, "\n{title}\n{}", table(rows));
    }
}

/// Returns rows in columns. The first column is text, the others are aligned to the right where they begin with a digit.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).map(|row| &row[column]);
        cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let numbers: Vec<_> = (0..columns).map(is_number).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match numbers[column] {
                true => write!(line, "  {cell:>width$}"),
                false => write!(line, "  {cell:<width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn head(titles: &[&str]) -> Vec<Vec<String>> {
    vec![titles.iter().map(ToString::to_string).collect()]
}

fn shards(shards: &[Shard]) -> Vec<Vec<String>> {
    let mut rows = head(&[
        "shard",
        "delay",
        "sessions",
        "channels",
        "busy",
        "messages/s",
        "delivered",
        "mailbox",
        "state",
    ]);
    rows.extend(shards.iter().map(|shard| {
        let counter = |name: &str| shard.counters.get(name).copied().unwrap_or_default();
        vec![
            shard.id.to_string(),
            micros(shard.loop_delay_us),
            count(shard.sessions),
            shard.channels.map_or_else(String::new, count),
            shard.busy.map_or_else(String::new, percent),
            rate(shard.rate),
            short_count(counter("deliveries")),
            count(shard.mailbox.requests + shard.mailbox.deliveries),
            shard.condition(),
        ]
    }));
    rows
}

fn channels(channels: &[Channel]) -> Vec<Vec<String>> {
    let mut rows = head(&[
        "channel",
        "messages/s",
        "bytes",
        "members",
        "queued",
        "history",
    ]);
    rows.extend(channels.iter().map(|channel| {
        vec![
            Escaped(&channel.name).to_string(),
            rate(channel.rate),
            byte_rate(channel.byte_rate),
            count(channel.members),
            bytes(channel.queued_bytes),
            bytes(channel.history_bytes),
        ]
    }));
    rows
}

fn publishers(sessions: &[Session]) -> Vec<Vec<String>> {
    let mut rows = head(&["uid", "channel", "messages/s", "by", "address", "state"]);
    rows.extend(sessions.iter().map(|session| {
        vec![
            Escaped(&session.uid).to_string(),
            Escaped(&session.channel).to_string(),
            rate(session.rate),
            session.transport.clone(),
            session.address.clone(),
            session.condition(),
        ]
    }));
    rows
}

fn slowest(sessions: &[Session]) -> Vec<Vec<String>> {
    let mut rows = head(&["uid", "channel", "queued", "by", "address", "state"]);
    rows.extend(sessions.iter().map(|session| {
        vec![
            Escaped(&session.uid).to_string(),
            Escaped(&session.channel).to_string(),
            bytes(session.queued_bytes),
            session.transport.clone(),
            session.address.clone(),
            session.condition(),
        ]
    }));
    rows
}

/// Returns the links that are not up first, and how many more there are.
fn links(links: &[Link]) -> Vec<Vec<String>> {
    let mut rows = head(&["channel", "state", "upstream", "last failure"]);
    let mut sorted: Vec<_> = links.iter().collect();
    sorted.sort_by_key(|link| link.state == "up");
    rows.extend(sorted.iter().take(LISTED).map(|link| {
        vec![
            Escaped(&link.channel).to_string(),
            link.state.clone(),
            link.upstream.clone(),
            Escaped(link.last_failure.as_deref().unwrap_or_default()).to_string(),
        ]
    }));
    if links.len() > LISTED {
        let more = format!("and {} more", links.len() - LISTED);
        rows.push(vec![more, String::new(), String::new(), String::new()]);
    }
    rows
}
