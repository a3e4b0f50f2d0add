//! `mles sub`: prints what is published.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use super::connect::ConnectArgs;

use super::exit::CLIENT_EXIT_CODES;
use super::failure::{CommandFailure, REFUSALS};
use super::interrupt::{reader_gone, run_client};
use super::output::Patient;
use super::subscriptions::Subscriptions;
use crate::client::{Received, Reconnect};
use crate::escape::escape_for_terminal;

/// Print the messages of one or more channels.
///
/// Each message is printed as it is, followed by a line end. On a terminal, control characters and
/// what is not UTF-8 are escaped. Announcements of joins, which are empty messages, are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = CLIENT_EXIT_CODES, after_long_help = format!("\
Examples:
  mles sub news
  mles sub --verbose news weather
  mles sub --json --count 10 news | jq -r .message

With --json each line is an object with \"channel\", \"uid\" and either \"message\", if it is UTF-8, or
\"message_b64\", its bytes in base64.

{REFUSALS}

{CLIENT_EXIT_CODES}"))]
pub(super) struct SubArgs {
    /// Channels to join, each over a connection of its own; one that is named twice is joined once
    #[arg(value_name = "CHANNEL", required = true, value_parser = NonEmptyStringValueParser::new())]
    channels: Vec<String>,

    /// Print one JSON object per message
    #[arg(long, conflicts_with = "verbose")]
    json: bool,

    /// Print channel and sender before each message
    #[arg(long, short)]
    verbose: bool,

    /// End after this many messages
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Print the empty messages that announce joins, too
    #[arg(long)]
    joins: bool,

    /// Come back whenever the connection is lost, without printing anything twice, and wait for a
    /// server that is not there yet
    #[arg(long)]
    reconnect: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles sub`.
pub(super) fn run(args: SubArgs) -> ExitCode {
    run_client(async {
        tokio::select! {
            biased;
            result = subscribe(args) => result,
            () = reader_gone() => Ok(()),
        }
    })
}

async fn subscribe(args: SubArgs) -> Result<(), CommandFailure> {
    let mut client = args.connect.client()?;
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let mut sessions = Vec::with_capacity(args.channels.len());
    let mut joined = BTreeSet::new();
    for channel in &args.channels {
        if joined.insert(channel) {
            sessions.push(client.join(channel).await?);
        }
    }
    let mut subscriptions =
        Subscriptions::new(sessions.iter_mut().map(|session| session.halves().1));
    let mut printer = Printer::new(args.json, args.verbose);
    let mut left = args.count;
    while left != Some(0) {
        let message = subscriptions.next(|| printer.out.flush()).await?;
        if args.joins || !message.is_announcement() {
            printer.print(&message).map_err(CommandFailure::Output)?;
            left = left.map(|left| left - 1);
        }
    }
    printer.out.flush().map_err(CommandFailure::Output)
}

/// Writes messages in the format that was asked for.
struct Printer {
    out: BufWriter<Patient<Stdout>>,
    format: OutputFormat,
    terminal: bool,
}

/// The format of what `mles sub` prints.
enum OutputFormat {
    Payload,
    Verbose,
    Json,
}

#[derive(Serialize)]
struct JsonMessage<'a> {
    channel: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_b64: Option<String>,
}

impl Printer {
    fn new(json: bool, verbose: bool) -> Self {
        let out = io::stdout();
        Self {
            format: match (json, verbose) {
                (true, _) => OutputFormat::Json,
                (false, true) => OutputFormat::Verbose,
                (false, false) => OutputFormat::Payload,
            },
            terminal: out.is_terminal(),
            out: BufWriter::with_capacity(64 << 10, Patient(out)),
        }
    }

    fn print(&mut self, message: &Received) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => {
                serde_json::to_writer(&mut self.out, &json(message))?;
            }
            OutputFormat::Payload => self.payload(message.message())?,
            OutputFormat::Verbose => {
                // Names never break the line or the terminal, wherever it goes.
                let channel = escape_for_terminal(message.channel().as_bytes());
                let uid = escape_for_terminal(message.uid().as_bytes());
                write!(self.out, "{channel} {uid}: ")?;
                self.payload(message.message())?;
            }
        }
        self.out.write_all(b"\n")
    }

    fn payload(&mut self, message: &[u8]) -> io::Result<()> {
        if self.terminal {
            self.out.write_all(escape_for_terminal(message).as_bytes())
        } else {
            self.out.write_all(message)
        }
    }
}

fn json(message: &Received) -> JsonMessage<'_> {
    let text = std::str::from_utf8(message.message()).ok();
    JsonMessage {
        channel: message.channel(),
        uid: message.uid(),
        message: text,
        message_b64: text.is_none().then(|| BASE64.encode(message.message())),
    }
}
