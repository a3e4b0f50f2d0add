//! `mles sub`: prints what is published.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio::time::timeout;

use super::connect::ConnectArgs;
use super::duration::parse_duration;
use super::exit::SUB_EXIT_CODES;
use super::failure::CommandFailure;
use super::history_end::HistoryEnd;
use super::interrupt::{reader_gone, run_client};
use super::output::say;
use super::printer::{MessageForm, Printer};
use super::refusal::RefusalGuide;
use super::subscriptions::{SessionEvent, Subscriptions};
use super::template::Template;
use crate::client::{Position, Reconnect};

/// The most names of members to ask for, which is the most that servers send.
const MOST_NAMES: u32 = 1000;
/// The heading of the options that say how messages are printed.
const OUTPUT: &str = "Output";

/// Print the messages of one or more channels.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  mles sub news
  mles sub --verbose news weather
  mles sub news --count 1 --timeout 5s
  mles sub news --format '{{time}} {{uid}}: {{message}}'
  mles sub news --json | jq -r .message
  mles sub news --since 0123456789abcdef:42
  mles sub news --members

The recent history of a channel comes first. Each message is followed by a line end. On a terminal, \
control characters and bytes that are not UTF-8 are escaped.

With --json, a line is an object with \"channel\", \"uid\" and \"message\", or \"message_b64\" (base64) \
where the message is not UTF-8, and with \"position\" if the server gives one. Where messages are missing, it is \
{{\"channel\":\"news\",\"gap\":{{\"missed\":3}}}}, with null if their number is not known. Otherwise a gap is a line on \
standard error.

