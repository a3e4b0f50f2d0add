//! Rooms of a node of a fleet: what is published in them goes to the log that all nodes read, and is committed when it
//! comes back.
//!
//! A room holds each run ([`super::held`]), due at its *ticket*, and proposes it to the node's thread ([`propose`]). What the
//! log has decided comes to each shard, record by record ([`apply`]): runs of this node and of others alike take their place, in
//! rooms that are opened for that. A section has all that its commit needs; what is held only tells who waits for it.
//! Who joins is served from the history here ([`arrive`]), once this shard has come as far as its position says. If the
//! log does not answer, nothing is served ([`phases`]).
//!
//! Invariants:
//!
//! * All channels count in the epoch of the fleet, and no message has a place that the log has not given it.
//! * Tickets rise in each room, and sections of one node come back in their order or not at all.
//! * The publisher of a session has taken its seat in the log before it has one here.
//!
//! It must not know how records are made, or any engine.

mod apply;
mod arrive;
mod commit;
mod phases;
mod propose;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::Shard;
use super::room::Room;
use crate::fleet::{FleetEvent, FleetHandle, FleetPhase};
use crate::order::Sequence;
use crate::protocol::Epoch;
use crate::settings::Limits;

/// The fleet, as a shard sees it.
#[derive(Debug)]
pub(super) struct ShardFleet {
    handle: Arc<FleetHandle>,
    /// Length in bytes of the longest run that fits into a record.
    max_run: usize,
    /// The ticket that was given last.
    ticket: Cell<u64>,
    /// The newest record that was applied here.
    applied: Cell<Sequence>,
    epoch: Cell<Epoch>,
    phase: Cell<FleetPhase>,
    /// Offset up to which messages of channels without a room may have been forgotten.
    forgotten_to: Cell<u64>,
    /// `true` while it is not known what the records come to that are applied.
    is_unsure: Cell<bool>,
    /// Tells that another record was applied, or that the phase has changed.
    has_moved: Notify,
    /// Those who wait until their publisher has its seat, by ticket.
    seats: RefCell<HashMap<u64, oneshot::Sender<()>>>,
}

/// What a shard gets of the fleet before it serves anybody.
#[derive(Debug)]
pub(super) struct FleetSeed {
    handle: Arc<FleetHandle>,
    events: mpsc::Receiver<FleetEvent>,
}

impl FleetSeed {
    pub(super) fn new(handle: Arc<FleetHandle>, events: mpsc::Receiver<FleetEvent>) -> Self {
        Self { handle, events }
    }

    /// Returns the view of the shard, and what it will be told.
    pub(super) fn grow(self, limits: &Limits) -> (ShardFleet, mpsc::Receiver<FleetEvent>) {
        let fleet = ShardFleet::new(self.handle, limits.max_channel_name);
        (fleet, self.events)
    }
}

impl ShardFleet {
    /// Creates the view of a shard that has applied nothing yet.
    pub(super) fn new(handle: Arc<FleetHandle>, max_channel_name: usize) -> Self {
        // It is told of all that came since, whatever the status says by now.
        let (epoch, applied) = (handle.made_with().id, handle.begins_behind());
        Self {
            max_run: handle.max_run(max_channel_name),
            ticket: Cell::new(0),
            applied: Cell::new(applied),
            epoch: Cell::new(epoch),
            phase: Cell::new(FleetPhase::Starting),
            forgotten_to: Cell::new(applied.end_offset()),
            is_unsure: Cell::new(false),
            has_moved: Notify::new(),
            seats: RefCell::default(),
            handle,
        }
    }

    /// Returns the length in bytes of the longest run that may be proposed.
    pub(super) fn max_run(&self) -> usize {
        self.max_run
    }

    /// Returns the name of the next proposal.
    fn next_ticket(&self) -> u64 {
        self.ticket.set(self.ticket.get() + 1);
        self.ticket.get()
    }

    /// Records that messages up to that offset may be gone, of whatever channel.
    pub(super) fn has_forgotten(&self, newest: u64) {
        self.forgotten_to.set(self.forgotten_to.get().max(newest));
    }
}

impl Shard {
    /// Has a room that was opened take part in the order of the fleet, if there is one. Messages of rooms that were closed
    /// may be gone up to the offset `gone_to`.
    pub(super) fn enter_fleet(&self, room: &mut Room, gone_to: u64) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        room.holds_runs = true;
        let forgotten = fleet.forgotten_to.get().max(gone_to);
        // In the middle of a record that may be beyond the next message of this channel.
        let begins = forgotten.min(fleet.applied.get().end_offset());
        drop(room.channel.begin_order(fleet.epoch.get(), begins));
        room.channel.has_forgotten(forgotten);
    }

    /// Has the position of a room say that all up to the newest record is known here.
    pub(super) fn catch_up_with_fleet(&self, room: &mut Room) {
        if let Some(fleet) = &self.fleet {
            room.channel.advance_to(fleet.applied.get().end_offset());
        }
    }
}
