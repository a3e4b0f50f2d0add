//! The one entrance into a channel's order.
//!
//! A run that is to become part of a channel's order is *proposed* ([`Shard::propose`]): with who sent it and
//! where it comes from. The owner *commits* it: announcements that were collected before go first, then the run
//! takes the next place in the order. In the same step it is queued for the members on this shard, stored for
//! those who join later, sent once to each shard that relays the channel, and counted for the links with other
//! servers.
//!
//! ```text
//! publish   a member of this shard ─┐
//! inbox     a member elsewhere     ─┤             ┌─► members here, history   channel
//! seat      a join with a message  ─┼─► propose ──┼─► relaying shards         mailbox
//! links     a server below, and    ─┤    commit   ├─► links                   links
//!           the upstream           ─┤             ├─► the flusher, pauses
//! ask       who has no seat        ─┘             └─► a receipt               ask
//! ```
//!
//! Nothing is returned to who proposes: who wants a receipt leaves the way back with the proposal. And a [`Proposed`]
//! owns all that its commit needs. So time may pass between the two: where a run has to be on disk first, the room
//! holds it ([`super::held`]), and it is committed when the store has it. Anywhere else both happen in
//! one synchronous call.
//!
//! Invariants:
//!
//! * Runs of a room are committed in the order in which they were proposed.
//! * Nothing else commits to a channel or sends a [`Delivery::Run`].
//! * The registry is borrowed once for each run, and the room looked up once. What needs another look, a probe for
//!   a ring, is done afterwards.

mod confirm;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use super::dirty::DirtyChannels;
use super::ids::{ChannelId, Home, ShardId};
use super::links::Compared;
use super::message::Delivery;
use super::room::Room;
use super::{Shard, turn};
use crate::channel::{Committed, FrameRun, Origin, SessionId};
use crate::peer::echo::ProbeReturn;
pub(super) use confirm::{Confirm, no_message};

/// A run that is to take the next place in the order of its channel.
#[derive(Debug)]
pub(super) struct Proposed {
    /// The frames, whole and checked.
    pub(super) run: FrameRun,
    /// The session that sent it, and does not get it.
    pub(super) from: SessionId,
    /// Where its frames come from.
    pub(super) source: Source,
}

/// Where the frames of a run come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A member has published them; it may be a server below.
    Member,
    /// They have come down from the upstream with this index.
    Upstream(u8),
    /// A server below has brought them in its resync. It has counted them already, if it is known by a link.
    Resync { link: Option<u64> },
    /// A server below has brought them, and the upstream may have got them another way. They have been compared
    /// with what is known of it here.
    Late {
        link: Option<u64>,
        compared: Option<Compared>,
    },
}

impl Source {
    /// Returns what the history records of it.
    pub(super) fn origin(self) -> Origin {
        match self {
            Self::Upstream(index) => Origin::Upstream(index),
            Self::Member | Self::Resync { .. } | Self::Late { .. } => Origin::Member,
        }
    }
}

/// Work that a commit leaves to be done once the registry is free again.
pub(super) enum CommitOutcome {
    /// It is committed.
    Committed {
        /// `true` if the flusher has something to do.
        is_dirty: bool,
        /// `true` if a ring is to be probed for.
        is_suspect: bool,
    },
    /// Probes were found in it, and nothing is committed yet.
    Probes {
        /// The run without them, to be proposed.
        rest: Vec<FrameRun>,
        /// The most that one of them proves.
        returned: ProbeReturn,
        /// The session that sent it.
        from: SessionId,
    },
}

impl CommitOutcome {
    /// Returns the outcome of a call that has committed nothing.
    pub(super) fn nothing() -> Self {
        Self::Committed {
            is_dirty: false,
            is_suspect: false,
        }
    }
}

impl Room {
    /// Returns `true` if a run is committed in the call that proposes it; `false` if it has to be held.
    #[inline]
    fn commits_at_once(&mut self) -> bool {
        if self.holds_runs {
            return false;
        }
        if let Some(stored) = &mut self.stored {
            stored.mark_next();
        }
        true
    }
}

/// Takes probes for a ring out of what a member has sent, if there are some.
#[inline]
pub(super) fn take_probes(
    room: &mut Room,
    proposed: &Proposed,
    now: Instant,
) -> Option<CommitOutcome> {
    if !matches!(proposed.source, Source::Member) {
        return None;
    }
    let (rest, returned) = room.links.take_probes(&proposed.run, now)?;
    Some(CommitOutcome::Probes {
        rest,
        returned,
        from: proposed.from,
    })
}

impl Shard {
    /// Proposes a run as the next in the order of a room of this shard.
    #[inline]
    pub(super) fn propose(self: &Rc<Self>, at: u32, proposed: Proposed, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some((room, dirty)) = registry.room_and_dirty(at) else {
            return;
        };
        let outcome = if room.commits_at_once() {
            self.take_in(room, dirty, &proposed, now)
        } else {
            self.hold(room, dirty, proposed, None, now)
        };
        drop(registry);
        self.after_commit(at, outcome, now);
    }

    /// Proposes what a member on another shard has published. Its channel may be closed by now.
    pub(super) fn propose_relayed(
        self: &Rc<Self>,
        channel: ChannelId,
        from: SessionId,
        run: FrameRun,
    ) {
        let now = Instant::now();
        let mut registry = self.registry.borrow_mut();
        let found = registry.room_and_dirty(channel.index);
        let Some((room, dirty)) = found.filter(|(room, _)| room.id == channel) else {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        };
        if room.channel.is_overtaken(from) {
            self.stats().orphaned_frames.add(run.frames() as u64);
            return;
        }
        let source = Source::Member;
        let proposed = Proposed { run, from, source };
        let outcome = if room.commits_at_once() {
            self.take_in(room, dirty, &proposed, now)
        } else {
            self.hold(room, dirty, proposed, None, now)
        };
        drop(registry);
        self.after_commit(channel.index, outcome, now);
    }

