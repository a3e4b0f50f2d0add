//! `mles store`: looks into the store of a server that does not run.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use humantime::format_rfc3339_millis;
use thiserror::Error;

use super::admin::{bytes, count};
use super::exit;
use super::output::{Patient, has_reader_gone, print, printed, say};
use super::printer::JsonMessage;
use crate::OpenStoreError;
use crate::escape::escape_for_terminal;
use crate::protocol::{HEADER_LEN, Message, Position, frames, is_presence};
use crate::store::{self, ChannelState, ChannelSummary, StoreInspection, StoreSummary, StoredRun};

const STORE_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the store is damaged, in use, or not there; or the output cannot be written
  2  wrong arguments";

/// Look into the histories that a server keeps on disk
#[derive(Args)]
#[command(after_help = "\
The server must not be running. DIR is its --store-dir, or a damaged store that was set aside within it.

Examples:
  mles store check /var/lib/mles
  mles store stat /var/lib/mles
  mles store export /var/lib/mles --channel room > room.jsonl
  mles store compact /var/lib/mles
  mles store renew /var/lib/mles")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    Check(CheckArgs),
    Stat(StatArgs),
    Export(ExportArgs),
    Compact(CompactArgs),
    Renew(RenewArgs),
}

/// Verify a store, and say what is wrong
#[derive(Args)]
#[command(after_help = format!("\
Reads everything, and changes nothing. What was being written when a server was killed is no damage.

{STORE_EXIT_CODES}"))]
struct CheckArgs {
    /// Directory of the store
    dir: PathBuf,
}

/// Print what a store has
#[derive(Args)]
#[command(after_help = STORE_EXIT_CODES)]
struct StatArgs {
    /// Directory of the store
    dir: PathBuf,
}

/// Print the messages of a store as JSON, one on each line
#[derive(Args)]
#[command(after_help = format!("\
A line has the channel, the uid of the sender, the position, the time at which the server has stored it (or some \
messages before it), and the message: as text, or in base64 (message_b64) if it is not UTF-8. Messages that can be read are \
printed even if the store is damaged.

{STORE_EXIT_CODES}"))]
struct ExportArgs {
    /// Directory of the store
    dir: PathBuf,

    /// Channel to print [default: all]; can be repeated
    #[arg(long = "channel", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    channels: Vec<String>,
}

/// Give the space of deleted messages back to the disk
#[derive(Args)]
#[command(after_help = format!("\
Writes the files of the store anew. A server does that by itself, little by little. Until it is done, it takes as much space \
again as the histories.

{STORE_EXIT_CODES}"))]
struct CompactArgs {
    /// Directory of the store
    dir: PathBuf,
}

/// Begin new epochs, as a backup was restored
#[derive(Args)]
#[command(after_help = format!("\
To be called before the server starts with a snapshot of a volume or of a virtual machine. The next server begins a new \
epoch in every channel: clients that have seen more than the backup has are told so, and the others go on. A backup that \
was copied is known as one without that.

{STORE_EXIT_CODES}"))]
struct RenewArgs {
    /// Directory of the store
    dir: PathBuf,
}

