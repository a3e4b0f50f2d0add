//! Holds runs, and tells those who have waited for one for too long.

use std::time::Instant;

use super::HeldRun;
use crate::channel::FrameRun;
use crate::shard::Shard;
use crate::shard::dirty::DirtyChannels;
use crate::shard::ids::ChannelId;
use crate::shard::refusal::Refusal;
use crate::shard::room::Room;
use crate::shard::sequence::{CommitOutcome, Confirm, Proposed, Source, no_message, take_probes};

impl Shard {
    /// Holds a run until it may be committed. One without messages is committed at once, unless others are held or it has
    /// to come to other nodes.
    #[cold]
    pub(in crate::shard) fn hold(
        &self,
        room: &mut Room,
        dirty: &mut DirtyChannels,
        proposed: Proposed,
        confirm: Option<Confirm>,
        now: Instant,
    ) -> CommitOutcome {
        // No server is behind somebody who waits for a receipt.
        if confirm.is_none()
            && let Some(probes) = take_probes(room, &proposed, now)
        {
            return probes;
        }
        if let Some(most) = self.exceeded_by(&proposed.run) {
            let Some(mut confirm) = confirm else {
                return self.hold_in_parts(room, dirty, &proposed, most, now);
            };
            // It has one place, or none.
            confirm.answer(Err(Refusal::TooLarge { most }));
            return CommitOutcome::nothing();
        }
        if !self.is_served() {
            // It would never come back. Its session is being closed.
            let frames = proposed.run.frames() as u64;
            match confirm {
                Some(mut confirm) => confirm.answer(Err(self.why_held())),
                None => self.stats().orphaned_frames.add(frames),
            }
            return CommitOutcome::nothing();
        }
        let messages = u32::try_from(proposed.run.messages()).unwrap_or(u32::MAX);
        if messages == 0 && !room.is_holding() && self.fleet.is_none() {
            if let Some(mut confirm) = confirm {
                confirm.answer(Err(no_message()));
            }
            return self.take_in(room, dirty, &proposed, now);
        }
        let publisher = match &confirm {
            Some(confirm) => confirm.publisher(),
            None => room.channel.publisher_of(proposed.from),
        };
        let is_of_link =
            !matches!(proposed.source, Source::Member) || room.links.is_linked(proposed.from);
        let due = match &self.fleet {
            Some(fleet) => {
                fleet.propose_run(room, &proposed, messages, publisher, confirm.as_ref())
            }
            None => room.last_due() + u64::from(messages),
        };
        let cost = room.hold(HeldRun {
            due,
            messages,
            proposed,
            publisher,
            confirm,
            is_of_link,
            at: now,
        });
        self.held.add(cost);
        self.pause_or_release(room);
        CommitOutcome::nothing()
    }

    /// Returns the length in bytes that a run may have in a record of the fleet's log, if it is longer than that.
    fn exceeded_by(&self, run: &FrameRun) -> Option<usize> {
        let most = self.fleet.as_ref()?.max_run();
        (run.bytes().len() > most).then_some(most)
    }

    fn hold_in_parts(
        &self,
        room: &mut Room,
        dirty: &mut DirtyChannels,
        whole: &Proposed,
        most: usize,
        now: Instant,
    ) -> CommitOutcome {
        let mut outcome = CommitOutcome::nothing();
        for run in whole.run.divide(most) {
            if run.bytes().len() > most {
                // The limit on frames was larger when it came.
                self.stats().fleet_unkept_frames.add(1);
                continue;
            }
            let (from, source) = (whole.from, whole.source);
            outcome = self.hold(room, dirty, Proposed { run, from, source }, None, now);
        }
        outcome
    }

    /// Tells those who have waited for the receipt of a run in any room for too long why they do not get it yet.
    pub(in crate::shard) fn refuse_overdue_in_all(&self) {
        if self.held.bytes() == 0 {
            return;
        }
        let end = self.registry.borrow().rooms_end();
        for at in 0..end {
            let id = self.registry.borrow_mut().room(at).map(|room| room.id);
            if let Some(id) = id {
                self.refuse_overdue_in(id);
            }
        }
    }

    /// Tells those who have waited for the receipt of a run in a room for too long why they do not get it yet.
    pub(in crate::shard) fn refuse_overdue_in(&self, channel: ChannelId) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(channel) else {
            return;
        };
        let limit = room.channel.settings().write_deadline;
        if let Some(held) = &mut room.held {
            held.refuse_overdue(limit, Instant::now(), || self.why_undecided());
        }
    }
}

impl Room {
    /// Returns the offset at which the last run is due that is held, or has its place.
    fn last_due(&self) -> u64 {
        let held = self.held.as_ref().and_then(|held| held.last_due());
        held.or_else(|| Some(self.channel.newest()?.offset))
            .unwrap_or(0)
    }

    /// Holds a run behind all others, and has it written. Returns the bytes that this costs.
    fn hold(&mut self, run: HeldRun) -> usize {
        let is_first = self.held.is_none();
        let has_messages = run.messages > 0;
        let cost = self.held.get_or_insert_default().push(run);
        if has_messages {
            self.hand_over_held();
        }
        if is_first {
            self.list_by_need();
        }
        cost
    }
}
