//! The forms in which a session is spoken, as bytes in and bytes out.

mod events;
mod frames;
mod web_v1;
mod web_v2;

use ciborium::Value;
use mles::protocol::{Cid, Message, Position};

use crate::notice::Notice;
use crate::payload::{Tag, is_binary};
pub use events::Events;
pub use frames::{Frames, frame};
pub use web_v1::WebV1;
pub use web_v2::WebV2;

/// The one channel of a run.
pub const CHANNEL: &str = "room";

/// Returns the uid of an actor.
pub fn uid_of(actor: usize) -> String {
    format!("a{actor}")
}

/// What a session wants at its join.
#[derive(Clone, Debug)]
pub struct Ask {
    pub uid: String,
    pub cid: Cid,
    /// `None` for a session that does not ask for positions.
    pub resume: Option<Resume>,
}

#[derive(Clone, Copy, Debug)]
pub struct Resume {
    pub since: Option<Position>,
    pub publisher: Option<u64>,
    pub members: Option<u64>,
}

/// What the server has sent.
#[derive(Clone, Debug)]
pub enum Input {
    Notice(Notice),
    Message {
        /// `None` where the transport does not say it.
        uid: Option<String>,
        /// `None` for a body that is no message.
        payload: Option<Vec<u8>>,
        told: Option<Position>,
    },
    /// The server says that it ends the session, and why.
    Closed(String),
}

/// One connection's state of reading.
pub trait Wire {
    /// Returns what a client sends first.
    fn open(&mut self, ask: &Ask) -> Vec<u8>;

    /// Takes the next input off the front of `bytes`; `None` if it has not all come. What the client has to answer
    /// is appended to `out`. An error says what is not as it was promised.
    fn take(&mut self, bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Option<Input>, String>;

    /// Returns what publishes a message.
    fn publish(&self, tag: Tag, payload: &[u8]) -> Vec<u8>;
}

/// Returns the first body of v1.
fn join_body(ask: &Ask) -> Vec<u8> {
    let text = |text: &str| Value::from(text);
    let mut pairs = vec![
        (text("uid"), text(&ask.uid)),
        (text("channel"), text(CHANNEL)),
        (text("message"), Value::Bytes(Vec::new())),
    ];
    if let Some(resume) = &ask.resume {
        let since = resume.since.map(|since| text(&since.to_string()));
        let entries = [
            ("since", since),
            ("publisher", resume.publisher.map(Value::from)),
            ("members", resume.members.map(Value::from)),
        ];
        let given = entries
            .into_iter()
            .filter_map(|(key, value)| Some((text(key), value?)));
        pairs.push((text("resume"), Value::Map(given.collect())));
    }
    let mut body = Vec::new();
    ciborium::into_writer(&Value::Map(pairs), &mut body).unwrap();
    body
}

/// Returns the message in a body of v1; `None` for a hint of presence, which is not counted.
fn message_in(body: &[u8]) -> Result<Option<Input>, String> {
    let Ok(message) = Message::decode(body) else {
        return Ok(Some(Input::Message {
            uid: None,
            payload: None,
            told: None,
        }));
    };
    if message.channel != CHANNEL {
        return Err(format!("a message of the channel {:?}", message.channel));
    }
    let message = (!message.message.is_empty()).then(|| Input::Message {
        uid: Some(message.uid.to_owned()),
        payload: Some(message.message.to_owned()),
        told: None,
    });
    Ok(message)
}

/// Takes the head of an HTTP response off the front of `bytes`, in lower case; `None` if it has not all come.
pub fn take_head(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head: Vec<u8> = bytes.drain(..end + 4).collect();
    Some(String::from_utf8(head).unwrap().to_lowercase())
}

/// Returns a header of a head in lower case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    Some(value.trim())
}

/// Returns the kind of WebSocket message, as the first byte of its frame, that a message is published as in v2.
const fn first_byte(is_binary: bool) -> u8 {
    if is_binary { 0x82 } else { 0x81 }
}

/// Returns a published message of v2.
fn v2_message(tag: Tag, payload: &[u8]) -> Vec<u8> {
    crate::common::websocket::frame(first_byte(is_binary(tag)), payload)
}
