//! v2: payloads behind `=`, notices behind `!`.

use serde_json::json;

use super::web_v1::take_upgrade;
use super::{Ask, CHANNEL, Input, Wire, header, v2_message};
use crate::common::websocket::{self, Got, PONG, TEXT, frame, request};
use crate::notice::Notice;
use crate::payload::Tag;

const SUBPROTOCOL: &str = "mles-websocket.resume";

pub struct WebV2 {
    ask: Option<Ask>,
    is_upgraded: bool,
}

impl WebV2 {
    pub fn new() -> Self {
        Self {
            ask: None,
            is_upgraded: false,
        }
    }
}

fn greeting(ask: &Ask) -> String {
    let mut greeting = json!({"uid": ask.uid, "channel": CHANNEL});
    let resume = ask.resume.unwrap();
    if let Some(since) = resume.since {
        greeting["since"] = since.to_string().into();
    }
    if let Some(publisher) = resume.publisher {
        greeting["publisher"] = format!("{publisher:x}").into();
    }
    if let Some(members) = resume.members {
        greeting["members"] = members.into();
    }
    let asks_otherwise = greeting.as_object().unwrap().len() > 2;
    if !asks_otherwise {
        greeting["resume"] = true.into();
    }
    greeting.to_string()
}

impl Wire for WebV2 {
    fn open(&mut self, ask: &Ask) -> Vec<u8> {
        self.ask = Some(ask.clone());
        let offered = format!("Sec-WebSocket-Protocol: mles-websocket, {SUBPROTOCOL}\r\n");
        request("/", &offered)
    }

    fn take(&mut self, bytes: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Option<Input>, String> {
        if !self.is_upgraded {
            match take_upgrade(bytes) {
                None => return Ok(None),
                Some(Err(closed)) => return Ok(Some(closed)),
                Some(Ok(head)) => {
                    if header(&head, "sec-websocket-protocol") != Some(SUBPROTOCOL) {
                        return Err(format!("{SUBPROTOCOL} was not picked: {head}"));
                    }
                    self.is_upgraded = true;
                    let ask = self.ask.as_ref().unwrap();
                    out.extend(frame(TEXT, greeting(ask).as_bytes()));
                }
            }
        }
        while let Some(got) = websocket::take_frame(bytes) {
            match got {
                Got::Ping(ping) => out.extend(frame(PONG, &ping)),
                Got::Pong(_) => {}
                Got::Close(code, reason) => {
                    return Ok(Some(Input::Closed(format!("{code} {reason}"))));
                }
                Got::Text(text) => return input(text.into_bytes()).map(Some),
                Got::Binary(bytes) => return input(bytes).map(Some),
            }
        }
        Ok(None)
    }

    fn publish(&self, tag: Tag, payload: &[u8]) -> Vec<u8> {
        v2_message(tag, payload)
    }
}

fn input(bytes: Vec<u8>) -> Result<Input, String> {
    match bytes.split_first() {
        Some((b'=', payload)) => Ok(Input::Message {
            uid: None,
            payload: Some(payload.to_vec()),
            told: None,
        }),
        Some((b'!', json)) => {
            let notice: Notice = serde_json::from_slice(json).map_err(|error| {
                format!("no notice ({error}): {}", String::from_utf8_lossy(json))
            })?;
            Ok(Input::Notice(notice))
        }
        _ => Err(format!("neither a payload nor a notice: {bytes:?}")),
    }
}
