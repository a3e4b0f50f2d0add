//! What becomes of the sections of a channel.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Instant;

use crate::channel::{FrameRun, PublisherId, Receipt, SessionId};
use crate::fleet::RoutedRecord;
use crate::order::{Author, Content, Decision, Section};
use crate::shard::Shard;
use crate::shard::held::HeldRun;
use crate::shard::ids::Home;
use crate::shard::refusal::Refusal;
use crate::shard::room::Room;
use crate::shard::sequence::{Proposed, Source, no_message};

/// Stands for the clients of other nodes where channels are counted by who has opened them.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A section whose channel has a room here.
#[derive(Clone, Copy)]
struct Placed<'a> {
    at: u32,
    routed: &'a RoutedRecord,
    section: &'a Section,
}

impl Placed<'_> {
    /// Returns the session that has proposed it; none if that is on another node.
    fn session(&self) -> SessionId {
        if self.routed.record.is_own {
            SessionId(self.section.session)
        } else {
            SessionId::NONE
        }
    }
}

impl Shard {
    /// Applies a section of a channel that this shard owns.
    pub(super) fn apply_section(
        self: &Rc<Self>,
        routed: &RoutedRecord,
        section: &Section,
        decision: Decision,
    ) {
        let now = Instant::now();
        if let Content::Hints { run } = &section.content {
            if !routed.record.is_own {
                self.deliver_hints(&section.channel, run, now);
            }
            return;
        }
        let takes_place = matches!(decision, Decision::Commit { .. });
        if !takes_place && !routed.record.is_own {
            return;
        }
        let Ok(at) = self.find_or_open(&section.channel, ELSEWHERE, now) else {
            return self.has_no_place(routed, section);
        };
        let placed = Placed {
            at,
            routed,
            section,
        };
        match (&section.content, decision) {
            (Content::Run { run, by, .. }, Decision::Commit { before }) => {
                self.commit_ordered(placed, run, *by, before, now);
            }
            (Content::Run { run, .. }, decision) => self.leave_out(placed, run, decision, now),
            (
                Content::Seat {
                    publisher,
                    counts_anew,
                },
                Decision::Commit { before },
            ) => self.seat_in_order(placed, *publisher, *counts_anew, before, now),
            _ => {}
        }
        self.after_section(placed, now);
    }

    /// Notes that a section has no room here: there are as many channels as there may be.
    fn has_no_place(&self, routed: &RoutedRecord, section: &Section) {
        if let Some(fleet) = &self.fleet {
            fleet.has_forgotten(routed.record.sequence.end_offset());
            if routed.record.is_own {
                // Whoever waits for the seat is refused.
                fleet.seats.borrow_mut().remove(&section.ticket);
            }
        }
        if let Content::Run { run, .. } = &section.content {
            self.stats().fleet_unkept_frames.add(run.frames() as u64);
        }
    }

    /// Commits a run that has its place.
    fn commit_ordered(
        self: &Rc<Self>,
        placed: Placed<'_>,
        run: &FrameRun,
        by: Author,
        before: u64,
        now: Instant,
    ) {
        let mut registry = self.registry.borrow_mut();
        let Some((room, dirty)) = registry.room_and_dirty(placed.at) else {
            return;
        };
        let held = self.take_own(room, placed);
        room.channel.advance_to(before);
        let before = room.channel.newest();
        let from = placed.session();
        let is_counted = room.channel.publisher_of(from).is_some();
        let proposed = Proposed {
            run: run.clone(),
            from,
            source: Source::Member,
        };
        let is_suspect = self.commit_next(room, &proposed, placed.routed.at(now));
        if let (Author::Publisher(publisher), false, Some(before)) = (by, is_counted, before) {
            room.channel.count_late(publisher, before.offset, now);
        }
        let mut sampled = None;
        if let (Some(mut confirm), Some(before)) = (held.and_then(|held| held.confirm), before) {
            sampled = confirm.sampled;
            let receipt = room.channel.confirm(before, None, now);
            confirm.answer(receipt.ok_or_else(no_message));
        }
        self.count_forgotten(room);
        let outcome = self.tend_members(room, dirty, is_suspect);
        drop(registry);
        self.after_commit(placed.at, outcome, now);
        if let Some(read) = sampled {
            self.follow(Home::Owned(placed.at), read);
        }
    }

