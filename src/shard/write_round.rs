//! One pass of writes over members of a channel, and what is counted of it.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::labels::Transport;
use super::session::Session;
use super::stats::ShardStats;
use super::turn;
use crate::channel::{ChannelSettings, FRAMES, Member};

/// Writes to members of one channel in a row. What is written is counted for all of them at once, by transport: few
/// channels have members of more than one.
pub(super) struct WriteRound<'a> {
    stats: &'a ShardStats,
    pub(super) settings: &'a ChannelSettings,
    pub(super) now: Instant,
    /// Transport of the members that were written to last.
    transport: Transport,
    /// Writes to them.
    writes: u32,
    /// Bytes that they took.
    bytes: usize,
}

impl<'a> WriteRound<'a> {
    pub(super) fn new(stats: &'a ShardStats, settings: &'a ChannelSettings, now: Instant) -> Self {
        Self {
            stats,
            settings,
            now,
            transport: Transport::Tcp,
            writes: 0,
            bytes: 0,
        }
    }

    /// Writes to a member once, and returns how many bytes of its queue are done with.
    #[inline]
    pub(super) fn write(&mut self, member: &Member<Rc<Session>>) -> io::Result<usize> {
        if has_all(member) {
            return Ok(0);
        }
        let session = &member.handle;
        let result = session.writer.try_write(member.session, &member.outbox);
        let Ok(n) = result else {
            turn::spend(turn::SYSTEM_CALL);
            return result;
        };
        if session.transport != self.transport {
            self.count();
            self.transport = session.transport;
        }
        self.writes += 1;
        self.bytes += n;
        turn::spend_write(n);
        if member.encoding() != &FRAMES {
            // They were made of frames.
            turn::spend_bytes(n);
        }
        result
    }

    /// Counts what was written.
    fn count(&mut self) {
        let (writes, bytes) = (
            std::mem::take(&mut self.writes),
            std::mem::take(&mut self.bytes),
        );
        if writes > 0 {
            self.stats.writes.of(self.transport).add(writes.into());
            self.stats.bytes_out.of(self.transport).add(bytes as u64);
        }
    }
}

impl Drop for WriteRound<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

/// Returns `true` if everything that was queued for a member is in its socket.
#[inline]
pub(super) fn has_all(member: &Member<Rc<Session>>) -> bool {
    if !member.outbox.is_empty() {
        return false;
    }
    let Some(layered) = member.handle.writer.layered() else {
        return true;
    };
    let is_clear = layered.is_clear();
    if is_clear {
        layered.wait_no_more(member.session);
    }
    is_clear
}
