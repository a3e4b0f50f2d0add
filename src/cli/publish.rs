//! `mles pub`: publishes messages.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;
use clap::builder::NonEmptyStringValueParser;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::connect::{CONNECTION, ConnectArgs};
use super::duration::parse_duration;
use super::exit::CLIENT_EXIT_CODES;
use super::failure::CommandFailure;
use super::interrupt::run_client;
use super::output::say;
use super::receipts::Receipts;
use super::stdin_lines::StdinLines;
use super::whole_input::read_whole;
use crate::client::{Client, Error, Publisher, Reconnect, Session};

/// The heading of the options that say what to publish.
const MESSAGES: &str = "Messages";

/// The time that a server on a busy machine takes to refuse a join, besides round trips.
const REFUSAL: Duration = Duration::from_millis(20);

/// Publish messages to a channel.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("source").multiple(false),
    after_help = format!("\
Examples:
  mles pub news 'hello, world'
  mles pub news hello --count 10 --interval 1s
  mles pub photos --file cat.jpg
  tail -f /var/log/syslog | mles pub logs --uid web1
  date | mles pub news --stdin
  mles pub news hello --confirm
  mles pub news -- --looks-like-an-option

Success means that all messages were sent, and that the server did not refuse the join meanwhile. With \
--confirm it means that the server has given each of them its place in the channel; their positions are printed, one on a \
line, in the order of the messages. If it fails, messages that were not confirmed may have been published or not. An empty message is how a join is announced; subscribers do not \
print it.

{CLIENT_EXIT_CODES}")
)]
pub(super) struct PubArgs {
    /// Channel to publish to
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,

    /// Messages to publish; without any, each line of standard input is a message
    #[arg(
        value_name = "MESSAGE",
        allow_negative_numbers = true,
        group = "source"
    )]
    messages: Vec<String>,

    /// Publish a file as one message; `-` is standard input
    #[arg(long, short, value_name = "PATH", group = "source", help_heading = MESSAGES)]
    file: Option<PathBuf>,

    /// Publish all of standard input as one message
    #[arg(long, group = "source", help_heading = MESSAGES)]
    stdin: bool,

    /// Publish each line of standard input as a message (the default without a MESSAGE)
    #[arg(long, short, group = "source", help_heading = MESSAGES)]
    lines: bool,

    /// Publish the message this many times [default: 1]
    #[arg(long, short = 'n', value_name = "N", help_heading = MESSAGES,
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Wait between two messages, e.g. 200ms or 5s [default: no wait]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = MESSAGES)]
    interval: Option<Duration>,

    /// Wait until the server has confirmed each message, and print its position
    #[arg(long, conflicts_with = "allow_empty", help_heading = MESSAGES)]
    confirm: bool,

    /// Reconnect whenever the connection is lost, until every message is confirmed; none is published twice
    #[arg(long, requires = "confirm", help_heading = MESSAGES)]
    reconnect: bool,

    /// Publish empty messages too; empty lines are skipped otherwise
    #[arg(long, help_heading = MESSAGES)]
    allow_empty: bool,

    /// Wait this long after the last message for the server to refuse the join [default: 20ms and four
    /// round trips]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = CONNECTION)]
    linger: Option<Duration>,

    /// List all causes when a join is refused
    #[arg(long, short)]
    verbose: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `mles pub`.
pub(super) fn run(args: PubArgs) -> ExitCode {
    // Its connection id is random, so that a subscriber of the same name may be running.
    let guide = args.connect.refusal_guide(true, args.verbose);
    run_client(async move {
        let published = publish(args).await;
        published.map_err(|failure| guide.explain(failure))
    })
}

async fn publish(args: PubArgs) -> Result<(), CommandFailure> {
    let source = Source::of(&args)?;
    let pace = Pace::new(args.interval);
    let mut client = args.connect.client()?.random_cid();
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let receipts = Receipts::new(args.confirm, &args.channel);
    let (channel, linger) = (args.channel.as_str(), args.linger);
    let limit = client.max_message(channel);
    let messages = match source {
        Source::Lines => {
            let lines = publish_lines(&client, channel, args.allow_empty, pace, linger, &receipts);
            return receipts.explain(lines.await);
        }
        Source::Whole(path) => vec![read_whole(path, limit).await?],
        Source::Arguments(messages) => messages,
    };
    check(&messages, limit, args.allow_empty)?;
    let count = args.count.unwrap_or(1);
    let published = async {
        let session = publish_all(&client, channel, &messages, count, pace, &receipts).await?;
        close(session, linger, &receipts).await
    };
    receipts.explain(published.await)
}

/// Ends a session when all is published, and notices a refusal.
async fn close(
    mut session: Session,
    linger: Option<Duration>,
    receipts: &Receipts,
) -> Result<(), CommandFailure> {
    let soon = REFUSAL + 4 * session.round_trip().unwrap_or_default();
    let (publisher, subscriber) = session.halves();
    // A server that says what the session may do says so at once.
    if let Ok(Ok(true)) = timeout(soon, publisher.has_positions()).await {
        receipts.take_waiting(subscriber).await?;
    }
    Ok(session.close(linger.unwrap_or(soon)).await?)
}

/// The origin of what is published.
enum Source {
    /// Each argument is a message.
    Arguments(Vec<Vec<u8>>),
    /// A file is a message.
    Whole(PathBuf),
    /// Each line of the standard input is a message.
    Lines,
}

