//! `mles fleet`: makes the log of a fleet, checks it, and tells how it stands.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{bytes, count};
use super::duration::{in_words, parse_duration};
use super::exit;
use super::output::{print, printed, say};
use crate::escape::escape_for_terminal;
use crate::log::LogError;
use crate::log::nats::{Inspection, NatsLog, NewLog};
use crate::settings::{FleetLogin, FleetName, FleetServer, FleetSettings};
use crate::tls::ClientTlsOptions;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  NATS cannot be reached or says no, or the log is not as it must be
  2  wrong arguments";

/// Make and look at the log of a fleet, on NATS JetStream
#[derive(Args)]
#[command(after_help = "\
A fleet is many nodes with one order for each channel, which a log on NATS JetStream decides. Make the log once; then \
start the nodes.

Examples:
  mles fleet init nats://127.0.0.1:4222 --name demo --replicas 1
  mles serve --fleet nats://127.0.0.1:4222 --fleet-name demo
  mles fleet status nats://127.0.0.1:4222 --name demo")]
pub(super) struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Subcommand)]
enum FleetCommand {
    Init(InitArgs),
    Check(CheckArgs),
    Status(StatusArgs),
}

/// Make the log of a fleet
#[derive(Args)]
#[command(after_help = "\
A log that is there already stays as it is. Positions of channels begin anew with each log, so make one again only where \
the old one is lost.

Exit codes:
  0  done
  1  NATS cannot be reached or says no
  2  wrong arguments
  3  the log is there already")]
struct InitArgs {
    #[command(flatten)]
    engine: EngineArgs,

    /// Servers that keep a copy: 3 survive the loss of one, 1 is for trying out
    #[arg(long, value_name = "N", default_value = "3", value_parser = ["1", "3", "5"])]
    replicas: String,

    /// Time that records are kept: a node that was away for longer starts anew
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_age)]
    max_age: Duration,

    /// Disk space that records may take on each of these servers
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    max_bytes: u64,
}

/// Check that a log is as it must be, and that a node may use it
#[derive(Args)]
#[command(after_help = format!("\
Looks at the versions and the settings, reads a record, opens a tail, and tries whether appending is allowed. Nothing is \
appended. What is allowed but not advised is a warning.

{EXIT_CODES}"))]
struct CheckArgs {
    #[command(flatten)]
    engine: EngineArgs,
}

/// Show how a log stands, and which nodes read it
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
struct StatusArgs {
    #[command(flatten)]
    engine: EngineArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where the log is, and how to get in.
#[derive(Args)]
struct EngineArgs {
    /// NATS servers, as nats://HOST[:PORT] or tls://HOST[:PORT]
    // Read later: a login in one must not be shown.
    #[arg(value_name = "URL", required = true, value_delimiter = ',')]
    servers: Vec<String>,

    /// Name of the fleet
    #[arg(long, value_name = "NAME")]
    name: FleetName,

    /// User to log in as
    #[arg(long, requires = "password_file")]
    user: Option<String>,

    /// File with the password of the user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// File with the token to log in with
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "nkey_file", "creds_file"])]
    token_file: Option<PathBuf>,

    /// File with the seed of the nkey to log in with
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "creds_file"])]
    nkey_file: Option<PathBuf>,

    /// NATS creds file to log in with
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    creds_file: Option<PathBuf>,

    /// PEM file with the CA certificates to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Do not verify the certificates of the servers
    #[arg(long)]
    insecure: bool,

    /// PEM file with the client certificate, for servers that ask for one
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,

    /// PEM file with the private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

