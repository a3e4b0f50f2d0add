//! Helpers of tests of sessions over WebSocket that ask for positions.

use mles::protocol::{Cid, HEADER_LEN, Key, Message, Position, ResumeRequest, encode_join};
use mles::{Broker, Settings};
use serde_json::Value;

use crate::common::websocket::{Got, TEXT, Ws, address, request, settings};
use crate::common::{Client, wait_until};

const RESUME: &str = "Sec-WebSocket-Protocol: mles-websocket, mles-websocket.resume\r\n";

/// A message of a v2 session that asks for positions.
#[derive(Clone, Debug, PartialEq)]
pub enum Marked {
    Text(String),
    Binary(Vec<u8>),
    Notice(Value),
}

pub fn text(text: &str) -> Marked {
    Marked::Text(text.to_owned())
}

impl Ws {
    /// Opens a v2 session of the resuming subprotocol, with more keys in its greeting.
    pub fn resume(broker: &Broker, uid: &str, keys: &str) -> Self {
        let mut ws = Self::open_resuming(broker);
        ws.send(TEXT, greeting(uid, keys).as_bytes());
        ws
    }

    pub fn open_resuming(broker: &Broker) -> Self {
        let mut ws = Self::on(Client::connect(&address(broker)));
        ws.raw(&request("/", RESUME));
        let head = String::from_utf8(ws.head().unwrap()).unwrap();
        assert!(
            head.contains("\r\nSec-WebSocket-Protocol: mles-websocket.resume\r\n"),
            "{head}"
        );
        ws
    }

    pub fn marked(&mut self) -> Marked {
        match self.next() {
            Got::Text(text) => match text.split_at(1) {
                ("=", text) => Marked::Text(text.to_owned()),
                ("!", json) => Marked::Notice(serde_json::from_str(json).unwrap()),
                _ => panic!("no mark: {text}"),
            },
            Got::Binary(bytes) => {
                assert_eq!(bytes[0], b'=');
                Marked::Binary(bytes[1..].to_vec())
            }
            got => panic!("{got:?}"),
        }
    }

    pub fn notice(&mut self, name: &str) -> Value {
        match self.marked() {
            Marked::Notice(notice) if !notice[name].is_null() => notice[name].clone(),
            got => panic!("{got:?} instead of {name}"),
        }
    }

    pub fn payload_text(&mut self) -> String {
        match self.marked() {
            Marked::Text(text) => text,
            got => panic!("{got:?}"),
        }
    }

    /// The next notice of a v1 session, which is text.
    pub fn body_notice(&mut self, channel: &str, name: &str) -> Value {
        match self.message() {
            Got::Text(json) => {
                let notice: Value = serde_json::from_str(&json).unwrap();
                assert_eq!(notice["channel"], channel, "{json}");
                assert!(!notice[name].is_null(), "{json}");
                notice[name].clone()
            }
            got => panic!("{got:?} instead of {name}"),
        }
    }
}

pub fn greeting(uid: &str, keys: &str) -> String {
    format!(r#"{{"uid":"{uid}","channel":"room"{keys}}}"#)
}

pub fn since(position: &str) -> String {
    format!(r#","since":"{position}""#)
}

/// A first body of v1 with a wish for positions.
pub fn resume_body(uid: &str, channel: &str, message: &[u8], request: &ResumeRequest) -> Vec<u8> {
    let message = Message {
        uid,
        channel,
        message,
    };
    let frame = encode_join(Cid(0), Key(0), &message, &(*request).into()).unwrap();
    frame[HEADER_LEN..].to_vec()
}

/// The position that is `count` messages behind another.
pub fn behind(position: &str, count: u64) -> String {
    let position: Position = position.parse().unwrap();
    let offset = position.offset + count;
    Position { offset, ..position }.to_string()
}

pub fn with_history(frames: usize) -> Settings {
    let mut settings = settings();
    settings.channels.default.history_frames = frames;
    settings
}

/// Waits until all that `alice` has sent is in the order.
pub fn settle(broker: &Broker, frames: u64) {
    wait_until("all is published", || broker.stats().frames_in == frames);
}
