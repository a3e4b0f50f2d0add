//! The messages of a session that asks for positions, until they have taken their place.

use crate::client::identity::{Names, SessionIdentity};
use crate::client::write_buffer::AUTO_FLUSH;
use crate::protocol::{BodyError, MessageCounter, Position, frame_len, frames, is_presence};

/// From this many bytes on that are written and not confirmed, publishing waits for receipts.
pub(super) const MAX_UNCONFIRMED: usize = 1 << 20;

/// Whole frames back to back: first what is written and may have to be sent again, then what waits to be written.
///
/// Hints of presence, which nobody confirms, are kept only while they stand behind a message that is.
#[derive(Debug)]
pub(in crate::client) struct Outgoing {
    names: Names,
    identity: SessionIdentity,
    frames: Vec<u8>,
    /// Where the frames begin: what is before is confirmed, and its memory not yet used again.
    start: usize,
    /// How far the present connection has taken them.
    written: usize,
    /// How far any connection has taken them, in whole frames.
    sent: usize,
    /// `true` if what is written is kept until it is confirmed.
    keeps: bool,
    /// Number of messages that have taken their place and are kept no longer, but are not confirmed: their positions
    /// come with the replay.
    due: u64,
    /// Number of messages behind those of which nobody knows what has become.
    lost: u64,
    /// Number of messages that the user has published.
    taken: u64,
    /// Number of those that are confirmed or given up.
    settled: u64,
    /// The message whose user waits for its position.
    awaited: Option<Awaited>,
}

/// A message whose user waits for its position.
#[derive(Debug)]
struct Awaited {
    number: u64,
    outcome: Option<Outcome>,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed(Position),
    /// It may have taken its place or not.
    Unknown,
}

impl Outgoing {
    /// Begins with nothing published. What is written is kept only if `keeps` says so.
    pub(super) fn new(names: Names, identity: SessionIdentity, keeps: bool) -> Self {
        Self {
            names,
            identity,
            frames: Vec::new(),
            start: 0,
            written: 0,
            sent: 0,
            keeps,
            due: 0,
            lost: 0,
            taken: 0,
            settled: 0,
            awaited: None,
        }
    }

    pub(super) const fn identity(&self) -> SessionIdentity {
        self.identity
    }

    /// Encodes a message as it would be sent now.
    pub(in crate::client) fn encode(&self, message: &[u8]) -> Result<Vec<u8>, BodyError> {
        let mut frame = Vec::new();
        self.identity
            .encode_into(&self.names, message, &mut frame)?;
        Ok(frame)
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// It is too large: nothing was done.
    pub(super) fn push(&mut self, message: &[u8]) -> Result<(), BodyError> {
        self.reclaim();
        let at = self.frames.len();
        self.identity
            .encode_into(&self.names, message, &mut self.frames)?;
        if !is_presence(&self.frames[at..]) {
            self.taken += 1;
        }
        Ok(())
    }

    /// Queues whole frames.
    pub(super) fn push_frames(&mut self, run: &[u8]) {
        self.reclaim();
        self.taken += count_messages(run);
        self.frames.extend_from_slice(run);
    }

    /// Notes that a join has carried the first message.
    pub(super) fn first_was_sent(&mut self) {
        if let Some(len) = frame_len(&self.frames[self.start..]) {
            self.advance(len);
        }
    }

    /// Forgets what waits to be written.
    pub(super) fn forget_unwritten(&mut self) {
        let end = self.start + whole_frames(&self.frames[self.start..self.written]);
        if end < self.written {
            return;
        }
        self.frames.truncate(self.written.max(self.sent));
    }

    /// Waits for the position of the message that was queued last.
    pub(super) fn await_last(&mut self) {
        self.awaited = Some(Awaited {
            number: self.taken,
            outcome: None,
        });
    }

    /// Returns what has become of the message that is waited for, once that is known.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.awaited.as_ref().and_then(|awaited| awaited.outcome)
    }

