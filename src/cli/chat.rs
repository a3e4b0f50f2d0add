//! `mles chat`: talks on a channel, line by line.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio::time::timeout;

use super::connect::ConnectArgs;
use super::exit::CLIENT_EXIT_CODES;
use super::failure::CommandFailure;
use super::interrupt::{reader_gone, run_client};
use super::output::print;
use super::refusal::RefusalGuide;
use super::stdin_lines::StdinLines;
use super::subscriptions::{SessionEvent, Subscriptions};
use crate::client::{Publisher, Reconnect};
use crate::escape::escape_for_terminal;

/// The time that a chat that ends waits for messages on their way, and for a refusal.
const LINGER: Duration = Duration::from_millis(250);

/// Chat on a channel.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  mles chat lobby --uid alice
  echo 'deployed' | mles chat ops --uid robot

Each line is published. The history of the channel and what others say are printed as `NAME: TEXT`, and \
who joins as `* NAME joined`. /quit or the end of the input (Ctrl-D) ends it. Unless the server checks \
names (check_names), anyone who may join can use any name.

With --reconnect, what was said meanwhile is printed when the connection is back, and what you said arrives once. A line that \
begins with `*` tells how many messages the server could not bring.

{CLIENT_EXIT_CODES}"))]
pub(super) struct ChatArgs {
    /// Channel to join
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Reconnect whenever the connection is lost, and wait for a server that is not up yet
    #[arg(long)]
    reconnect: bool,

    /// List all causes when a join is refused
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles chat`.
pub(super) fn run(args: ChatArgs) -> ExitCode {
    let guide = args.connect.refusal_guide(false, args.verbose);
    run_client(async {
        let ended = chat(args, &guide).await;
        ended.map_err(|failure| guide.explain(failure))
    })
}

async fn chat(args: ChatArgs, guide: &RefusalGuide) -> Result<(), CommandFailure> {
    let mut client = args.connect.client()?;
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let lines = StdinLines::new(client.max_message(&args.channel));
    let mut session = client.join(&args.channel).await?;
    let (publisher, subscriber) = session.halves();
    let mut subscriptions = Subscriptions::new([(args.channel.as_str(), subscriber)], guide);
    let said = tokio::select! {
        said = say(publisher, lines) => said,
        failure = hear(&mut subscriptions) => return Err(failure),
        () = reader_gone() => Ok(()),
    };
    let heard = match said {
        // The receiving side knows why the connection is gone.
        Err(failure @ CommandFailure::Session(_)) => match hear(&mut subscriptions).await {
            CommandFailure::ClosedByServer => return Err(failure),
            why => return Err(why),
        },
        // What is coming is still printed, and a refusal still noticed.
        _ => timeout(LINGER, hear(&mut subscriptions)).await,
    };
    drop(subscriptions);
    match heard {
        Err(_) => session.close(Duration::ZERO).await?,
        Ok(CommandFailure::ClosedByServer) => {}
        Ok(failure) => return Err(failure),
    }
    said
}

/// Publishes the lines that are typed.
async fn say(publisher: &mut Publisher, mut lines: StdinLines) -> Result<(), CommandFailure> {
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

/// Prints the messages of others until the session ends.
async fn hear(subscriptions: &mut Subscriptions<'_>) -> CommandFailure {
    loop {
        match subscriptions.next(|| Ok(())).await {
            Err(failure) => return failure,
            Ok(arrival) => {
                if let Err(error) = show(&arrival) {
                    return CommandFailure::Output(error);
                }
            }
        }
    }
}

fn show(arrival: &SessionEvent) -> io::Result<()> {
    let message = match arrival {
        SessionEvent::Message(message) => message,
        SessionEvent::Gap(gap) => return print(&format!("* {gap}\n")),
        SessionEvent::Members(members) => return print(&format!("* {members}\n")),
        SessionEvent::Rights(rights) => {
            let lacks = ["publish", "subscribe"].map(|right| rights.lack(right));
            let lines = lacks
                .into_iter()
                .flatten()
                .map(|lack| format!("* {lack}\n"));
            return print(&lines.collect::<String>());
        }
    };
    let uid = escape_for_terminal(message.uid().as_bytes());
    print(&if message.is_announcement() {
        format!("* {uid} joined\n")
    } else {
        format!("{uid}: {}\n", escape_for_terminal(message.message()))
    })
}
