//! Runs that are held between being proposed and being committed.
//!
//! Where a run has to be somewhere else before anybody sees it, a room holds it ([`Room::holds_runs`]): it waits in the
//! order in which it was proposed ([`HeldRuns`]) until what it waits for has come so far, is committed then, and only then
//! delivered and confirmed. Who needs to see all that is held so far waits for its turn behind it. What it waits for is
//! not decided here: with `sync = "batch"` it is the store that has to have it on disk, in a fleet the log that has to have
//! given it its place.
//!
//! Each run that is held is *due* at a number, which rises from run to run. Whoever knows that all up to a number has come
//! has those runs committed ([`Shard::commit_held`]). For the store that number is the offset of a run's last message,
//! in a fleet the ticket of its proposal.
//!
//! Invariants:
//!
//! * Runs of a room are committed in the order in which they were held, and nothing is committed before them.
//! * A room in which something is held is not closed.
//! * What is held is bounded: publishers pause while it is much, or while what it waits for is out of order.
//! * A room that holds nothing has no memory for it.

mod commit;
mod hold;
mod runs;
mod turns;

use std::cell::Cell;

use tokio::sync::oneshot;

use super::refusal::Refusal;
use super::room::Room;
use super::{Shard, turn};
use crate::channel::{PublisherId, SessionId};
pub(super) use runs::{HeldRun, HeldRuns};

/// Memory of runs that are held in one channel, in bytes, from which on its publishers pause.
const ROOM_MARK: usize = 1 << 20;
/// Memory of runs that are held on one shard, in bytes, from which on the publishers of all channels pause in which some
/// are.
const SHARD_MARK: usize = 32 << 20;

/// All runs that the rooms of one shard hold.
#[derive(Debug, Default)]
pub(super) struct HeldTotal {
    /// Their memory, in bytes.
    bytes: Cell<usize>,
    /// `true` while what they wait for is out of order.
    is_stuck: Cell<bool>,
}

impl HeldTotal {
    /// Returns the memory of all runs that are held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    pub(super) fn subtract(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
    }
}

impl Room {
    /// Returns `true` if runs are held that are not committed.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Returns `true` if a run of `publisher` is held.
    pub(super) fn holds_of(&self, publisher: PublisherId) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.has_publisher(publisher))
    }

    /// Returns `true` if a run of that session is held.
    pub(super) fn holds_of_session(&self, session: SessionId) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.has_session(session))
    }

    /// Returns what tells when all that is held now is committed; `None` if nothing is.
    pub(super) fn turn(&mut self) -> Option<oneshot::Receiver<()>> {
        Some(self.held.as_mut()?.turn())
    }

    /// Returns what tells when all that is held now is committed; `None` if nothing of it came over a link.
    fn turn_of_links(&mut self) -> Option<oneshot::Receiver<()>> {
        let held = self.held.as_mut()?;
        held.has_link().then(|| held.turn())
    }
}

impl Shard {
    /// Puts zeros in the place of the session keys of the runs that a room holds, which come into its history later.
    pub(super) fn clear_held_keys(&self, room: &mut Room) {
        if let Some(held) = &mut room.held {
            self.held.subtract(held.bytes());
            held.clear_keys();
            self.held.add(held.bytes());
            turn::spend_bytes(held.bytes());
        }
    }

    /// Returns `true` while publishers of a room have to wait for what their runs are held for, however long that takes:
    /// it is out of order, or so slow that much is held.
    pub(super) fn awaits_commit(&self, room: &Room) -> bool {
        room.holds_runs && (self.held.is_stuck.get() || self.holds_much(room))
    }

    /// Returns `true` while so much of a room is held that its publishers have to pause.
    fn holds_much(&self, room: &Room) -> bool {
        let bytes = room.held.as_ref().map_or(0, |held| held.bytes());
        bytes > ROOM_MARK || (bytes > 0 && self.held.bytes() > SHARD_MARK)
    }

    /// Returns why nothing is published that would have to be held.
    pub(super) fn why_held(&self) -> Refusal {
        match self.fleet {
            Some(_) => Refusal::CutOff,
            None => Refusal::Unwritten(self.store_trouble()),
        }
    }

    /// Returns why it is not known yet whether what is held will be published.
    pub(super) fn why_undecided(&self) -> Refusal {
        match self.fleet {
            Some(_) => Refusal::Unordered,
            None => Refusal::Undecided(self.store_trouble()),
        }
    }

    /// Records whether what runs are held for is out of order. Publishers wait while it is.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        if self.held.is_stuck.replace(is_stuck) != is_stuck {
            self.pause_or_release_all();
        }
    }
}