    /// Delivers the announcements that a room has collected. They are not stored.
    pub(super) fn deliver_collected(self: &Rc<Self>, at: u32, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some((room, dirty)) = registry.room_and_dirty(at) else {
            return;
        };
        let is_suspect = self.commit_collected(room, now);
        let outcome = self.tend_members(room, dirty, is_suspect);
        drop(registry);
        self.after_commit(at, outcome, now);
    }

    /// Takes in a run that is proposed, and commits it at once, behind what was collected before it.
    #[inline]
    pub(super) fn take_in(
        &self,
        room: &mut Room,
        dirty: &mut DirtyChannels,
        proposed: &Proposed,
        now: Instant,
    ) -> CommitOutcome {
        if let Some(probes) = take_probes(room, proposed, now) {
            return probes;
        }
        let is_suspect = self.commit_next(room, proposed, now);
        self.tend_members(room, dirty, is_suspect)
    }

    /// Commits a run behind what was collected before it. Returns `true` if a ring is to be probed for.
    #[inline]
    pub(super) fn commit_next(&self, room: &mut Room, proposed: &Proposed, now: Instant) -> bool {
        let mut is_suspect = room.channel.has_collected() && self.commit_collected(room, now);
        is_suspect |= self.commit(room, proposed, now);
        is_suspect
    }

    /// Commits the announcements that a room has collected. Returns `true` if a ring is to be probed for.
    pub(super) fn commit_collected(&self, room: &mut Room, now: Instant) -> bool {
        let Some(run) = room.channel.take_collected() else {
            return false;
        };
        self.pass_hints_on(room, &run);
        self.commit_hints(room, &run, now)
    }

    /// Commits hints that have no place. Returns `true` if a ring is to be probed for.
    pub(super) fn commit_hints(&self, room: &mut Room, run: &FrameRun, now: Instant) -> bool {
        let committed = room.channel.commit(run, SessionId::NONE, None, now);
        self.count_deliveries(room.channel.local.len(), committed.deliveries);
        self.relay(room, run, SessionId::NONE, committed);
        room.links.passed(run, SessionId::NONE, now)
    }

    /// Commits a run. Returns `true` if a ring is to be probed for.
    #[inline]
    fn commit(&self, room: &mut Room, proposed: &Proposed, now: Instant) -> bool {
        let (run, from) = (&proposed.run, proposed.from);
        if let Source::Late { compared, .. } = proposed.source {
            let (local, name) = (&mut room.channel.local, &room.name);
            room.links.send_late(local, name, run, compared);
        }
        // Other servers have no use for hints of presence that are over.
        let stored = if room.links.is_none() {
            Some(Cow::Borrowed(run))
        } else {
            run.without_presence().map(Cow::Owned)
        };
        let stored = stored.as_deref();
        let origin = proposed.source.origin();
        let kept = stored.map(|run| (run, origin));
        room.traffic.count(run.frames(), run.bytes().len());
        let committed = room.channel.commit(run, from, kept, now);
        self.count_deliveries(room.channel.local.len(), committed.deliveries);
        self.relay(room, run, from, committed);
        room.links.committed(proposed, stored, now)
    }

    /// Sends a run to each shard that relays the channel.
    #[inline]
    fn relay(&self, room: &Room, run: &FrameRun, except: SessionId, committed: Committed) {
        let messages = committed.numbers.map_or(0, |numbers| numbers.count);
        if let Some(numbers) = committed.numbers.filter(|numbers| numbers.jumps) {
            let (channel, before) = (room.id, numbers.before().offset);
            for shard in room.channel.relays() {
                self.deliver_to(ShardId(shard), Delivery::Jump { channel, before });
            }
        }
        for shard in room.channel.relays() {
            let delivery = Delivery::Run {
                channel: room.id,
                except,
                run: run.clone(),
                messages,
            };
            self.deliver_to(ShardId(shard), delivery);
        }
    }

    /// Counts that a run was queued for the `members` of a channel on this shard, as so many frames.
    #[inline]
    pub(super) fn count_deliveries(&self, members: usize, frames: usize) {
        turn::spend_each(members);
        self.stats().deliveries.add(frames as u64);
    }

    /// Lists a room for the flusher after something was queued, and pauses its publishers if that is ahead of
    /// the members.
    #[inline]
    pub(super) fn tend_members(
        &self,
        room: &mut Room,
        dirty: &mut DirtyChannels,
        is_suspect: bool,
    ) -> CommitOutcome {
        let home = Home::Owned(room.id.index);
        dirty.list(home, room.local_members());
        if room.channel.local.is_ahead() {
            self.pause_or_release(room);
        }
        CommitOutcome::Committed {
            is_dirty: !dirty.is_empty(),
            is_suspect,
        }
    }

    /// Does what is left to be done when the registry is not borrowed any more.
    #[inline]
    pub(super) fn after_commit(self: &Rc<Self>, at: u32, outcome: CommitOutcome, now: Instant) {
        match outcome {
            CommitOutcome::Committed {
                is_dirty,
                is_suspect,
            } => {
                if is_dirty {
                    self.wake_flusher();
                }
                if is_suspect {
                    self.send_probe(at, now);
                }
            }
            CommitOutcome::Probes {
                rest,
                returned,
                from,
            } => {
                self.on_returned_probe(at, returned, now);
                let source = Source::Member;
                for run in rest {
                    self.propose(at, Proposed { run, from, source }, now);
                }
            }
        }
    }
}
