//! `mles sub`: prints what is published.

use std::future::poll_fn;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use crate::client::{Event, Received, Reconnect, Session};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use super::connect::{ConnectArgs, EXIT_CODES, Failure, exit_code};
use super::escape::escape;

/// Print the messages of channels: their history, then what is published.
///
/// Each message is printed as it is, followed by a line end. On a terminal, control characters and
/// what is not UTF-8 are escaped. Announcements of joins, which are empty messages, are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("\
Examples:
  mles sub news
  mles sub --verbose news weather
  mles sub --json --count 10 news | jq -r .message

With --json each line is an object with \"channel\", \"uid\" and either \"message\", if it is UTF-8, or
\"message_b64\", its bytes in base64.

{EXIT_CODES}"))]
pub(crate) struct SubArgs {
    /// Channels to join, each over a connection of its own
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

    /// Come back when the connection is lost, without printing anything twice
    #[arg(long)]
    reconnect: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles sub`.
pub(crate) async fn run(args: SubArgs) -> ExitCode {
    let interrupted = async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Err(Failure::Interrupted),
            Err(error) => Err(Failure::Local(error)),
        }
    };
    exit_code(tokio::select! {
        result = subscribe(args) => result,
        result = interrupted => result,
    })
}

async fn subscribe(args: SubArgs) -> Result<(), Failure> {
    let mut client = args.connect.client()?;
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let mut sessions = Vec::with_capacity(args.channels.len());
    for channel in &args.channels {
        sessions.push(client.join(channel).await?);
    }
    let mut printer = Printer::new(args.json, args.verbose);
    let mut left = args.count;
    let mut turn = 0;
    while left != Some(0) {
        let event = next_event(&mut sessions, &mut turn, &mut printer).await?;
        let Some(message) = report(event).filter(|m| args.joins || !m.is_announcement()) else {
            continue;
        };
        printer.print(&message)?;
        left = left.map(|left| left - 1);
    }
    Ok(printer.out.flush()?)
}

/// The next event of any session, taking turns; what was printed is flushed before a wait.
async fn next_event(
    sessions: &mut [Session],
    turn: &mut usize,
    printer: &mut Printer,
) -> Result<Event, Failure> {
    poll_fn(|cx| {
        for _ in 0..sessions.len() {
            *turn = (*turn + 1) % sessions.len();
            // Cancel safe: a new future goes on where the last one stopped.
            if let Poll::Ready(event) = pin!(sessions[*turn].next_event()).poll(cx) {
                return Poll::Ready(event?.ok_or(Failure::ClosedByServer));
            }
        }
        printer.out.flush()?;
        Poll::Pending
    })
    .await
}

/// The message, if the event is one; others are told on stderr.
pub(crate) fn report(event: Event) -> Option<Received> {
    match event {
        Event::Message(message) => return Some(message),
        Event::Malformed { error, .. } => eprintln!("mles: skipped a malformed message: {error}"),
        Event::Disconnected { error, retry_in } => {
            eprintln!("mles: {error}; trying again in {retry_in:.1?}");
        }
        Event::Reconnected => eprintln!("mles: connected again"),
    }
    None
}

/// Writes messages in the form that was asked for.
struct Printer {
    out: BufWriter<Stdout>,
    form: Form,
    terminal: bool,
}

enum Form {
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
            form: match (json, verbose) {
                (true, _) => Form::Json,
                (false, true) => Form::Verbose,
                (false, false) => Form::Payload,
            },
            terminal: out.is_terminal(),
            out: BufWriter::with_capacity(64 << 10, out),
        }
    }

    fn print(&mut self, message: &Received) -> io::Result<()> {
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut self.out, &json(message))?;
            }
            Form::Payload => self.payload(message.message())?,
            Form::Verbose => {
                // Names never break the line or the terminal, wherever it goes.
                let channel = escape(message.channel().as_bytes());
                let uid = escape(message.uid().as_bytes());
                write!(self.out, "{channel} {uid}: ")?;
                self.payload(message.message())?;
            }
        }
        self.out.write_all(b"\n")
    }

    fn payload(&mut self, message: &[u8]) -> io::Result<()> {
        if self.terminal {
            self.out.write_all(escape(message).as_bytes())
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