impl EngineArgs {
    /// Returns the settings, or what is wrong with an address.
    fn settings(&self) -> Result<FleetSettings, String> {
        let servers = self.servers.iter().map(|text| text.parse::<FleetServer>());
        let servers = servers.collect::<Result<_, _>>();
        let tls = ClientTlsOptions {
            ca: self.ca.clone(),
            insecure: self.insecure,
            cert: self.client_cert.clone(),
            key: self.client_key.clone(),
        };
        Ok(FleetSettings {
            servers: servers.map_err(|error| error.to_string())?,
            name: Some(self.name.clone()),
            login: FleetLogin {
                user: self.user.clone(),
                password_file: self.password_file.clone(),
                token_file: self.token_file.clone(),
                nkey_file: self.nkey_file.clone(),
                creds_file: self.creds_file.clone(),
            },
            tls,
            ..FleetSettings::default()
        })
    }
}

/// Reads how long records are kept.
fn parse_age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text)?;
    if age < NewLog::MIN_AGE {
        let least = humantime::format_duration(NewLog::MIN_AGE);
        return Err(format!("expected {least} or more"));
    }
    Ok(age)
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = text.parse().ok().map(|ByteSize(size)| size);
    let size = size.filter(|size| (1 << 20..=1 << 50).contains(size));
    size.ok_or_else(|| "expected a size from 1MiB to 1PiB, as in 512MiB or 4GiB".to_owned())
}

/// What a command has come to.
struct Outcome {
    code: u8,
    text: String,
}

impl Outcome {
    const fn done(text: String) -> Self {
        Self { code: 0, text }
    }
}

