//! `mles chat`: talks on a channel, line by line.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio::time::timeout;

use super::connect::ConnectArgs;
use super::escape::escape;
use super::failure::{EXIT_CODES, Failure, REFUSALS, exit_code};
use super::interrupt::reader_gone;
use super::lines::Lines;
use super::output::print;
use super::receive::Receiver;
use crate::client::{Publisher, Received, Reconnect};

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

Names are not checked by the server: anyone who may join can use any name. {REFUSALS}

{EXIT_CODES}"))]
pub(crate) struct ChatArgs {
    /// Channel to join
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Come back whenever the connection is lost, and wait for a server that is not there yet
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
    let lines = Lines::of_stdin(client.max_message(&args.channel));
    let mut session = client.join(&args.channel).await?;
    let (publisher, subscriber) = session.halves();
    let mut receiver = Receiver::new([subscriber]);
    let said = tokio::select! {
        said = say(publisher, lines) => said,
        failure = hear(&mut receiver) => return Err(failure),
        () = reader_gone() => Ok(()),
    };
    let heard = match said {
        // The receiving side knows why the connection is gone.
        Err(failure @ Failure::Session(_)) => match hear(&mut receiver).await {
            Failure::ClosedByServer => return Err(failure),
            why => return Err(why),
        },
        // What is coming is still printed, and a refusal still noticed.
        _ => timeout(LINGER, hear(&mut receiver)).await,
    };
    drop(receiver);
    match heard {
        Err(_) => session.close(Duration::ZERO).await?,
        Ok(Failure::ClosedByServer) => {}
        Ok(failure) => return Err(failure),
    }
    said
}

/// Publishes what is typed.
async fn say(publisher: &mut Publisher, mut lines: Lines) -> Result<(), Failure> {
    while let Some(line) = lines.next().await? {
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
async fn hear(receiver: &mut Receiver<'_>) -> Failure {
    loop {
        match receiver.next(|| Ok(())).await {
            Err(failure) => return failure,
            Ok(message) => {
                if let Err(error) = show(&message) {
                    return Failure::Output(error);
                }
            }
        }
    }
}

fn show(message: &Received) -> io::Result<()> {
    let uid = escape(message.uid().as_bytes());
    print(&if message.is_announcement() {
        format!("* {uid} joined\n")
    } else {
        format!("{uid}: {}\n", escape(message.message()))
    })
}
