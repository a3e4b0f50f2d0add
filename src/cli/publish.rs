//! `mles pub`: publishes messages.

use std::process::ExitCode;
use std::time::Duration;

use crate::client::{Client, Error, Publisher, Session};
use clap::builder::NonEmptyStringValueParser;
use tokio::sync::mpsc;

use super::connect::{ConnectArgs, EXIT_CODES, Failure, exit_code};
use super::lines::stdin_lines;

/// Publish messages to a channel.
///
/// Each MESSAGE is published as one message; without any, each line of the standard input is one,
/// as it comes. The first message travels with the join, so that nothing is announced, and nothing is
/// sent to the server before there is one. Publishers take a random connection id, so that a
/// subscriber of the same name may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("\
Examples:
  mles pub news 'hello, world'
  mles pub --server broker.example --key-file key.txt alerts 'disk full'
  tail -f /var/log/syslog | mles pub --uid web1 logs

A Mles server does not confirm messages. Success means that all were sent and that the server did not
refuse the join within the --linger time.

{EXIT_CODES}"))]
pub(crate) struct PubArgs {
    /// Channel to publish to
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Messages to publish
    #[arg(value_name = "MESSAGE")]
    messages: Vec<String>,

    /// Milliseconds to wait after the last message for a refusal by the server
    #[arg(long, value_name = "MS", default_value_t = 250)]
    linger: u64,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles pub`.
pub(crate) async fn run(args: PubArgs) -> ExitCode {
    exit_code(publish(args).await)
}

async fn publish(args: PubArgs) -> Result<(), Failure> {
    let client = args.connect.client()?.random_cid();
    let session = if args.messages.is_empty() {
        match publish_lines(&client, &args.channel).await? {
            Some(session) => session,
            None => return Ok(()),
        }
    } else {
        publish_all(&client, &args.channel, &args.messages).await?
    };
    let linger = Duration::from_millis(args.linger);
    Ok(session.close(linger).await?)
}

async fn publish_all(
    client: &Client,
    channel: &str,
    messages: &[String],
) -> Result<Session, Failure> {
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

/// Publishes stdin; no session when there was nothing to publish.
async fn publish_lines(client: &Client, channel: &str) -> Result<Option<Session>, Failure> {
    let mut lines = stdin_lines();
    let Some(first) = lines.recv().await.transpose()? else {
        return Ok(None);
    };
    let mut session = client.join_with(channel, first).await?;
    while_draining(&mut session, async |publisher| {
        forward(&mut lines, publisher).await
    })
    .await?;
    Ok(Some(session))
}

/// Publishes lines as they come; those that come together go out together.
async fn forward(
    lines: &mut mpsc::Receiver<std::io::Result<Vec<u8>>>,
    publisher: &mut Publisher,
) -> Result<(), Failure> {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(_) => {
                publisher.flush().await?;
                match lines.recv().await {
                    Some(line) => line,
                    None => return Ok(()),
                }
            }
        };
        publisher.feed(line?).await?;
    }
}

/// Publishes while what comes is read and dropped, and stops when the session ends.
async fn while_draining(
    session: &mut Session,
    publishing: impl AsyncFnOnce(&mut Publisher) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (publisher, subscriber) = session.halves();
    let published = tokio::select! {
        published = publishing(publisher) => published,
        ended = subscriber.drain() => {
            ended?;
            return Err(Failure::ClosedByServer);
        }
    };
    match published {
        // The receiving side knows why the connection is gone.
        Err(Failure::Session(Error::Io(error))) => {
            subscriber.drain().await?;
            Err(Error::Io(error).into())
        }
        published => published,
    }
}
