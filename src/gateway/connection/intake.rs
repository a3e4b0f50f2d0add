//! Turns WebSocket frames of a client into runs of Mles frames.

use bytes::Bytes;

use super::closing::Closing;
use super::{WsConnection, WsSession, WsSessions};
use crate::channel::FrameRun;
use crate::protocol::{FrameHeader, HEADER_LEN, Message};
use crate::shard::allowance::{Overdrawn, Share};
use crate::shard::frame_deadline::FrameProgress;
use crate::shard::input::Scratch;
use crate::shard::turn;
use crate::websocket::{
    FrameHead, Kind, Opcode, Part, client_frames, close_frame, parse_close, put_message_start,
    server_frame, unmask_into,
};

/// Units that what one read has brought may cost before others have their turn. A v2 message of a byte
/// may make a frame with a long name, and a frame of 30 bytes may go to thousands of members.
const READ: u32 = turn::BUDGET / 2;

/// Input of a client that is not published yet.
#[derive(Debug, Default)]
pub(super) struct IncomingRun {
    /// Whole Mles frames, all of one session.
    bytes: Vec<u8>,
    /// Number of frames.
    frames: u32,
    /// The session that sends them.
    to: Option<WsSession>,
    /// The message of which not all fragments have come; that of a body begins with room for the
    /// header.
    fragments: Vec<u8>,
    /// Its part of the memory for incomplete messages.
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
    /// Takes in whole frames of the client, and publishes the messages in them.
    pub(super) async fn take(&mut self, run: Bytes, frames: usize) -> Result<(), Closing> {
        // A body gets a header of 16 bytes, and has had one of 6 at least.
        self.incoming
            .bytes
            .reserve(run.len() + frames * (HEADER_LEN - 6));
        let mut result = Ok(());
        for (head, payload) in client_frames(&run) {
            let before = self.incoming.bytes.len();
            result = self.take_frame(&head, payload).await;
            if result.is_err() {
                break;
            }
            turn::spend(1);
            turn::spend_bytes(self.incoming.bytes.len().saturating_sub(before));
            if turn::spent() >= READ {
                self.publish_incoming();
                self.shard.yield_turn().await;
                if self.is_paused() {
                    Box::pin(self.wait_for_pauses()).await?;
                }
            }
        }
        self.publish_incoming();
        self.incoming.bytes = Vec::new();
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

    /// Takes a message in one frame, whose payload is unmasked where it is needed.
    async fn whole(&mut self, kind: Kind, head: &FrameHead, payload: &[u8]) -> Result<(), Closing> {
        let start = self.incoming.bytes.len();
        match &self.sessions {
            WsSessions::None => Box::pin(self.first(kind, &unmasked(head, payload))).await,
            WsSessions::Many(_) if kind == Kind::Text => self.take_text(&unmasked(head, payload)),
            WsSessions::Many(_) => {
                self.incoming.bytes.extend_from_slice(&[0; HEADER_LEN]);
                unmask_into(&mut self.incoming.bytes, payload, head.mask);
                self.body(start).await
            }
            WsSessions::One(member) => {
                let from = self.incoming.begin(member, kind, payload.len())?;
                unmask_into(&mut self.incoming.bytes, payload, head.mask);
                if kind == Kind::Text
                    && let Err(error) = self.assembly.check_text(&self.incoming.bytes[from..], true)
                {
                    self.incoming.bytes.truncate(start);
                    return Err(error.into());
                }
                self.incoming.frames += 1;
                Ok(())
            }
            WsSessions::Marked(_) => {
                let message = unmasked(head, payload);
                if kind == Kind::Text {
                    self.assembly.check_text(&message, true)?;
                }
                self.take_marked(kind, &message)
            }
        }
    }

    /// Takes a part of a message.
    fn fragment(&mut self, kind: Kind, head: &FrameHead, payload: &[u8]) -> Result<(), Closing> {
        if kind == Kind::Text
            && let WsSessions::Many(_) = self.sessions
        {
            self.check_takes_text()?;
        }
        let payload = unmasked(head, payload);
        if kind == Kind::Text {
            self.assembly.check_text(&payload, head.fin)?;
        }
        let shard = self.shard.clone();
        let mut scratch = shard.scratch_of(self.has_joined()).borrow_mut();
        self.incoming
            .extend(&payload, &mut scratch)
            .map_err(|_| Closing::Overdrawn)
    }

    fn take_fragments(&mut self) -> Vec<u8> {
        let has_joined = self.has_joined();
        let scratch = &mut self.shard.scratch_of(has_joined).borrow_mut();
        self.incoming.take_fragments(scratch)
    }

    /// Takes a message whose fragments have all come.
    async fn assembled(&mut self, kind: Kind, message: Vec<u8>) -> Result<(), Closing> {
        let start = self.incoming.bytes.len();
        match &self.sessions {
            WsSessions::None => Box::pin(self.first(kind, &message)).await,
            WsSessions::Many(_) if kind == Kind::Text => self.take_text(&message),
            WsSessions::Many(_) => {
                self.incoming.bytes.extend_from_slice(&[0; HEADER_LEN]);
                self.incoming.bytes.extend_from_slice(&message);
                self.body(start).await
            }
            WsSessions::One(member) => self.incoming.put(member, kind, &message),
            WsSessions::Marked(_) => self.take_marked(kind, &message),
        }
    }

    /// Takes a body of Mles v1, which is the last of what is incoming, behind room for a header at `start`.
    async fn body(&mut self, start: usize) -> Result<(), Closing> {
        let body = &self.incoming.bytes[start + HEADER_LEN..];
        if let Some(to) = &self.incoming.to
            && to.names.begins(body)
        {
            self.incoming.head_last(start);
            return Ok(());
        }
        let Ok(message) = Message::decode(body) else {
            // It may ask for positions, as a first body may. If it does not, that is the place to say what is wrong.
            let tail = self.incoming.bytes.split_off(start);
            self.publish_incoming();
            return Box::pin(self.join_pair(tail)).await;
        };
        let is_next = self
            .incoming
            .to
            .as_ref()
            .is_some_and(|to| to.is_of(&message));
        if !is_next {
            let WsSessions::Many(sessions) = &self.sessions else {
                return Ok(());
            };
            let session = sessions
                .get(message.channel)
                .and_then(|of| of.get(message.uid));
            let session = session.cloned();
            let tail = self.incoming.bytes.split_off(start);
            self.publish_incoming();
            let Some(session) = session else {
                return Box::pin(self.join_pair(tail)).await;
            };
            self.incoming.bytes = tail;
            self.incoming.to = Some(session);
        }
        self.incoming.head_last(if is_next { start } else { 0 });
        Ok(())
    }

    /// Publishes the frames that have been put together.
    pub(super) fn publish_incoming(&mut self) {
        let frames = std::mem::take(&mut self.incoming.frames);
        let mut bytes = std::mem::take(&mut self.incoming.bytes);
        let Some(member) = self.incoming.to.take().filter(|_| frames > 0) else {
            return;
        };
        if member.session.is_over() {
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
        self.shard.publish(&member.session, run);
    }
}

impl IncomingRun {
    /// Takes a message of v2.
    pub(super) fn put(
        &mut self,
        member: &WsSession,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), Closing> {
        self.begin(member, kind, payload.len())?;
        self.bytes.extend_from_slice(payload);
        self.frames += 1;
        Ok(())
    }

    /// Begins a frame of v2 and returns where its payload begins.
    fn begin(&mut self, member: &WsSession, kind: Kind, payload: usize) -> Result<usize, Closing> {
        let holder = (member.session.cid(), member.key);
        put_message_start(&mut self.bytes, holder, &member.names, kind, payload)
            .map_err(|error| Closing::bad_body(&error))?;
        if self.to.is_none() {
            self.to = Some(member.clone());
        }
        Ok(self.bytes.len())
    }

    /// Writes the header of the last frame, which begins at `start`.
    fn head_last(&mut self, start: usize) {
        let Some(member) = &self.to else {
            return;
        };
        let header = FrameHeader {
            body_len: self.bytes.len() - start - HEADER_LEN,
            cid: member.session.cid(),
            key: member.key,
        };
        self.bytes[start..start + HEADER_LEN].copy_from_slice(&header.encode());
        self.frames += 1;
    }
}

impl WsSession {
    fn is_of(&self, message: &Message<'_>) -> bool {
        self.session.is_of(message.uid, message.channel)
    }
}

pub(super) fn unmasked(head: &FrameHead, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    unmask_into(&mut out, payload, head.mask);
    out
}
