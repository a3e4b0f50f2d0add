//! In which form frames are queued for a member.

use std::cell::OnceCell;

use bytes::Bytes;

use super::run::FrameRun;
use crate::protocol::frame_len;
use crate::websocket::{bodies_run, payloads_run, server_frame_len};

/// What a member's queue is made of: units that may not be torn apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Frames as they came.
    #[default]
    Frames,
    /// WebSocket messages that each hold the body of a frame.
    Bodies,
    /// WebSocket messages that each hold what a frame's message says. Hints of presence are left
    /// out.
    Payloads,
}

impl Encoding {
    /// Length of the unit at the start of `bytes`; `None` if its head is cut.
    #[must_use]
    pub fn unit_len(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Frames => frame_len(bytes),
            Self::Bodies | Self::Payloads => server_frame_len(bytes),
        }
    }

    /// Whole frames in this form, and how many units that makes.
    pub(super) fn make(self, frames: &Bytes) -> (Bytes, u32) {
        match self {
            Self::Frames => {
                let count = crate::protocol::frames(frames).count();
                (frames.clone(), u32::try_from(count).unwrap_or(u32::MAX))
            }
            Self::Bodies => bodies_run(frames),
            Self::Payloads => payloads_run(frames),
        }
    }
}

/// One run in all forms that are asked for, each made once however many members take it.
pub(super) struct Prepared<'a> {
    run: &'a FrameRun,
    bodies: OnceCell<(Bytes, u32)>,
    payloads: OnceCell<(Bytes, u32)>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(run: &'a FrameRun) -> Self {
        Self {
            run,
            bodies: OnceCell::new(),
            payloads: OnceCell::new(),
        }
    }

    /// The run in `encoding`, and how many units that is.
    pub(super) fn get(&self, encoding: Encoding) -> (Bytes, u32) {
        let cell = match encoding {
            Encoding::Frames => {
                let frames = u32::try_from(self.run.frames()).unwrap_or(u32::MAX);
                return (self.run.bytes().clone(), frames);
            }
            Encoding::Bodies => &self.bodies,
            Encoding::Payloads => &self.payloads,
        };
        cell.get_or_init(|| encoding.make(self.run.bytes())).clone()
    }

    /// The same without the first `skip` bytes of the run.
    pub(super) fn get_behind(&self, skip: usize, encoding: Encoding) -> (Bytes, u32) {
        if skip >= self.run.bytes().len() {
            return (Bytes::new(), 0);
        }
        encoding.make(&self.run.bytes().slice(skip..))
    }
}