pub(super) fn run(args: &FleetArgs) -> ExitCode {
    let engine = match &args.command {
        FleetCommand::Init(args) => &args.engine,
        FleetCommand::Check(args) => &args.engine,
        FleetCommand::Status(args) => &args.engine,
    };
    let settings = match engine.settings() {
        Ok(settings) => settings,
        Err(error) => return failed(exit::USAGE, &error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(exit::FAILED, &error),
    };
    match runtime.block_on(carry_out(&args.command, &settings)) {
        Ok(Outcome { code: 0, text }) => printed(print(&text)),
        Ok(Outcome { code, text }) => failed(code, &text),
        Err(error) => failed(exit::FAILED, &error),
    }
}

fn failed(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    say(format_args!("mles: {why}"));
    ExitCode::from(code)
}

async fn carry_out(command: &FleetCommand, settings: &FleetSettings) -> Result<Outcome, LogError> {
    let log = NatsLog::connect(settings).await?;
    match command {
        FleetCommand::Init(args) => init(args, &log).await,
        FleetCommand::Check(args) => check(args, &log).await,
        FleetCommand::Status(args) => status(args, &log).await,
    }
}

async fn init(args: &InitArgs, log: &NatsLog) -> Result<Outcome, LogError> {
    let new = NewLog {
        replicas: args.replicas.parse().unwrap_or(3),
        max_age: args.max_age,
        max_bytes: args.max_bytes,
    };
    let stream = log.stream();
    if !log.make(&new).await? {
        let text = format!("the stream {stream} is there already, and stays as it is");
        let code = exit::REFUSED;
        return Ok(Outcome { code, text });
    }
    let EngineArgs { servers, name, .. } = &args.engine;
    let copies = if new.replicas == 1 { "copy" } else { "copies" };
    Ok(Outcome::done(format!(
        "made the stream {stream}: {} {copies}, kept for {}, {} at most\n\
         start nodes with: mles serve --fleet {} --fleet-name {name}\n",
        new.replicas,
        humantime::format_duration(new.max_age),
        bytes(new.max_bytes),
        servers.join(",")
    )))
}

async fn check(args: &CheckArgs, log: &NatsLog) -> Result<Outcome, LogError> {
    let found = log.inspect().await?;
    for warning in &found.warnings {
        say(format_args!(
            "mles: warning: {}",
            escape_for_terminal(warning.as_bytes())
        ));
    }
    let refused = log.try_out().await;
    let refused = refused.iter().map(ToString::to_string);
    let faults: Vec<_> = found.faults.iter().cloned().chain(refused).collect();
    for fault in &faults {
        say(format_args!(
            "mles: {}",
            escape_for_terminal(fault.as_bytes())
        ));
    }
    let name = &args.engine.name;
    if !faults.is_empty() {
        let plural = if faults.len() == 1 { "fault" } else { "faults" };
        let text = format!("the fleet {name} cannot work: {} {plural}", faults.len());
        let code = exit::FAILED;
        return Ok(Outcome { code, text });
    }
    Ok(Outcome::done(format!(
        "the fleet {name} is fine: nats-server {}, stream {}, {} records\n",
        found.server,
        found.stream,
        count(found.records)
    )))
}

async fn status(args: &StatusArgs, log: &NatsLog) -> Result<Outcome, LogError> {
    let found = log.inspect().await?;
    let text = if args.json {
        format!("{:#}\n", in_json(&found))
    } else {
        described(&found)
    };
    Ok(Outcome::done(text))
}

fn in_json(found: &Inspection) -> Value {
    let replicas = found.replicas.iter();
    let replicas = replicas.map(|it| json!({"server": it.server, "current": it.is_current}));
    let nodes = found
        .consumers
        .iter()
        .map(|it| json!({"node": it.node, "delivered": it.delivered, "behind": it.behind}));
    json!({
        "server": found.server,
        "stream": found.stream,
        "epoch": found.state.epoch.id.to_string(),
        "first": found.state.first.0,
        "last": found.state.last.0,
        "last_at_ms": found.state.last_at_ms,
        "records": found.records,
        "bytes": found.bytes,
        "max_age_seconds": found.max_age.as_secs(),
        "max_bytes": found.max_bytes,
        "max_record": found.state.max_record,
        "copies": found.copies,
        "leader": found.leader,
        "replicas": replicas.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
        "faults": found.faults,
        "warnings": found.warnings,
    })
}

fn described(found: &Inspection) -> String {
    let mut out = String::new();
    let state = &found.state;
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "stream   {} on nats-server {}",
        found.stream, found.server
    );
    let _ = writeln!(
        out,
        "records  {}, {}, from {} to {}",
        count(found.records),
        bytes(found.bytes),
        state.first.0,
        state.last.0
    );
    let newest = SystemTime::UNIX_EPOCH + Duration::from_millis(state.last_at_ms);
    if let Some(age) = newest.elapsed().ok().filter(|_| state.last_at_ms > 0) {
        let _ = writeln!(out, "newest   {} ago", in_words(age));
    }
    let most = found.max_bytes.map_or_else(|| "any size".to_owned(), bytes);
    let age = humantime::format_duration(found.max_age);
    let _ = writeln!(out, "kept     {age}, {most}");
    let _ = writeln!(out, "copies   {}", copies(found));
    for problem in found.faults.iter().chain(&found.warnings) {
        let _ = writeln!(out, "note     {}", escape_for_terminal(problem.as_bytes()));
    }
    let _ = writeln!(out, "nodes    {}", found.consumers.len());
    if found.consumers.is_empty() {
        return out;
    }
    let _ = writeln!(out, "\n{:>12}  {:>10}  NODE", "SENT UP TO", "BEHIND");
    for consumer in &found.consumers {
        let (delivered, behind) = (consumer.delivered, count(consumer.behind));
        let node = escape_for_terminal(consumer.node.as_bytes());
        let _ = writeln!(out, "{delivered:>12}  {behind:>10}  {node}");
    }
    out
}

/// Says where the copies of the stream are.
fn copies(found: &Inspection) -> String {
    let mut text = found.copies.to_string();
    if let Some(leader) = &found.leader {
        let _ = write!(text, ": {} leads", escape_for_terminal(leader.as_bytes()));
    }
    for replica in &found.replicas {
        let state = if replica.is_current {
            "current"
        } else {
            "behind or away"
        };
        let _ = write!(
            text,
            ", {} {state}",
            escape_for_terminal(replica.server.as_bytes())
        );
    }
    text
}
