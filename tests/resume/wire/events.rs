//! Event streams over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mles::protocol::Position;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, CHANNEL, Input, Wire, header, take_head};
use crate::notice::{Notice, Receipt};
use crate::payload::Tag;

#[derive(Default)]
pub struct Events {
    /// `None` until the head has come.
    is_chunked: Option<bool>,
    /// The body as far as it has come and was not read.
    body: Vec<u8>,
    event: PartialEvent,
    /// The position of the last message, as far as the events have told.
    position: Option<Position>,
    /// What comes behind a jump that was just told.
    behind_jump: Option<Input>,
}

/// The fields of an event that have come.
#[derive(Default)]
struct PartialEvent {
    name: Option<String>,
    data: Option<String>,
    id: Option<String>,
}

/// A message, as the data of an event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedMessage {
    offset: u64,
    uid: String,
    text: Option<String>,
    base64: Option<String>,
}

impl Wire for Events {
    fn open(&mut self, ask: &Ask) -> Vec<u8> {
        let resume = ask.resume.unwrap();
        let mut query = vec![format!("uid={}", ask.uid)];
        let mut headers = String::new();
        // Both ways to say it, by turns.
        match resume.since {
            Some(since) if since.offset % 2 == 0 => query.push(format!("since={since}")),
            Some(since) => headers = format!("Last-Event-ID: {since}\r\n"),
            None => {}
        }
        query.extend(resume.members.map(|members| format!("members={members}")));
        let query = query.join("&");
        format!(
            "GET /channels/{CHANNEL}/events?{query} HTTP/1.1\r\nHost: localhost\r\n\
             Accept: text/event-stream\r\n{headers}\r\n"
        )
        .into_bytes()
    }

    fn take(&mut self, bytes: &mut Vec<u8>, _out: &mut Vec<u8>) -> Result<Option<Input>, String> {
        if let Some(input) = self.behind_jump.take() {
            return Ok(Some(input));
        }
        if self.is_chunked.is_none() {
            let Some(head) = take_head(bytes) else {
                return Ok(None);
            };
            if !head.starts_with("http/1.1 200 ") {
                return Ok(Some(Input::Closed(head)));
            }
            if header(&head, "content-type") != Some("text/event-stream") {
                return Err(format!("no event stream: {head}"));
            }
            self.is_chunked = Some(header(&head, "transfer-encoding") == Some("chunked"));
        }
        let mut is_over = false;
        if self.is_chunked == Some(true) {
            is_over = take_chunks(bytes, &mut self.body)?;
        } else {
            self.body.append(bytes);
        }
        while let Some(end) = self.body.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.body.drain(..=end).collect();
            let line = String::from_utf8(line).map_err(|error| error.to_string())?;
            let line = line.trim_end_matches(['\r', '\n']);
            if !line.is_empty() {
                self.event.put(line)?;
            } else if let Some((told, input)) = std::mem::take(&mut self.event).input()? {
                return Ok(Some(self.place(told, input)));
            }
        }
        Ok(is_over.then(|| Input::Closed("the end of the response".to_owned())))
    }

    fn publish(&self, _tag: Tag, _payload: &[u8]) -> Vec<u8> {
        unreachable!("nothing is published on an event stream")
    }
}

/// Moves the chunks that have come whole to `body`. Returns `true` if the last has come.
fn take_chunks(bytes: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool, String> {
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..end]);
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("no chunk: {size:?}"))?;
        let begin = end + 2;
        if bytes.len() < begin + size + 2 {
            break;
        }
        body.extend_from_slice(&bytes[begin..begin + size]);
        bytes.drain(..begin + size + 2);
        if size == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Events {
    /// Notes the position that an event has told. Where that does not follow the one before, who counts has to be told
    /// first, as over other transports.
    fn place(&mut self, told: Option<Position>, input: Input) -> Input {
        let missed = match &input {
            Input::Notice(Notice::Gap(gap)) => gap.missed,
            _ => 1,
        };
        let (before, is_welcome) = (
            self.position,
            matches!(input, Input::Notice(Notice::Welcome(_))),
        );
        let next = before.map(|before| Position {
            offset: before.offset + missed,
            ..before
        });
        let Some(told) = told else {
            if matches!(input, Input::Notice(Notice::Gap(_))) {
                self.position = next;
            }
            return input;
        };
        self.position = Some(told);
        let jumps = next.is_some_and(|next| next.epoch == told.epoch && next.offset < told.offset);
        if is_welcome || !jumps {
            return input;
        }
        self.behind_jump = Some(input);
        Input::Notice(Notice::Receipt(Receipt {
            count: 0,
            position: Position {
                offset: told.offset - missed,
                ..told
            },
        }))
    }
}

impl PartialEvent {
    fn put(&mut self, line: &str) -> Result<(), String> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let slot = match field {
            // A comment.
            "" | "retry" => return Ok(()),
            "event" => &mut self.name,
            "data" => &mut self.data,
            "id" => &mut self.id,
            _ => return Err(format!("an unknown field: {line:?}")),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(format!("a second {field} in one event")),
        }
    }

    /// Returns the whole event, and the position that it tells; `None` if it was a comment.
    fn input(self) -> Result<Option<(Option<Position>, Input)>, String> {
        let Some(data) = self.data else {
            return Ok(None);
        };
        let wrong = |error: &dyn std::fmt::Display| format!("{error} in {data:?}");
        let told = self.id.map(|id| id.parse::<Position>());
        let told = told.transpose().map_err(|error| wrong(&error))?;
        if self.name.as_deref() == Some("close") {
            return Ok(Some((told, Input::Closed(data))));
        }
        if let Some(name) = self.name.filter(|name| name != "message") {
            let value: Value = serde_json::from_str(&data).map_err(|error| wrong(&error))?;
            let notice = serde_json::from_value(json!({ name: value }));
            return notice
                .map(|notice| Some((told, Input::Notice(notice))))
                .map_err(|error| wrong(&error));
        }
        let message: EncodedMessage = serde_json::from_str(&data).map_err(|error| wrong(&error))?;
        if told.map(|told| told.offset) != Some(message.offset) {
            return Err(wrong(&format!("the id {told:?}")));
        }
        let payload = match (message.text, message.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| wrong(&error))?,
            _ => return Err(wrong(&"not either text or base64")),
        };
        let message = Input::Message {
            uid: Some(message.uid),
            payload: Some(payload),
            told,
        };
        Ok(Some((told, message)))
    }
}
