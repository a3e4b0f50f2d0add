//! v1 over TCP and TLS: frames.

use mles::protocol::{Cid, FrameHeader, HEADER_LEN, Key, Message, encode_frame, frame_len};

use super::{Ask, CHANNEL, Input, Wire, join_body, message_in};
use crate::notice::Notice;
use crate::payload::Tag;

/// Takes the place of a key where the server has no secret.
const KEY: Key = Key(0);

pub struct Frames {
    cid: Cid,
    uid: String,
    asks: bool,
}

impl Frames {
    pub fn new() -> Self {
        Self {
            cid: Cid(0),
            uid: String::new(),
            asks: false,
        }
    }
}

/// Returns a frame around a body.
pub fn frame(cid: Cid, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid,
        key: KEY,
    };
    [&header.encode()[..], body].concat()
}

impl Wire for Frames {
    fn open(&mut self, ask: &Ask) -> Vec<u8> {
        self.cid = ask.cid;
        self.uid.clone_from(&ask.uid);
        self.asks = ask.resume.is_some();
        frame(ask.cid, &join_body(ask))
    }

    fn take(&mut self, bytes: &mut Vec<u8>, _out: &mut Vec<u8>) -> Result<Option<Input>, String> {
        loop {
            let Some(len) = frame_len(bytes).filter(|&len| len <= bytes.len()) else {
                return Ok(None);
            };
            let frame: Vec<u8> = bytes.drain(..len).collect();
            let body = &frame[HEADER_LEN..];
            let input = match frame[0] {
                b'M' => message_in(body)?,
                b'N' if self.asks => {
                    if frame[4..HEADER_LEN] != [0; HEADER_LEN - 4] {
                        return Err(format!("a notice with a cid or a key: {frame:?}"));
                    }
                    let notice: Notice = ciborium::from_reader(body)
                        .map_err(|error| format!("no notice ({error}): {body:?}"))?;
                    Some(Input::Notice(notice))
                }
                _ => return Err(format!("no frame that was asked for: {frame:?}")),
            };
            if input.is_some() {
                return Ok(input);
            }
        }
    }

    fn publish(&self, _tag: Tag, payload: &[u8]) -> Vec<u8> {
        let message = Message {
            uid: &self.uid,
            channel: CHANNEL,
            message: payload,
        };
        encode_frame(self.cid, KEY, &message).unwrap().to_vec()
    }
}
