//! `mles pub`: publishes messages.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;

use super::connect::ConnectArgs;
use super::exit::CLIENT_EXIT_CODES;
use super::failure::{CommandFailure, REFUSALS};
use super::interrupt::run_client;
use super::output::say;
use super::stdin_lines::StdinLines;
use crate::client::{Client, Error, Publisher, Session};

/// Publish messages to a channel.
///
/// Each MESSAGE is published as one message; without any, each line of the standard input is one,
/// as it comes. Empty lines are left out, because an empty message is how a join is announced; an
/// empty MESSAGE is published all the same. The first message travels with the join, so that nothing
/// is announced, and nothing is sent to the server before there is one. Publishers take a random
/// connection id, so that a subscriber of the same name may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = CLIENT_EXIT_CODES, after_long_help = format!("\
Examples:
  mles pub news 'hello, world'
  mles pub --server broker.example --key-file key.txt alerts 'disk full'
  mles pub temperatures -5
  mles pub news -- --looks-like-an-option
  tail -f /var/log/syslog | mles pub --uid web1 logs

A Mles server does not confirm messages. Success means that all were sent and that the server did not
refuse the join within the --linger time. {REFUSALS}

{CLIENT_EXIT_CODES}"))]
pub(super) struct PubArgs {
    /// Channel to publish to
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Messages to publish; `--` in front of one that begins with a dash and is no number
    #[arg(value_name = "MESSAGE", allow_negative_numbers = true)]
    messages: Vec<String>,

    /// Milliseconds to wait after the last message for a refusal by the server
    #[arg(long, value_name = "MS", default_value_t = 250)]
    linger: u64,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles pub`.
pub(super) fn run(args: PubArgs) -> ExitCode {
    run_client(publish(args))
}

async fn publish(args: PubArgs) -> Result<(), CommandFailure> {
    let client = args.connect.client()?.random_cid();
    let linger = Duration::from_millis(args.linger);
    if args.messages.is_empty() {
        return publish_lines(&client, &args.channel, linger).await;
    }
    let session = publish_all(&client, &args.channel, &args.messages).await?;
    Ok(session.close(linger).await?)
}

async fn publish_all(
    client: &Client,
    channel: &str,
    messages: &[String],
) -> Result<Session, CommandFailure> {
    let (first, rest) = messages
        .split_first()
        .map_or(("", messages), |(f, r)| (f, r));
    let mut session = client.join_with(channel, first).await?;
    while_draining(&mut session, async |publisher| {
        for message in rest {
            publisher.feed(message).await?;
        }
        Ok(publisher.flush().await?)
    })
    .await?;
    Ok(session)
}

/// Publishes the lines of the standard input. Those before one that cannot be read are published.
async fn publish_lines(
    client: &Client,
    channel: &str,
    linger: Duration,
) -> Result<(), CommandFailure> {
    let mut input = MessageLines {
        lines: StdinLines::new(client.max_message(channel)),
        empty: 0,
    };
    if let Some(first) = input.next().await? {
        let mut session = client.join_with(channel, first).await?;
        let mut read = Ok(());
        while_draining(&mut session, async |publisher| {
            read = forward(&mut input, publisher).await?;
            Ok(())
        })
        .await?;
        session.close(linger).await?;
        read?;
    }
    match input.empty {
        0 => {}
        1 => say("mles: 1 empty line was left out: see --help"),
        lines => say(format_args!(
            "mles: {lines} empty lines were left out: see --help"
        )),
    }
    Ok(())
}

/// The lines of the standard input that are messages.
struct MessageLines {
    lines: StdinLines,
    /// The number of lines that were left out, as they are empty.
    empty: u64,
}

impl MessageLines {
    /// Waits for the next message; `None` at the end of the input.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, CommandFailure> {
        while let Some(line) = self.lines.next().await? {
            if let Some(message) = self.message(line) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Returns the next message if it is there already.
    fn try_next(&mut self) -> Result<Option<Vec<u8>>, CommandFailure> {
        while let Some(line) = self.lines.try_next()? {
            if let Some(message) = self.message(line) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn message(&mut self, line: Vec<u8>) -> Option<Vec<u8>> {
        if line.is_empty() {
            self.empty += 1;
            return None;
        }
        Some(line)
    }
}

/// Publishes lines as they come; those that come together go out together. The outer result is that
/// of publishing, the inner one that of reading.
async fn forward(
    input: &mut MessageLines,
    publisher: &mut Publisher,
) -> Result<Result<(), CommandFailure>, CommandFailure> {
    loop {
        let next = match input.try_next() {
            Ok(None) => {
                publisher.flush().await?;
                input.next().await
            }
            next => next,
        };
        match next {
            Ok(Some(message)) => publisher.feed(message).await?,
            Ok(None) => return Ok(Ok(())),
            Err(failure) => {
                publisher.flush().await?;
                return Ok(Err(failure));
            }
        }
    }
}

/// Publishes while received messages are dropped, and stops when the session ends.
async fn while_draining(
    session: &mut Session,
    publishing: impl AsyncFnOnce(&mut Publisher) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let (publisher, subscriber) = session.halves();
    let published = tokio::select! {
        published = publishing(publisher) => published,
        ended = subscriber.drain() => {
            ended?;
            return Err(CommandFailure::ClosedByServer);
        }
    };
    match published {
        // The receiving side knows why the connection is gone.
        Err(CommandFailure::Session(Error::Io(error))) => {
            subscriber.drain().await?;
            Err(Error::Io(error).into())
        }
        published => published,
    }
}
