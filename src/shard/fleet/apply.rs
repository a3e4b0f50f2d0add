//! The task that applies what the log has decided.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::{FleetEvent, FleetPhase, RoutedRecord};
use crate::order::{Outcome, Sequence};
use crate::protocol::Epoch;
use crate::shard::{BrokerPhase, Shard, turn};

/// Time between two looks for publishers who have waited for too long.
const OVERDUE: Duration = Duration::from_secs(1);

impl Shard {
    /// Applies what the log has decided, until the broker stops.
    pub(in crate::shard) async fn apply_forever(
        self: Rc<Self>,
        mut events: mpsc::Receiver<FleetEvent>,
    ) {
        let mut overdue = interval(OVERDUE);
        overdue.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_fleet_event(event).await,
                    None => return,
                },
                _ = overdue.tick() => self.refuse_overdue_in_all(),
                () = self.reached(BrokerPhase::Stopped) => return,
            }
        }
    }

    async fn on_fleet_event(self: &Rc<Self>, event: FleetEvent) {
        match event {
            FleetEvent::Record(record) => self.apply_record(&record).await,
            FleetEvent::Restart { epoch, first } => self.restart_fleet(epoch, first).await,
            FleetEvent::Phase(phase) => self.on_fleet_phase(phase).await,
        }
        if let Some(fleet) = &self.fleet {
            fleet.has_moved.notify_waiters();
        }
    }

    /// Applies the sections of the channels that this shard owns, in their order.
    async fn apply_record(self: &Rc<Self>, routed: &RoutedRecord) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let record = &routed.record;
        if fleet.is_unsure.get() && !matches!(record.outcome, Outcome::Unsure) {
            // What rooms there are may lack messages.
            fleet.is_unsure.set(false);
            self.void_rooms(record.epoch, fleet.applied.get().end_offset());
        }
        if record.begins_epoch {
            self.begin_fleet_epoch(record.epoch, record.sequence).await;
        }
        match &record.outcome {
            Outcome::Decided(sections) => {
                for ((section, decision), owner) in sections.iter().zip(&routed.owners) {
                    if *owner != self.id {
                        continue;
                    }
                    turn::spend(turn::MESSAGE);
                    self.apply_section(routed, section, *decision);
                    if turn::is_expensive() {
                        self.yield_turn().await;
                    }
                }
            }
            Outcome::Repeat => {}
            Outcome::Unsure => fleet.is_unsure.set(true),
        }
        fleet.applied.set(record.sequence);
    }

    /// Ends what was known before the log lost records: positions count in another epoch from here on.
    async fn begin_fleet_epoch(self: &Rc<Self>, epoch: Epoch, at: Sequence) {
        self.void_rooms(epoch, at.offset(0));
        if let Some(fleet) = &self.fleet {
            // Who joins meanwhile must not get a position that counts records which are lost.
            let before = Sequence(at.0.saturating_sub(1));
            fleet.applied.set(fleet.applied.get().min(before));
        }
        self.close_members_with_positions().await;
    }

    /// Begins anew behind a record. All rooms are empty, and all sessions over: what comes next may have been
    /// delivered to them already.
    async fn restart_fleet(self: &Rc<Self>, epoch: Epoch, first: Sequence) {
        self.let_held_go();
        self.close_members().await;
        self.void_rooms(epoch, first.end_offset());
        if let Some(fleet) = &self.fleet {
            fleet.applied.set(first);
        }
    }

    /// Records whether the node serves.
    async fn on_fleet_phase(self: &Rc<Self>, phase: FleetPhase) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let was_served = self.is_served();
        fleet.phase.set(phase);
        if !was_served && self.is_served() {
            // What was proposed before the node served was let go by its thread.
            self.let_held_go();
        }
        self.set_stuck(phase != FleetPhase::Serving);
        if matches!(phase, FleetPhase::CutOff | FleetPhase::Unusable) {
            self.let_held_go();
            self.close_members().await;
        }
    }
}

impl RoutedRecord {
    /// Returns when its messages were published, as this machine counts: now, but for what was in the log before.
    pub(super) fn at(&self, now: Instant) -> Instant {
        if !self.is_old {
            return now;
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.record.at_ms);
        let age = SystemTime::now().duration_since(at).unwrap_or_default();
        now.checked_sub(age).unwrap_or(now)
    }
}
