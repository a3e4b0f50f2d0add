//! Holds runs, and tells those who have waited for one for too long.

use std::time::Instant;

use super::HeldRun;
use crate::shard::Shard;
use crate::shard::dirty::DirtyChannels;
use crate::shard::ids::ChannelId;
use crate::shard::room::Room;
use crate::shard::sequence::{CommitOutcome, Confirm, Proposed, Source, no_message, take_probes};

impl Shard {
    /// Holds a run until it may be committed. One without messages is committed at once, unless others are held.
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
        let messages = u32::try_from(proposed.run.messages()).unwrap_or(u32::MAX);
        if messages == 0 && !room.is_holding() {
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
        let cost = room.hold(HeldRun {
            due: room.last_due() + u64::from(messages),
            messages,
            proposed,
            publisher,
            confirm,
            is_of_link,
            at: now,
        });
        self.held.add(cost);
        self.pause_or_release(room);
        CommitOutcome::Committed {
            is_dirty: false,
            is_suspect: false,
        }
    }

    /// Tells those who have waited for the receipt of a run in a room for too long why they do not get it yet.
    pub(in crate::shard) fn refuse_overdue_in(&self, channel: ChannelId) {
        let trouble = self.store_trouble();
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(channel) else {
            return;
        };
        let limit = room.channel.settings().write_deadline;
        if let Some(held) = &mut room.held {
            held.refuse_overdue(limit, Instant::now(), trouble);
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