impl Source {
    /// Returns the source that was asked for, if the other options go with it.
    fn of(args: &PubArgs) -> Result<Self, CommandFailure> {
        let usage = |text: &str| Err(CommandFailure::Usage(text.to_owned()));
        let source = match &args.file {
            Some(path) => Self::Whole(path.clone()),
            None if args.stdin => Self::Whole("-".into()),
            None if args.messages.is_empty() => Self::Lines,
            None => {
                let messages = args.messages.iter().cloned().map(String::into_bytes);
                Self::Arguments(messages.collect())
            }
        };
        match source {
            Self::Lines if args.count.is_some() => {
                usage("--count repeats a MESSAGE or a file, not the lines of standard input")
            }
            Self::Whole(_) | Self::Arguments(_)
                if args.interval.is_some() && args.count.is_none() && args.messages.len() < 2 =>
            {
                usage("--interval is the time between messages: add --count, or more messages")
            }
            source => Ok(source),
        }
    }
}

/// Checks messages before anything is sent.
fn check(messages: &[Vec<u8>], limit: usize, may_be_empty: bool) -> Result<(), CommandFailure> {
    for (i, message) in messages.iter().enumerate() {
        let name = if messages.len() == 1 {
            "the message".to_owned()
        } else {
            format!("message {}", i + 1)
        };
        let len = message.len();
        if len > limit {
            return Err(CommandFailure::Usage(format!(
                "{name} has {len} bytes, more than the largest that fits into a frame, {limit} bytes"
            )));
        }
        if len == 0 && !may_be_empty {
            return Err(CommandFailure::Usage(format!(
                "{name} is empty, which only announces a join: add --allow-empty to publish it"
            )));
        }
    }
    Ok(())
}

/// The time between two messages.
struct Pace(Option<Interval>);

impl Pace {
    fn new(interval: Option<Duration>) -> Self {
        let interval = interval.filter(|interval| !interval.is_zero());
        Self(interval.map(|period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Begins with the message that is sent now.
    fn begin(&mut self) {
        if let Some(ticks) = &mut self.0 {
            ticks.reset();
        }
    }

    /// Sends what is queued and waits until the next message is due.
    async fn wait(&mut self, publisher: &mut Publisher) -> Result<(), Error> {
        if let Some(ticks) = &mut self.0 {
            publisher.flush().await?;
            ticks.tick().await;
        }
        Ok(())
    }
}

/// Publishes the messages, all of them `count` times.
async fn publish_all(
    client: &Client,
    channel: &str,
    messages: &[Vec<u8>],
    count: u64,
    mut pace: Pace,
    receipts: &Receipts,
) -> Result<Session, CommandFailure> {
    let first = messages.first().map_or(&[][..], Vec::as_slice);
    // The first message travels with the join, so that nothing is announced.
    let mut session = client.join_with(channel, first).await?;
    receipts.expect(1);
    pace.begin();
    while_receiving(&mut session, receipts, async |publisher| {
        for round in 0..count {
            let sent = usize::from(round == 0);
            for message in messages.iter().skip(sent) {
                pace.wait(publisher).await?;
                publisher.feed(message).await?;
                receipts.expect(1);
            }
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
    may_be_empty: bool,
    mut pace: Pace,
    linger: Option<Duration>,
    receipts: &Receipts,
) -> Result<(), CommandFailure> {
    if io::stdin().is_terminal() {
        say("mles: each line is published as a message; Ctrl-D ends");
    }
    let mut input = MessageLines {
        lines: StdinLines::new(client.max_message(channel)),
        may_be_empty,
        skipped: 0,
    };
    // Nothing is sent to the server before there is a message.
    if let Some(first) = input.next().await? {
        let mut session = client.join_with(channel, first).await?;
        receipts.expect(1);
        pace.begin();
        let mut read = Ok(());
        while_receiving(&mut session, receipts, async |publisher| {
            read = forward(&mut input, publisher, &mut pace, receipts).await?;
            Ok(())
        })
        .await?;
        close(session, linger, receipts).await?;
        read?;
    }
    match input.skipped {
        0 => {}
        1 => say("mles: skipped 1 empty line (--allow-empty publishes it)"),
        lines => say(format_args!(
            "mles: skipped {lines} empty lines (--allow-empty publishes them)"
        )),
    }
    Ok(())
}

/// The lines of the standard input that are messages.
struct MessageLines {
    lines: StdinLines,
    may_be_empty: bool,
    /// The number of empty lines that were skipped.
    skipped: u64,
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
        if line.is_empty() && !self.may_be_empty {
            self.skipped += 1;
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
    pace: &mut Pace,
    receipts: &Receipts,
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
            Ok(Some(message)) => {
                pace.wait(publisher).await?;
                publisher.feed(message).await?;
                receipts.expect(1);
            }
            Ok(None) => return Ok(Ok(())),
            Err(failure) => {
                publisher.flush().await?;
                return Ok(Err(failure));
            }
        }
    }
}

/// Publishes while what is received is dropped, and stops when the session ends. Returns once the messages are confirmed
/// that have to be.
async fn while_receiving(
    session: &mut Session,
    receipts: &Receipts,
    publishing: impl AsyncFnOnce(&mut Publisher) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let (publisher, subscriber) = session.halves();
    let published = async {
        receipts.are_offered(publisher).await?;
        publishing(publisher).await
    };
    let published = tokio::select! {
        published = published => published,
        ended = receipts.take_all(subscriber) => return ended,
    };
    match published {
        Ok(()) => receipts.take_rest(subscriber).await,
        // The receiving side knows why the connection is gone.
        Err(CommandFailure::Session(error @ (Error::Io(_) | Error::Closed))) => {
            subscriber.drain().await?;
            Err(error.into())
        }
        published => published,
    }
}
