//! From WebSocket frames to runs of Mles frames.

use bytes::Bytes;

use super::closing::Closing;
use super::{WsConnection, WsSession, WsSessions};
use crate::channel::FrameRun;
use crate::protocol::{FrameHeader, HEADER_LEN, Message};
use crate::shard::allowance::{Overdrawn, Share};
use crate::shard::frame_deadline::FrameProgress;
use crate::shard::input::Scratch;
use crate::shard::session::SessionPhase;
use crate::shard::turn;
use crate::websocket::{
    FrameHead, Kind, Opcode, Part, client_frames, close_frame, parse_close, put_message_start,
    server_frame, unmask_into,
};

/// Units that what one read has brought may cost before others have their turn. A v2 message of a byte
/// may make a frame with a long name, and a frame of 30 bytes may go to thousands of members.
const READ: u32 = turn::BUDGET / 2;

/// What is on its way from the client to a channel.
#[derive(Debug, Default)]
pub(super) struct IncomingRun {
    /// Whole Mles frames, all of one member.
    bytes: Vec<u8>,
    frames: u32,
    to: Option<WsSession>,
    /// The message of which not all fragments have come; that of a body begins with room for the
    /// header.
    fragments: Vec<u8>,
    /// What that takes of the memory for incomplete messages.
    pub(super) share: Share,
    /// Counts the messages in fragments, to tell one from the next.
    message: u32,
}

impl IncomingRun {
    /// Appends to the message of which not all fragments have come. Room for it is made in steps
    /// that double, as it comes.
    fn extend(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), Overdrawn> {
        let len = self.fragments.len() + bytes.len();
        if len > self.fragments.capacity() {
            let capacity = len.max(2 * self.fragments.capacity());
            scratch.allowance.hold(&mut self.share, capacity)?;
            self.fragments
                .reserve_exact(capacity - self.fragments.len());
        }
        scratch.allowance.progressed(&self.share);
        self.fragments.extend_from_slice(bytes);
        Ok(())
    }

    fn take_fragments(&mut self, scratch: &mut Scratch) -> Vec<u8> {
        let message = std::mem::take(&mut self.fragments);
        self.release(scratch);
        message
    }

    /// Gives the memory of an incomplete message back.
    pub(super) fn release(&mut self, scratch: &mut Scratch) {
        scratch.allowance.release(&mut self.share);
        self.fragments = Vec::new();
        self.message = self.message.wrapping_add(1);
    }

    /// Returns the bytes received of an incomplete message: its fragments, and of the next frame
    /// `input`, which is all of it if there are no fragments.
    pub(super) fn received(&self, input: Option<FrameProgress>) -> Option<FrameProgress> {
        if self.fragments.is_empty() {
            return input;
        }
        Some(FrameProgress {
            frame: (self.message, 1),
            bytes: self.fragments.len() + input.map_or(0, |input| input.bytes),
        })
    }
}

impl WsConnection {
    /// Takes in whole frames of the client.
    pub(super) async fn take(&mut self, run: Bytes, frames: usize) -> Result<(), Closing> {
        // A body gets a header of 16 bytes, and has had one of 6 at least.
        self.batch
            .bytes
            .reserve(run.len() + frames * (HEADER_LEN - 6));
        let mut result = Ok(());
        for (head, payload) in client_frames(&run) {
            let before = self.batch.bytes.len();
            result = self.take_frame(&head, payload).await;
            if result.is_err() {
                break;
            }
            turn::spend(1);
            turn::spend_bytes(self.batch.bytes.len().saturating_sub(before));
            if turn::spent() >= READ {
                self.publish_batch();
                self.shard.yield_turn().await;
                if self.is_paused() {
                    Box::pin(self.pass_gates()).await?;
                }
            }
        }
        self.publish_batch();
        self.batch.bytes = Vec::new();
        result
    }