    /// Answers whoever waits for a run that does not take its place, and ends the session of a publisher that has come
    /// back elsewhere.
    fn leave_out(
        self: &Rc<Self>,
        placed: Placed<'_>,
        run: &FrameRun,
        decision: Decision,
        now: Instant,
    ) {
        if decision == Decision::Late && placed.routed.proposes_again {
            return;
        }
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(placed.at) else {
            return;
        };
        let held = self.take_own(room, placed);
        let epoch = placed.routed.record.epoch;
        let answer = match decision {
            Decision::Repeat { first, last } => Ok(Receipt {
                epoch,
                first,
                last,
                is_repeat: true,
            }),
            Decision::OtherContent => Err(Refusal::OtherContent),
            Decision::Late => Err(Refusal::Unordered),
            _ => Err(Refusal::PlaceUnknown),
        };
        if let Some(mut confirm) = held.and_then(|held| held.confirm) {
            confirm.answer(answer);
        }
        drop(registry);
        if decision == Decision::Fenced && placed.routed.record.is_own {
            self.stats().orphaned_frames.add(run.frames() as u64);
            self.end_superseded(placed.at, placed.session(), now);
        }
    }

    /// Takes what is held of a section of this node. What was held before it has not come back, and does not any more.
    fn take_own(&self, room: &mut Room, placed: Placed<'_>) -> Option<HeldRun> {
        if !placed.routed.record.is_own {
            return None;
        }
        while let Some((held, cost)) = room.take_held(placed.section.ticket) {
            self.held.subtract(cost);
            if held.due == placed.section.ticket {
                return Some(held);
            }
            self.lose(held);
        }
        None
    }

    /// Tells whoever waits for a run that nobody knows what became of it.
    pub(super) fn lose(&self, held: HeldRun) {
        let frames = held.proposed.run.frames() as u64;
        self.stats().fleet_undecided_frames.add(frames);
        if let Some(mut confirm) = held.confirm {
            confirm.answer(Err(Refusal::Unordered));
        }
    }

    /// Has a publisher take its seat: its session before is over, wherever it is, and whoever waits for the seat has
    /// its turn.
    fn seat_in_order(
        self: &Rc<Self>,
        placed: Placed<'_>,
        publisher: PublisherId,
        counts_anew: bool,
        before: u64,
        now: Instant,
    ) {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(placed.at);
        let holder = room.and_then(|room| room.channel.holder(publisher));
        drop(registry);
        if let Some((_, ghost)) = holder.filter(|(_, ghost)| *ghost != placed.session()) {
            self.end_superseded(placed.at, ghost, now);
        }
        if let Some(room) = self.registry.borrow_mut().room(placed.at) {
            room.channel.advance_to(before);
            if counts_anew {
                room.channel.introduce(publisher, placed.routed.at(now));
            }
            self.count_forgotten(room);
        }
        if placed.routed.record.is_own
            && let Some(fleet) = &self.fleet
            && let Some(seat) = fleet.seats.borrow_mut().remove(&placed.section.ticket)
        {
            // Nobody waits for it when the connection is gone.
            let _ = seat.send(());
        }
    }

    /// Delivers hints of another node to the members here. They have no place.
    fn deliver_hints(self: &Rc<Self>, channel: &str, run: &FrameRun, now: Instant) {
        let Some(at) = self.registry.borrow().find(channel) else {
            return;
        };
        let mut registry = self.registry.borrow_mut();
        let Some((room, dirty)) = registry.room_and_dirty(at) else {
            return;
        };
        if room.channel.is_empty() {
            return;
        }
        // Those of members here go first: who has just joined does not get its own.
        let mut is_suspect = room.channel.has_collected() && self.commit_collected(room, now);
        is_suspect |= self.commit_hints(room, run, now);
        let outcome = self.tend_members(room, dirty, is_suspect);
        drop(registry);
        self.after_commit(at, outcome, now);
    }

    /// Gives those their turn who have waited for a section, and records that its channel is in use.
    fn after_section(&self, placed: Placed<'_>, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(placed.at) else {
            return;
        };
        if placed.routed.record.is_own {
            let late = room.take_held(0);
            debug_assert!(late.is_none(), "tickets begin with 1");
        }
        self.pause_or_release(room);
        if room.channel.is_empty() {
            room.used(now);
        } else if !room.is_holding() {
            room.list_by_need();
        }
    }

    /// Ends a session whose publisher has come back.
    fn end_superseded(self: &Rc<Self>, at: u32, ghost: SessionId, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let holder = registry.room(at).and_then(|room| {
            let publisher = room.channel.publisher_of(ghost)?;
            room.channel.holder(publisher)
        });
        drop(registry);
        if let Some((cid, _)) = holder.filter(|(_, holder)| *holder == ghost) {
            self.end_holder(at, cid, ghost, now);
        }
    }
}
