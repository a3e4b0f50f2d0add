//! `mles chat`: talks on a channel, line by line.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use crate::client::{Publisher, Received, Reconnect, Session, Subscriber};
use clap::builder::NonEmptyStringValueParser;
use tokio::time::timeout;

use super::connect::{ConnectArgs, EXIT_CODES, Failure, exit_code};
use super::escape::escape;
use super::lines::stdin_lines;
use super::subscribe::report;

/// How long a chat that ends waits for what is still coming, and for a refusal.
const LINGER: Duration = Duration::from_millis(250);

/// Chat on a channel.
///
/// Each line typed is published; what others say is printed as `NAME: TEXT`, after the channel's
/// history, and who joins as `* NAME joined`. /quit or the end of the input ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("\
Examples:
  mles chat lobby --uid alice
  echo 'deployed' | mles chat ops --uid robot

Names are not checked by the server: anyone who may join can use any name.

{EXIT_CODES}"))]
pub(crate) struct ChatArgs {
    /// Channel to join
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Come back when the connection is lost
    #[arg(long)]
    reconnect: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles chat`.
pub(crate) async fn run(args: ChatArgs) -> ExitCode {
    exit_code(chat(args).await)
}

async fn chat(args: ChatArgs) -> Result<(), Failure> {
    let mut client = args.connect.client()?;
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let mut session = client.join(&args.channel).await?;
    let (publisher, subscriber) = session.halves();
    let said = tokio::select! {
        said = say(publisher) => said,
        heard = hear(subscriber) => return heard,
    };
    if let Err(failure) = said {
        // The receiving side knows why the connection is gone.
        hear(subscriber).await?;
        return Err(failure);
    }
    end(session).await
}

/// Publishes what is typed.
async fn say(publisher: &mut Publisher) -> Result<(), Failure> {
    let mut lines = stdin_lines();
    while let Some(line) = lines.recv().await.transpose()? {
        match line.as_slice() {
            b"/quit" => break,
            // It would look like another join.
            b"" => {}
            line => publisher.publish(line).await?,
        }
    }
    Ok(())
}

/// Prints what is said, until the session ends.
async fn hear(subscriber: &mut Subscriber) -> Result<(), Failure> {
    while let Some(event) = subscriber.next_event().await? {
        if let Some(message) = report(event) {
            print(&message)?;
        }
    }
    Err(Failure::ClosedByServer)
}

fn print(message: &Received) -> io::Result<()> {
    let uid = escape(message.uid().as_bytes());
    let mut out = io::stdout().lock();
    if message.is_announcement() {
        writeln!(out, "* {uid} joined")
    } else {
        writeln!(out, "{uid}: {}", escape(message.message()))
    }
}

/// Leaves: what is coming is still printed, and a refusal still noticed.
async fn end(mut session: Session) -> Result<(), Failure> {
    let (_, subscriber) = session.halves();
    match timeout(LINGER, hear(subscriber)).await {
        Err(_) => Ok(session.close(Duration::ZERO).await?),
        Ok(Err(Failure::ClosedByServer)) => Ok(()),
        Ok(ended) => ended,
    }
}