With --members, who is there is told first, and who has come and left from then on: in lines on standard error, or with \
--json in objects such as {{\"channel\":\"news\",\"members\":{{\"count\":2,\"uids\":[\"alice\",\"bob\"]}}}} and \
{{\"channel\":\"news\",\"changes\":{{\"count\":1,\"joined\":[],\"left\":[\"bob\"]}}}}. There are at most 1,000 names in each; \
count is the number of members, this one included. --count counts messages only.

In --format, {{channel}} {{uid}} {{message}} {{hex}} {{base64}} {{length}} {{time}} {{position}} stand for what they \
say, {{{{ is a brace, and \\n \\t \\0 \\\\ are as usual. The time is that of arrival here, in UTC.

A position is where a message stands in its channel. --since goes on behind the one of the last message that was \
printed, in an earlier run for example: what came since then is printed, after a gap if not all of it can be had.

With --no-history, a second connection joins for a moment, because a server announces joins in the order \
of messages: what comes before that is history. What is published between the two joins, usually a few \
milliseconds, is not printed. Other members see one extra join.

{SUB_EXIT_CODES}"))]
pub(super) struct SubArgs {
    /// Channels to join, each over a connection of its own
    #[arg(value_name = "CHANNEL", required = true, value_parser = NonEmptyStringValueParser::new())]
    channels: Vec<String>,

    /// Exit after this many messages
    #[arg(long, short = 'n', visible_short_alias = 'C', value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Exit after this time in all, e.g. 500ms or 5s; with --count, exit code 124 if messages are missing
    #[arg(long, short = 'W', value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Leave out the history: print only what is published after the join
    #[arg(long)]
    no_history: bool,

    /// Begin behind this position, as --json or {position} has printed it; for one channel
    #[arg(long, value_name = "POSITION", conflicts_with = "no_history")]
    since: Option<Position>,

    /// Reconnect whenever the connection is lost, print what was missed and nothing twice, and wait for a
    /// server that is not up yet
    #[arg(long)]
    reconnect: bool,

    /// Print channel and sender before each message, and list all causes when a join is refused
    #[arg(long, short, help_heading = OUTPUT)]
    verbose: bool,

    /// Print each message as a JSON object
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    /// Print each message as this text with placeholders, e.g. '{uid}: {message}'
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["json", "timestamps"], help_heading = OUTPUT)]
    format: Option<Template>,

    /// Print the time of arrival before each message, or as "time" with --json
    #[arg(long, help_heading = OUTPUT)]
    timestamps: bool,

    /// Also print the empty messages that announce joins
    #[arg(long, help_heading = OUTPUT)]
    joins: bool,

    /// Also tell who is in the channel, and who comes and leaves
    #[arg(long, help_heading = OUTPUT)]
    members: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

impl SubArgs {
    fn form(&mut self) -> MessageForm {
        match (self.format.take(), self.json, self.verbose) {
            (Some(template), ..) => MessageForm::Template(template),
            (None, true, _) => MessageForm::Json,
            (None, false, true) => MessageForm::Named,
            (None, false, false) => MessageForm::Content,
        }
    }
}

/// Runs `mles sub`.
pub(super) fn run(args: SubArgs) -> ExitCode {
    let guide = args.connect.refusal_guide(false, args.verbose);
    run_client(async {
        tokio::select! {
            biased;
            result = subscribe(args, &guide) => result.map_err(|failure| guide.explain(failure)),
            () = reader_gone() => Ok(()),
        }
    })
}

async fn subscribe(mut args: SubArgs, guide: &RefusalGuide) -> Result<(), CommandFailure> {
    let channel = &args.channels[0];
    if args.since.is_some() && args.channels.iter().any(|other| other != channel) {
        let text = "--since is a position of one channel: run a command for each";
        return Err(CommandFailure::Usage(text.to_owned()));
    }
    let mut printer = Printer::new(args.form(), args.timestamps);
    let (count, limit) = (args.count, args.timeout);
    let mut left = count;
    let followed = follow(args, guide, &mut printer, &mut left);
    let ended = match limit {
        Some(limit) => timeout(limit, followed).await,
        None => Ok(followed.await),
    };
    if let Ok(result) = ended {
        result?;
    }
    printer.flush().map_err(CommandFailure::Output)?;
    match (count, left, limit) {
        (Some(count), Some(left @ 1..), Some(limit)) => Err(CommandFailure::TimedOut {
            limit,
            received: count - left,
            count,
        }),
        _ => Ok(()),
    }
}

/// Prints messages until there are none `left` to print, or a session ends.
async fn follow(
    args: SubArgs,
    guide: &RefusalGuide,
    printer: &mut Printer,
    left: &mut Option<u64>,
) -> Result<(), CommandFailure> {
    let once = args.connect.client()?.reset_on_drop();
    let mut client = once.clone();
    if let Some(position) = args.since {
        client = client.since(position);
    }
    if args.members {
        client = client.members(MOST_NAMES);
    }
    if args.reconnect {
        client = client.reconnect(Reconnect::default());
    }
    let mut sessions = Vec::with_capacity(args.channels.len());
    let mut histories = Vec::new();
    for (i, channel) in args.channels.iter().enumerate() {
        // One that is named twice is joined once.
        if args.channels[..i].contains(channel) {
            continue;
        }
        sessions.push((channel.as_str(), client.join(channel).await?));
        histories.push(args.no_history.then(|| HistoryEnd::find(&once, channel)));
    }
    let subscribers = sessions
        .iter_mut()
        .map(|(channel, session)| (*channel, session.halves().1));
    let mut subscriptions = Subscriptions::new(subscribers, guide);
    subscriptions.without_history(histories);
    while *left != Some(0) {
        let message = match subscriptions.next(|| printer.flush()).await? {
            SessionEvent::Message(message) => message,
            SessionEvent::Gap(gap) => {
                printer.print_gap(&gap).map_err(CommandFailure::Output)?;
                continue;
            }
            SessionEvent::Members(members) => {
                let printed = printer.print_members(&members);
                printed.map_err(CommandFailure::Output)?;
                continue;
            }
            SessionEvent::Rights(rights) => {
                let needed: &[&str] = match args.members {
                    true => &["subscribe", "presence"],
                    false => &["subscribe"],
                };
                for right in needed {
                    match rights.lack(right) {
                        // It may get the right.
                        Some(lack) if args.reconnect => {
                            say(format_args!("mles: {lack}: nothing comes from there"));
                        }
                        Some(lack) => return Err(CommandFailure::Refused(lack)),
                        None => {}
                    }
                }
                continue;
            }
        };
        if args.joins || !message.is_announcement() {
            printer.print(&message).map_err(CommandFailure::Output)?;
            *left = left.map(|left| left - 1);
        }
    }
    Ok(())
}
