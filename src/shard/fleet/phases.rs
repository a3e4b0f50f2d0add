//! What a shard does when the node does not serve, or begins anew.

use std::rc::Rc;

use crate::fleet::FleetPhase;
use crate::protocol::Epoch;
use crate::shard::ended::Ended;
use crate::shard::session::Session;
use crate::shard::{BrokerPhase, Shard, turn};

impl Shard {
    /// Returns `true` unless this is a node of a fleet that serves nobody now.
    pub(in crate::shard) fn is_served(&self) -> bool {
        let fleet = self.fleet.as_ref();
        fleet.is_none_or(|fleet| {
            matches!(fleet.phase.get(), FleetPhase::Serving | FleetPhase::Stalled)
        })
    }

    /// Waits until the node has caught up with its fleet, if it is in one. Cancel safe.
    pub(in crate::shard) async fn caught_up_with_fleet(&self) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        while !self.is_served() {
            tokio::select! {
                () = fleet.has_moved.notified() => {}
                () = self.reached(BrokerPhase::Unready) => return,
            }
        }
    }

    /// Voids what is known of all channels: an order begins behind `offset`, also of those that have no room yet. Offsets of
    /// the order before may be higher.
    pub(super) fn void_rooms(&self, epoch: Epoch, offset: u64) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        fleet.epoch.set(epoch);
        fleet.forgotten_to.set(offset);
        let mut registry = self.registry.borrow_mut();
        registry.forget_gone();
        for at in 0..registry.rooms_end() {
            if let Some(room) = registry.room(at) {
                drop(room.channel.begin_order(epoch, offset));
            }
        }
    }

    /// Lets go of all runs that are held: nobody knows what becomes of them.
    pub(super) fn let_held_go(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.seats.take();
        }
        let mut registry = self.registry.borrow_mut();
        for at in 0..registry.rooms_end() {
            let Some(room) = registry.room(at) else {
                continue;
            };
            while let Some((held, cost)) = room.take_held(u64::MAX) {
                self.held.subtract(cost);
                self.lose(held);
            }
            room.list_by_need();
        }
    }

    /// Closes all sessions: they find another node.
    pub(super) async fn close_members(self: &Rc<Self>) {
        let sessions = self.registry.borrow().members();
        self.close_sessions(&sessions).await;
    }

    /// Closes the sessions that have asked for positions: these are void.
    pub(super) async fn close_members_with_positions(self: &Rc<Self>) {
        let mut sessions = self.registry.borrow().members();
        sessions.retain(|session| self.has_positions(session));
        self.close_sessions(&sessions).await;
    }

    async fn close_sessions(self: &Rc<Self>, sessions: &[Rc<Session>]) {
        if !sessions.is_empty() {
            tracing::warn!(
                shard = self.id.0,
                sessions = sessions.len(),
                "sessions closed"
            );
        }
        for session in sessions {
            self.end(session, Ended::CutOff);
            turn::spend(turn::SYSTEM_CALL);
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
    }

    fn has_positions(&self, session: &Session) -> bool {
        let Some(key) = session.key.get() else {
            return false;
        };
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(session.home);
        let member = members.and_then(|members| members.local.get(key, session.id));
        member.is_some_and(|member| member.has_positions())
    }
}
