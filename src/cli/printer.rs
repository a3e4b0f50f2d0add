//! How `mles sub` prints messages.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use humantime::format_rfc3339_millis;
use serde::Serialize;

use super::output::{Patient, say};
use super::subscriptions::{Gap, MemberNames, Members};
use super::template::{Placeholder, Template};
use crate::client::{Position, Received};
use crate::escape::escape_for_terminal;

/// The form of a line for each message.
#[derive(Debug)]
pub(super) enum MessageForm {
    /// The content alone.
    Content,
    /// Channel and sender, then the content.
    Named,
    /// A JSON object.
    Json,
    /// As a template says.
    Template(Template),
}

/// Writes messages to standard output, each followed by a line end.
pub(super) struct Printer {
    out: BufWriter<Patient<Stdout>>,
    form: MessageForm,
    /// Set to begin each message with the time of its arrival. A template tells it by itself.
    has_time: bool,
    is_terminal: bool,
}

/// A message as a JSON object.
#[derive(Serialize)]
pub(super) struct JsonMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    channel: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_b64: Option<String>,
}

/// A hole in a channel, as a JSON object.
#[derive(Serialize)]
struct JsonGap<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    channel: &'a str,
    gap: JsonMissed,
}

/// News of members of a channel, as a JSON object.
#[derive(Serialize)]
struct JsonMembers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    channel: &'a str,
    #[serde(flatten)]
    news: JsonNews<'a>,
}

/// What there is to say of members, in the form of the notices of the protocol.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum JsonNews<'a> {
    Members {
        count: u64,
        uids: &'a [Box<str>],
    },
    Changes {
        count: u64,
        joined: &'a [Box<str>],
        left: &'a [Box<str>],
    },
}

#[derive(Serialize)]
struct JsonMissed {
    /// `null` if it is not known.
    missed: Option<u64>,
}

impl Printer {
    /// Creates a printer with nothing written yet.
    pub(super) fn new(form: MessageForm, has_time: bool) -> Self {
        let out = io::stdout();
        Self {
            form,
            has_time,
            is_terminal: out.is_terminal(),
            out: BufWriter::with_capacity(64 << 10, Patient(out)),
        }
    }

    /// Writes a message that has just come.
    pub(super) fn print(&mut self, message: &Received) -> io::Result<()> {
        let Self { out, form, .. } = self;
        let time = (self.has_time).then(|| now().to_string());
        if let Some(time) = &time
            && matches!(form, MessageForm::Content | MessageForm::Named)
        {
            write!(out, "{time} ")?;
        }
        let show = |out: &mut _, placeholder| write(out, message, placeholder, self.is_terminal);
        match form {
            MessageForm::Json => serde_json::to_writer(&mut *out, &json(message, time))?,
            MessageForm::Content => show(out, Placeholder::Message)?,
            MessageForm::Named => {
                show(out, Placeholder::Channel)?;
                out.write_all(b" ")?;
                show(out, Placeholder::Uid)?;
                out.write_all(b": ")?;
                show(out, Placeholder::Message)?;
            }
            MessageForm::Template(template) => template.write(out, show)?,
        }
        out.write_all(b"\n")
    }

    /// Tells that messages are missing here: in JSON where they would be, otherwise on standard error.
    pub(super) fn print_gap(&mut self, gap: &Gap) -> io::Result<()> {
        let Self { out, form, .. } = self;
        if !matches!(form, MessageForm::Json) {
            // What came before it is seen before it.
            out.flush()?;
            say(format_args!("mles: {gap}"));
            return Ok(());
        }
        let gap = JsonGap {
            time: (self.has_time).then(|| now().to_string()),
            channel: &gap.channel,
            gap: JsonMissed { missed: gap.missed },
        };
        serde_json::to_writer(&mut *out, &gap)?;
        out.write_all(b"\n")
    }

    /// Tells who is there, or who has come and left: in JSON between the messages, otherwise on standard error.
    pub(super) fn print_members(&mut self, members: &Members) -> io::Result<()> {
        let Self { out, form, .. } = self;
        if !matches!(form, MessageForm::Json) {
            // What came before it is seen before it.
            out.flush()?;
            say(format_args!("mles: {members}"));
            return Ok(());
        }
        let count = members.count;
        let members = JsonMembers {
            time: (self.has_time).then(|| now().to_string()),
            channel: &members.channel,
            news: match &members.names {
                MemberNames::All(uids) => JsonNews::Members { count, uids },
                MemberNames::Changes { joined, left } => JsonNews::Changes {
                    count,
                    joined,
                    left,
                },
            },
        };
        serde_json::to_writer(&mut *out, &members)?;
        out.write_all(b"\n")
    }

    /// Sends what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn now() -> impl std::fmt::Display {
    format_rfc3339_millis(SystemTime::now())
}

/// Writes one value of a message.
fn write(
    out: &mut impl Write,
    message: &Received,
    placeholder: Placeholder,
    is_terminal: bool,
) -> io::Result<()> {
    let content = message.message();
    // Names never break the line or the terminal, wherever it goes.
    match placeholder {
        Placeholder::Channel => {
            write!(out, "{}", escape_for_terminal(message.channel().as_bytes()))
        }
        Placeholder::Uid => write!(out, "{}", escape_for_terminal(message.uid().as_bytes())),
        Placeholder::Message if is_terminal => write!(out, "{}", escape_for_terminal(content)),
        Placeholder::Message => out.write_all(content),
        Placeholder::Hex => content
            .iter()
            .try_for_each(|byte| write!(out, "{byte:02x}")),
        Placeholder::Base64 => write!(out, "{}", BASE64.encode(content)),
        Placeholder::Length => write!(out, "{}", content.len()),
        Placeholder::Time => write!(out, "{}", now()),
        Placeholder::Position => match message.position() {
            Some(position) => write!(out, "{position}"),
            None => Ok(()),
        },
    }
}

fn json(message: &Received, time: Option<String>) -> JsonMessage<'_> {
    let names = (message.channel(), message.uid());
    JsonMessage::new(time, names, message.position(), message.message())
}

impl<'a> JsonMessage<'a> {
    /// Creates that of a message of `uid` on `channel`. Its content is text if it is UTF-8, and otherwise base64.
    pub(super) fn new(
        time: Option<String>,
        (channel, uid): (&'a str, &'a str),
        position: Option<Position>,
        content: &'a [u8],
    ) -> Self {
        let text = std::str::from_utf8(content).ok();
        Self {
            time,
            channel,
            uid,
            position,
            message: text,
            message_b64: text.is_none().then(|| BASE64.encode(content)),
        }
    }
}