    /// Returns what is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.frames[self.written..]
    }

    /// Returns how many bytes are left of the frame that the connection has taken a part of.
    pub(super) fn rest_of_frame(&self) -> usize {
        let at = self.start + whole_frames(&self.frames[self.start..self.written]);
        if at == self.written {
            return 0;
        }
        let len = frame_len(&self.frames[at..]).unwrap_or_default();
        (at + len).saturating_sub(self.written)
    }

    /// Returns `true` if publishing has to wait until something is written or confirmed.
    pub(super) const fn is_full(&self) -> bool {
        let unwritten = self.frames.len() - self.written;
        unwritten >= AUTO_FLUSH || (self.keeps && self.written - self.start >= MAX_UNCONFIRMED)
    }

    /// Returns `true` if something was sent on an earlier connection whose fate is not known.
    pub(super) const fn is_in_flight(&self) -> bool {
        self.sent > self.start
    }

    /// Notes that the next `len` bytes were written.
    pub(super) fn advance(&mut self, len: usize) {
        self.written += len;
        if self.keeps {
            self.drop_hints();
        } else if self.written == self.frames.len() {
            self.drop_until(self.written);
        }
    }

    /// Begins again on another connection, as `identity`, and keeps what is written there if `keeps` says so. Nothing
    /// may be written before [`settle`](Self::settle) or [`release`](Self::release) if something is in flight.
    pub(super) fn rewind(&mut self, identity: SessionIdentity, keeps: bool) {
        self.identity = identity;
        let taken_whole = self.start + whole_frames(&self.frames[self.start..self.written]);
        self.sent = self.sent.max(taken_whole);
        if !self.keeps {
            // Nobody tells what became of it.
            self.drop_until(self.sent);
            self.settled = self.taken - count_messages(&self.frames[self.start..]);
        }
        self.keeps = keeps;
        self.written = self.start;
        let mut rest = &mut self.frames[self.start..];
        while let Some(len) = frame_len(rest).filter(|&len| len <= rest.len()) {
            let (frame, after) = rest.split_at_mut(len);
            identity.stamp(frame);
            rest = after;
        }
    }

    /// Settles what is in flight: the first `count` messages have taken their place, and are confirmed when their
    /// positions are known. The rest is sent again.
    pub(super) fn settle(&mut self, count: u64) {
        let count = count.min(count_messages(&self.frames[self.start..self.sent]));
        self.drop_messages(count);
        self.due += count;
        self.sent = self.start;
    }

    /// Returns the number of messages that have taken their place and are not confirmed.
    pub(super) const fn due(&self) -> u64 {
        self.due
    }

    /// Gives up what is in flight: it is not sent again.
    pub(super) fn give_up(&mut self) {
        self.lost += count_messages(&self.frames[self.start..self.sent]);
        self.drop_until(self.sent);
    }

    /// Returns the number of messages that were given up, once those before them are confirmed.
    pub(super) fn take_lost(&mut self) -> u64 {
        if self.due > 0 {
            return 0;
        }
        let lost = std::mem::take(&mut self.lost);
        self.settled += lost;
        if let Some(awaited) = &mut self.awaited
            && awaited.outcome.is_none()
            && awaited.number <= self.settled
        {
            awaited.outcome = Some(Outcome::Unknown);
        }
        lost
    }

    /// Keeps nothing that is written from now on: nobody confirms it.
    pub(super) fn release(&mut self) {
        self.keeps = false;
        let whole = whole_frames(&self.frames[self.start..self.written]);
        self.drop_until(self.start + whole);
    }

    /// Confirms the next `count` messages, of which the last is at `position`. Returns how many there were.
    pub(super) fn confirm(&mut self, count: u64, position: Position) -> u64 {
        let count = count.min(self.taken - self.settled);
        let last = self.settled + count;
        if let Some(awaited) = &mut self.awaited
            && awaited.outcome.is_none()
            && (self.settled + 1..=last).contains(&awaited.number)
        {
            let behind = last - awaited.number;
            awaited.outcome = Some(Outcome::Confirmed(Position {
                epoch: position.epoch,
                offset: position.offset.saturating_sub(behind),
            }));
        }
        self.settled = last;
        let due = count.min(self.due);
        self.due -= due;
        if self.keeps {
            self.drop_messages(count - due);
            self.drop_hints();
        }
        count
    }

    /// Drops the first `count` messages, and hints between them.
    fn drop_messages(&mut self, count: u64) {
        let mut messages = MessageCounter::default();
        let mut left = count;
        let mut end = self.start;
        for frame in frames(&self.frames[self.start..]) {
            if left == 0 {
                break;
            }
            end += frame.len();
            left -= u64::from(messages.is_message(frame));
        }
        self.drop_until(end);
    }

    /// Drops the hints of presence that were written and are first.
    fn drop_hints(&mut self) {
        while let Some(len) = frame_len(&self.frames[self.start..])
            && self.start + len <= self.written
            && is_presence(&self.frames[self.start..self.start + len])
        {
            self.drop_until(self.start + len);
        }
    }

    /// Drops the frames before `end`.
    fn drop_until(&mut self, end: usize) {
        self.start = end;
        self.written = self.written.max(end);
        self.sent = self.sent.max(end);
    }

    /// Frees the memory of what was dropped, if that is worth it.
    fn reclaim(&mut self) {
        let kept = self.frames.len() - self.start;
        if kept > self.start {
            return;
        }
        self.frames.drain(..self.start);
        if self.frames.capacity() > 2 * AUTO_FLUSH + 2 * kept {
            self.frames.shrink_to(AUTO_FLUSH + kept);
        }
        (self.written, self.sent) = (self.written - self.start, self.sent - self.start);
        self.start = 0;
    }
}

fn count_messages(run: &[u8]) -> u64 {
    let mut messages = MessageCounter::default();
    let count = frames(run)
        .filter(|frame| messages.is_message(frame))
        .count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Returns the length of the whole frames at the start of `run`.
fn whole_frames(run: &[u8]) -> usize {
    frames(run).map(<[u8]>::len).sum()
}