    async fn take_frame(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Closing> {
        match self.assembly.accept(head, self.max_message())? {
            Part::Whole(kind) => self.whole(kind, head, payload).await,
            Part::First(kind) | Part::Middle(kind) => self.fragment(kind, head, payload),
            Part::Last(kind) => {
                self.fragment(kind, head, payload)?;
                let message = self.take_fragments();
                self.assembled(kind, message).await
            }
            Part::Ping => {
                self.layered
                    .pong(server_frame(Opcode::Pong, &unmasked(head, payload)));
                Ok(())
            }
            Part::Pong => Ok(()),
            Part::Close => {
                let payload = unmasked(head, payload);
                let answer = match parse_close(&payload)? {
                    Some((code, _)) => close_frame(code, ""),
                    None => server_frame(Opcode::Close, &[]),
                };
                self.layered.close(answer);
                Err(Closing::Closed)
            }
        }
    }

    /// A message in one frame: its payload is unmasked where it is needed.
    async fn whole(&mut self, kind: Kind, head: &FrameHead, payload: &[u8]) -> Result<(), Closing> {
        let start = self.batch.bytes.len();
        match &self.seats {
            WsSessions::None => Box::pin(self.first(kind, &unmasked(head, payload))).await,
            WsSessions::Many(_) => {
                check_is_body(kind)?;
                self.batch.bytes.extend_from_slice(&[0; HEADER_LEN]);
                unmask_into(&mut self.batch.bytes, payload, head.mask);
                self.body(start).await
            }
            WsSessions::One(seat) => {
                let from = self.batch.begin(seat, kind, payload.len())?;
                unmask_into(&mut self.batch.bytes, payload, head.mask);
                if kind == Kind::Text
                    && let Err(error) = self.assembly.check_text(&self.batch.bytes[from..], true)
                {
                    self.batch.bytes.truncate(start);
                    return Err(error.into());
                }
                self.batch.frames += 1;
                Ok(())
            }
        }
    }

    /// A part of a message.
    fn fragment(&mut self, kind: Kind, head: &FrameHead, payload: &[u8]) -> Result<(), Closing> {
        if let WsSessions::Many(_) = self.seats {
            check_is_body(kind)?;
        }
        let payload = unmasked(head, payload);
        if kind == Kind::Text {
            self.assembly.check_text(&payload, head.fin)?;
        }
        let shard = self.shard.clone();
        let mut scratch = shard.scratch_of(self.has_joined()).borrow_mut();
        self.batch
            .extend(&payload, &mut scratch)
            .map_err(|_| Closing::Overdrawn)
    }

    fn take_fragments(&mut self) -> Vec<u8> {
        let has_joined = self.has_joined();
        let scratch = &mut self.shard.scratch_of(has_joined).borrow_mut();
        self.batch.take_fragments(scratch)
    }

    /// A message whose fragments have all come.
    async fn assembled(&mut self, kind: Kind, message: Vec<u8>) -> Result<(), Closing> {
        let start = self.batch.bytes.len();
        match &self.seats {
            WsSessions::None => Box::pin(self.first(kind, &message)).await,
            WsSessions::Many(_) => {
                self.batch.bytes.extend_from_slice(&[0; HEADER_LEN]);
                self.batch.bytes.extend_from_slice(&message);
                self.body(start).await
            }
            WsSessions::One(seat) => {
                self.batch.begin(seat, kind, message.len())?;
                self.batch.bytes.extend_from_slice(&message);
                self.batch.frames += 1;
                Ok(())
            }
        }
    }

    /// The batch ends with room for a header at `start` and a body of v1 behind it.
    async fn body(&mut self, start: usize) -> Result<(), Closing> {
        let body = &self.batch.bytes[start + HEADER_LEN..];
        if let Some(to) = &self.batch.to
            && to.names.begins(body)
        {
            self.batch.head_last(start);
            return Ok(());
        }
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error) => {
                self.batch.bytes.truncate(start);
                return Err(Closing::bad_body(&error));
            }
        };
        let is_next = self.batch.to.as_ref().is_some_and(|to| to.is_of(&message));
        if !is_next {
            let WsSessions::Many(seats) = &self.seats else {
                return Ok(());
            };
            let seat = seats
                .get(message.channel)
                .and_then(|of| of.get(message.uid));
            let seat = seat.cloned();
            let tail = self.batch.bytes.split_off(start);
            self.publish_batch();
            let Some(seat) = seat else {
                return Box::pin(self.join_pair(tail)).await;
            };
            self.batch.bytes = tail;
            self.batch.to = Some(seat);
        }
        self.batch.head_last(if is_next { start } else { 0 });
        Ok(())
    }

    /// Publishes the frames that have been put together.
    pub(super) fn publish_batch(&mut self) {
        let frames = std::mem::take(&mut self.batch.frames);
        let mut bytes = std::mem::take(&mut self.batch.bytes);
        let Some(seat) = self.batch.to.take().filter(|_| frames > 0) else {
            return;
        };
        if seat.session.phase.get() == SessionPhase::Over {
            // Its channel may be gone, and another in its place.
            return self.shard.stats().orphaned_frames.add(frames.into());
        }
        // Queues count lengths, so no run may keep much more alive than it holds.
        if bytes.capacity() > 2 * bytes.len() {
            bytes.shrink_to_fit();
        }
        turn::spend(turn::MESSAGE);
        let capacity = bytes.capacity();
        let run = FrameRun::slice_of(bytes.into(), frames, capacity);
        self.shard.publish(&seat.session, run);
    }
}

impl IncomingRun {
    /// Begins a frame of v2 and returns where its payload begins.
    fn begin(&mut self, seat: &WsSession, kind: Kind, payload: usize) -> Result<usize, Closing> {
        let holder = (seat.session.cid, seat.key);
        put_message_start(&mut self.bytes, holder, &seat.names, kind, payload)
            .map_err(|error| Closing::bad_body(&error))?;
        if self.to.is_none() {
            self.to = Some(seat.clone());
        }
        Ok(self.bytes.len())
    }

    /// Writes the header of the last frame, which begins at `start`.
    fn head_last(&mut self, start: usize) {
        let Some(seat) = &self.to else {
            return;
        };
        let header = FrameHeader {
            body_len: self.bytes.len() - start - HEADER_LEN,
            cid: seat.session.cid,
            key: seat.key,
        };
        self.bytes[start..start + HEADER_LEN].copy_from_slice(&header.encode());
        self.frames += 1;
    }
}

impl WsSession {
    fn is_of(&self, message: &Message<'_>) -> bool {
        *self.session.uid == *message.uid && *self.session.channel == *message.channel
    }
}

fn unmasked(head: &FrameHead, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    unmask_into(&mut out, payload, head.mask);
    out
}

fn check_is_body(kind: Kind) -> Result<(), Closing> {
    match kind {
        Kind::Binary => Ok(()),
        Kind::Text => Err(Closing::text_among_bodies()),
    }
}