#[derive(Debug, Error)]
enum StoreCommandError {
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    #[error("the store is damaged: {} {}", .0, if *.0 == 1 { "fault" } else { "faults" })]
    Damaged(usize),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

pub(super) fn run(args: &StoreArgs) -> ExitCode {
    let result = match &args.command {
        StoreCommand::Check(args) => check(args),
        StoreCommand::Stat(args) => stat(args),
        StoreCommand::Export(args) => return exported(export(args)),
        StoreCommand::Compact(args) => compact(args),
        StoreCommand::Renew(args) => renew(args),
    };
    match result {
        Ok(text) => printed(print(&text)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &StoreCommandError) -> ExitCode {
    say(format_args!("mles: {error}"));
    ExitCode::from(exit::FAILED)
}

fn check(args: &CheckArgs) -> Result<String, StoreCommandError> {
    let store = StoreInspection::open(&args.dir)?;
    fail_on(store.check()?)?;
    let StoreSummary { channels, .. } = store.summary()?;
    Ok(format!("the store is fine: {}\n", sum(&channels)))
}

/// Tells faults, and makes an error of them.
fn fail_on((told, faults): (Vec<String>, usize)) -> Result<(), StoreCommandError> {
    for fault in &told {
        say(format_args!(
            "mles: {}",
            escape_for_terminal(fault.as_bytes())
        ));
    }
    match faults {
        0 => Ok(()),
        faults => Err(StoreCommandError::Damaged(faults)),
    }
}

/// Returns how many messages of a channel are kept.
fn messages(channel: &ChannelSummary) -> u64 {
    (channel.state.newest + 1).saturating_sub(channel.first)
}

/// Returns how much all channels are.
fn sum(channels: &[ChannelSummary]) -> String {
    let all: u64 = channels.iter().map(messages).sum();
    let size: u64 = channels.iter().map(|channel| channel.bytes).sum();
    let counted = |n: u64, what: &str| {
        let plural = if n == 1 { "" } else { "s" };
        format!("{} {what}{plural}", count(n))
    };
    format!(
        "{}, {}, {}",
        counted(channels.len() as u64, "channel"),
        counted(all, "message"),
        bytes(size)
    )
}

fn stat(args: &StatArgs) -> Result<String, StoreCommandError> {
    let summary = StoreInspection::open(&args.dir)?.summary()?;
    Ok(described(&summary))
}

fn described(summary: &StoreSummary) -> String {
    let mut out = String::new();
    let ended = match (summary.is_clean, summary.syncs_first) {
        _ if summary.is_copy => {
            "copied or restored since; clients may have seen more, so epochs end with the next start"
        }
        (true, _) => "in order",
        (false, true) => "killed; every message that was delivered is here",
        (false, false) => {
            "killed; the last messages may be missing, so epochs end with the next start"
        }
    };
    // Writing to a String does not fail.
    let _ = writeln!(out, "content   {}", sum(&summary.channels));
    let _ = writeln!(out, "on disk   {}", bytes(summary.disk_space));
    let _ = writeln!(out, "commits   {}", summary.commit);
    let _ = writeln!(out, "last end  {ended}");
    for store in &summary.set_aside {
        let dir = escape_for_terminal(store.dir.as_os_str().as_encoded_bytes());
        let _ = writeln!(out, "damaged   {} in {dir}", bytes(store.disk_space));
    }
    if summary.channels.is_empty() {
        return out;
    }
    let _ = writeln!(
        out,
        "\n{:>10}  {:>10}  {:>8}  {:<33}  CHANNEL",
        "MESSAGES", "BYTES", "RUNS", "NEWEST POSITION"
    );
    for channel in &summary.channels {
        let position = Position {
            epoch: channel.state.epoch,
            offset: channel.state.newest,
        };
        let _ = writeln!(
            out,
            "{:>10}  {:>10}  {:>8}  {:<33}  {}",
            count(messages(channel)),
            bytes(channel.bytes),
            count(channel.runs),
            position.to_string(),
            escape_for_terminal(channel.state.name.as_bytes())
        );
    }
    out
}

fn exported(result: Result<(), StoreCommandError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(StoreCommandError::Output(error)) if has_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn export(args: &ExportArgs) -> Result<(), StoreCommandError> {
    let store = StoreInspection::open(&args.dir)?;
    let mut out = BufWriter::with_capacity(64 << 10, Patient(io::stdout()));
    let mut written = Ok(());
    let is_wanted =
        |name: &str| args.channels.is_empty() || args.channels.iter().any(|wanted| wanted == name);
    let faults = store.export(&is_wanted, &mut |channel, run| {
        if written.is_ok() {
            written = write_run(&mut out, channel, &run);
        }
    })?;
    written?;
    out.flush()?;
    fail_on(faults)
}

fn write_run(out: &mut impl io::Write, channel: &ChannelState, run: &StoredRun) -> io::Result<()> {
    let run_bytes: &Bytes = run.run.bytes();
    let first = run.end + 1 - u64::from(run.messages);
    let time = format_rfc3339_millis(run.at).to_string();
    let messages = frames(run_bytes).filter(|frame| !is_presence(frame));
    for (offset, frame) in (first..).zip(messages) {
        // One that was let in unchecked may be anything.
        let Ok(message) = Message::decode(&frame[HEADER_LEN..]) else {
            continue;
        };
        let epoch = channel.epoch;
        let position = Some(Position { epoch, offset });
        let names = (message.channel, message.uid);
        let line = JsonMessage::new(Some(time.clone()), names, position, message.message);
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn compact(args: &CompactArgs) -> Result<String, StoreCommandError> {
    let (before, after) = store::compact(&args.dir)?;
    let (before, after) = (bytes(before), bytes(after));
    Ok(format!("the store takes {after}; it took {before}\n"))
}

fn renew(args: &RenewArgs) -> Result<String, StoreCommandError> {
    store::renew(&args.dir)?;
    Ok("the next server begins a new epoch in every channel\n".to_owned())
}
