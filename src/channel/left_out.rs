//! What is taken out of a queue unsent, and how a member that has asked for positions is told.

use bytes::{Bytes, BytesMut};

use super::encoding::{FRAMES, Unit};
use super::form::{Form, Tracking, messages};
use super::outbox::Dropped;
use crate::protocol::{Notice, Position};

/// The units that are left out of a queue, from its front on.
///
/// To a member that counts they become at most three notices: a gap for what was before its last receipt, that receipt,
/// and a gap for what was behind it. Where offsets jump, a fourth says before that gap where it begins. Notices that were
/// there are left out like messages, and are part of the new ones, so that nothing is told twice, and there are never more.
/// Its welcome stays, and so do what it was told last of its rights and of its token, and that the server is stopping.
pub(super) struct LeftOut<'a> {
    form: &'a Form,
    pub(super) dropped: Dropped,
    welcome: Option<Bytes>,
    /// Messages of others before the last receipt.
    before: u64,
    /// The receipts as one: how many messages of the member itself, and the position of the last.
    own: Option<(u64, Position)>,
    /// Set if messages of these receipts may not follow one another.
    is_apart: bool,
    /// The position that it is told of last, if that is behind the receipts: from there on it counts.
    jump: Option<Position>,
    /// Messages behind the last receipt, or that position.
    after: u64,
    /// Set if a notice about members is among them.
    pub(super) members: bool,
    /// That the session is about to end, which stays.
    stopping: Option<Bytes>,
    /// The last that it was told of its rights, which stays.
    rights: Option<Bytes>,
    /// The last that it was told of its token, which stays.
    token: Option<Bytes>,
}

impl<'a> LeftOut<'a> {
    pub(super) fn new(form: &'a Form) -> Self {
        Self {
            form,
            dropped: Dropped::default(),
            welcome: None,
            before: 0,
            own: None,
            is_apart: false,
            jump: None,
            after: 0,
            members: false,
            stopping: None,
            rights: None,
            token: None,
        }
    }

    /// Leaves the unit at the start of `run` out. Returns its length.
    pub(super) fn add_first_of(&mut self, run: &[u8]) -> usize {
        let len = self.form.encoding.unit_len(run).unwrap_or(run.len());
        match &self.form.tracking {
            Some(tracking) => self.add(tracking, &run[..len]),
            None => self.count(1, len),
        }
        len
    }

    /// Leaves frames of a history out that are not encoded yet, or the notice in front of some that says where they begin.
    pub(super) fn add_history(&mut self, run: &Bytes) {
        if let Some(Notice::Receipt { count, position }) = Notice::decode(run) {
            self.count(1, run.len());
            return self.add_receipt(count, position);
        }
        let (mut at, mut frames) = (0, 0);
        while at < run.len() {
            at += FRAMES.unit_len(&run[at..]).unwrap_or(run.len() - at);
            frames += 1;
        }
        self.count(frames, run.len());
        if self.form.tracking.is_some() {
            self.after += messages(run);
        }
    }

    fn count(&mut self, frames: usize, bytes: usize) {
        self.dropped.frames += frames;
        self.dropped.bytes += bytes;
    }

    fn add(&mut self, tracking: &Tracking, unit: &[u8]) {
        let notice = match (tracking.notices.read)(unit) {
            Unit::Notice(notice) => notice,
            Unit::Hint => return self.count(1, unit.len()),
            Unit::Message => {
                self.after += 1;
                return self.count(1, unit.len());
            }
        };
        match notice {
            Notice::Welcome(_) => self.welcome = Some(Bytes::copy_from_slice(unit)),
            Notice::Receipt { count, position } => self.add_receipt(count, position),
            Notice::Gap { missed, members } => {
                self.after += missed;
                self.members |= members;
            }
            Notice::Members { .. } | Notice::Changes { .. } => self.members = true,
            Notice::Rights { .. } => self.rights = Some(Bytes::copy_from_slice(unit)),
            // Nothing is queued behind it, and nothing of it is kept.
            Notice::Close { .. } => {}
            Notice::Token { .. } => self.token = Some(Bytes::copy_from_slice(unit)),
            Notice::Stopping { .. } => self.stopping = Some(Bytes::copy_from_slice(unit)),
        }
    }

    fn add_receipt(&mut self, count: u64, position: Position) {
        self.before += std::mem::take(&mut self.after);
        if count == 0 {
            self.jump = Some(position);
            return;
        }
        self.is_apart |= self
            .own
            .is_some_and(|(_, last)| last.offset + count != position.offset);
        let before = self.own.map_or(0, |(count, _)| count);
        self.own = Some((before + count, position));
        self.jump = None;
    }

    /// Returns the notices that tell of it; empty for a member that has not asked for positions.
    pub(super) fn notices(&self) -> Bytes {
        let Some(tracking) = &self.form.tracking else {
            return Bytes::new();
        };
        let mut out = BytesMut::new();
        out.extend_from_slice(self.welcome.as_deref().unwrap_or_default());
        let mut put = |notice: &Notice| out.extend_from_slice(&tracking.encode(notice));
        if self.before > 0 || self.is_apart {
            put(&Notice::Gap {
                missed: self.before,
                members: false,
            });
        }
        if let Some((count, position)) = self.own {
            put(&Notice::Receipt { count, position });
        }
        if let Some(position) = self.jump {
            put(&Notice::jump_to(position));
        }
        if self.after > 0 || self.members {
            put(&Notice::Gap {
                missed: self.after,
                members: self.members,
            });
        }
        out.extend_from_slice(self.rights.as_deref().unwrap_or_default());
        out.extend_from_slice(self.token.as_deref().unwrap_or_default());
        out.extend_from_slice(self.stopping.as_deref().unwrap_or_default());
        out.freeze()
    }
}
