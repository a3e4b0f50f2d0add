//! Frames and runs for tests of the channel core.

use bytes::Bytes;
use mles::channel::FrameRun;
use mles::protocol::{Cid, Key, Message, encode_frame};

/// Makes frames that are all different.
#[derive(Debug, Default)]
pub struct Frames {
    made: u64,
}

impl Frames {
    /// A frame with a payload of at least eight bytes.
    pub fn frame(&mut self, payload: usize) -> Bytes {
        self.made += 1;
        let mut message = self.made.to_be_bytes().to_vec();
        message.resize(payload.max(8), 0xA5);
        let message = Message {
            uid: "u",
            channel: "c",
            message: &message,
        };
        encode_frame(Cid(1), Key(2), &message).unwrap()
    }

    /// One frame for each payload length.
    pub fn frames(&mut self, payloads: &[usize]) -> Vec<Bytes> {
        payloads.iter().map(|&len| self.frame(len)).collect()
    }
}

/// The frames as one run with a buffer of its own.
pub fn run(frames: &[Bytes]) -> FrameRun {
    FrameRun::exact(frames.concat().into(), u32::try_from(frames.len()).unwrap())
}
