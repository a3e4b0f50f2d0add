//! v1 over WebSocket: bodies in binary messages, notices in text messages.

use mles::protocol::Message;
use serde_json::{Map, Value};

use super::{Ask, CHANNEL, Input, Wire, header, join_body, message_in, take_head};
use crate::common::websocket::{self, BINARY, Got, PONG, frame, request};
use crate::notice::Notice;
use crate::payload::Tag;

pub struct WebV1 {
    ask: Option<Ask>,
    uid: String,
    is_upgraded: bool,
}

impl WebV1 {
    pub fn new() -> Self {
        Self {
            ask: None,
            uid: String::new(),
            is_upgraded: false,
        }
    }
}

/// Takes the answer to an upgrade off the front of `bytes`: its head if it was granted, `None` if it has not all come.
/// The error is that of a server which does not take the connection.
pub fn take_upgrade(bytes: &mut Vec<u8>) -> Option<Result<String, Input>> {
    let head = take_head(bytes)?;
    if head.starts_with("http/1.1 101 ") {
        return Some(Ok(head));
    }
    Some(Err(Input::Closed(head)))
}

impl Wire for WebV1 {
    fn open(&mut self, ask: &Ask) -> Vec<u8> {
        self.uid.clone_from(&ask.uid);
        self.ask = Some(ask.clone());
        request("/", "")
    }

    fn take(&mut self, bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Option<Input>, String> {
        if !self.is_upgraded {
            match take_upgrade(bytes) {
                None => return Ok(None),
                Some(Err(closed)) => return Ok(Some(closed)),
                Some(Ok(head)) => {
                    if let Some(protocol) = header(&head, "sec-websocket-protocol") {
                        return Err(format!("the subprotocol {protocol} was not asked for"));
                    }
                    self.is_upgraded = true;
                    let ask = self.ask.as_ref().unwrap();
                    out.extend(frame(BINARY, &join_body(ask)));
                }
            }
        }
        while let Some(got) = websocket::take_frame(bytes) {
            let input = match got {
                Got::Binary(body) => message_in(&body)?,
                Got::Text(text) => Some(Input::Notice(notice(&text)?)),
                Got::Ping(ping) => {
                    out.extend(frame(PONG, &ping));
                    None
                }
                Got::Pong(_) => None,
                Got::Close(code, reason) => Some(Input::Closed(format!("{code} {reason}"))),
            };
            if input.is_some() {
                return Ok(input);
            }
        }
        Ok(None)
    }

    fn publish(&self, _tag: Tag, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let message = Message {
            uid: &self.uid,
            channel: CHANNEL,
            message: payload,
        };
        message.encode_into(&mut body);
        frame(BINARY, &body)
    }
}

/// Reads a notice, which names the channel.
fn notice(text: &str) -> Result<Notice, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("no notice ({why}): {text}");
    let mut map: Map<String, Value> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    if map.remove("channel") != Some(CHANNEL.into()) {
        return Err(wrong(&"not of the channel"));
    }
    serde_json::from_value(Value::Object(map)).map_err(|error| wrong(&error))
}
