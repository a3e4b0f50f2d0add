//! Late frames: what a server below has brought that may be old, on its way up.
//!
//! The upstream may have got them another way: through a server that was in this one's place, or this
//! one itself before it was restarted. So they go up in a form of their own, in which it compares them
//! with all that it remembers, and with which they cost little more than they came in with. Where there is
//! no session they stay in the history, marked as old, and go up with the next resync. A v1 server
//! does not compare: to it they are frames like any others.

use std::rc::Rc;

use bytes::Bytes;

use super::Uplink;
use crate::channel::{Fanout, FrameRun, MemberKey};
use crate::peer::merge::MergeItem;
use crate::protocol::{LinkHello, NestedFrame, encode_late, frames};
use crate::shard::links::{Links, MAX_LATE};
use crate::shard::session::{Session, SessionPhase};

/// The part of an upstream's frames with which late frames have been compared.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Compared {
    target: usize,
    /// The newest frame given on the link.
    got: u64,
    /// The number of frames up to that one that are remembered.
    seen: u64,
}

impl Links {
    /// Remembers frames that have been compared and found new; they are going to be published as late ones. Until
    /// they have been compared above, an equal frame from there is the same.
    pub(in crate::shard) fn suspect<'a>(
        &mut self,
        late: impl Iterator<Item = &'a MergeItem>,
    ) -> Option<Compared> {
        let pair = self.0.as_deref_mut()?;
        let uplink = pair.up.as_deref_mut()?;
        late.for_each(|item| uplink.suspects.add(item.digest));
        let attached = uplink.attached.as_ref()?;
        let target = attached.target;
        let downlinks = pair.down.as_deref()?;
        let got = match attached.counting {
            Some((left, given)) => given.checked_sub(left),
            None => uplink.targets[target].got,
        };
        Some(Compared {
            target,
            got: got?,
            seen: downlinks.seen_from(target),
        })
    }

    /// Queues late frames for the upstream, if it knows the form. Then the run, which is committed next, is not
    /// for it.
    pub(in crate::shard) fn send_late(
        &mut self,
        local: &mut Fanout<Rc<Session>>,
        channel: &str,
        run: &FrameRun,
        compared: Option<Compared>,
    ) {
        let Some(uplink) = self.uplink_mut() else {
            return;
        };
        let max_frame = uplink.entry.common.settings().limits.max_frame;
        let late = uplink.late(channel, run, compared);
        let late = late.filter(|(_, late)| late.len() <= max_frame);
        let digests = frames(run.bytes()).map(|frame| uplink.digester.digest(frame));
        let digests: Vec<_> = digests.collect();
        let Some((member, late)) = late else {
            digests
                .into_iter()
                .for_each(|digest| uplink.suspects.remove(digest));
            return;
        };
        uplink.suspects.sent(digests, uplink.next_number(run) - 1);
        uplink.count_up(0, late.len().saturating_sub(run.bytes().len()));
        local.skip_next(member, run.bytes().len());
        local.queue(member, late);
    }
}

impl Uplink {
    /// Returns `true` while a session is being joined: nobody knows yet what the upstream is.
    pub(in crate::shard) fn is_settling(&self) -> bool {
        self.attached.is_some() && !self.link.is_up()
    }

    /// Returns the number that follows those of a run that is stored next.
    fn next_number(&self, run: &FrameRun) -> u64 {
        let target = self.attached.as_ref().map_or(0, |attached| attached.target);
        self.targets[target].offered + run.frames() as u64 + 1
    }

    /// Records that the last run stored was one of late frames: whichever upstream gets it later has to compare it.
    pub(in crate::shard::links) fn stored_late(&mut self) {
        for target in &mut self.targets {
            target.old = target.offered;
        }
    }

    /// Puts a run that is stored next into the form of late frames.
    fn late(
        &self,
        channel: &str,
        run: &FrameRun,
        compared: Option<Compared>,
    ) -> Option<(MemberKey, Bytes)> {
        let attached = self.attached.as_ref()?;
        let is_open = attached.is_welcome && attached.session.phase.get() == SessionPhase::Joined;
        if !is_open || run.frames() > MAX_LATE {
            return None;
        }
        let member = attached.session.key.get()?;
        let target = &self.targets[attached.target];
        let compared = compared.filter(|compared| compared.target == attached.target);
        let sent = target.offered + run.frames() as u64;
        let hello = LinkHello {
            server: self.entry.common.server_id,
            id: target.id,
            window: compared.map_or(0, |compared| compared.seen),
            sent,
            old: sent,
            got: compared.map(|compared| compared.got),
        };
        let numbers = target.offered + 1..;
        let nested = frames(run.bytes())
            .zip(numbers)
            .map(|(frame, seq)| NestedFrame {
                frame: run.bytes().slice_ref(frame),
                seq: Some(seq),
            });
        let nested: Vec<_> = nested.collect();
        let names = (&*self.member.0, channel);
        let late = encode_late(&hello, attached.session.cid, names, &nested)?;
        Some((member, late))
    }
}
