//! What a session of a fleet waits for before it has a seat.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ShardFleet;
use crate::channel::PublisherId;
use crate::fleet::FleetPhase;
use crate::order::Sequence;
use crate::protocol::Position;
use crate::shard::message::{Arrival, Introduced, Socket};
use crate::shard::refusal::Refusal;
use crate::shard::{BrokerPhase, Shard};

/// Longest time that a session waits for this node to be as far as it is itself, or for its publisher's seat.
const PATIENCE: Duration = Duration::from_secs(5);

/// What somebody waits for.
#[derive(Debug)]
enum FleetWait {
    /// The node serves.
    Serving,
    /// What somebody knows has been applied here.
    Applied(Sequence),
    /// The log has given the publisher its seat.
    Seat(oneshot::Receiver<()>),
}

impl ShardFleet {
    /// Returns the record that somebody knows who has that position, if it was not applied here yet.
    fn is_ahead(&self, since: Option<Position>) -> Option<Sequence> {
        let since = since.filter(|since| since.epoch == self.epoch.get())?;
        let sequence = Sequence::of_offset(since.offset);
        (sequence > self.applied.get()).then_some(sequence)
    }

    fn has_reached(&self, sequence: Sequence) -> bool {
        self.applied.get() >= sequence
    }
}

impl Shard {
    /// Returns the session unless it has to wait for the fleet, or is refused. One that waits is seated then.
    pub(in crate::shard) fn wait_for_fleet(
        self: &Rc<Self>,
        mut arrival: Arrival<Socket>,
        now: Instant,
    ) -> Option<Arrival<Socket>> {
        match self.fleet_wait(&mut arrival, now) {
            Ok(None) => return Some(arrival),
            Ok(Some(wait)) => self.spawn(self.clone().seat_behind(arrival, wait)),
            Err(refusal) => self.refuse(arrival, refusal),
        }
        None
    }

    /// Returns what a session has to wait for before it may have a seat in a channel of the fleet, if there is one.
    ///
    /// # Errors
    ///
    /// This node serves nobody, or its publisher may not have a seat.
    fn fleet_wait(
        self: &Rc<Self>,
        arrival: &mut Arrival<Socket>,
        now: Instant,
    ) -> Result<Option<FleetWait>, Refusal> {
        let Some(fleet) = &self.fleet else {
            return Ok(None);
        };
        match fleet.phase.get() {
            FleetPhase::Starting => return Ok(Some(FleetWait::Serving)),
            FleetPhase::CutOff | FleetPhase::Unusable => return Err(Refusal::CutOff),
            FleetPhase::Serving | FleetPhase::Stalled => {}
        }
        let Some(resume) = &arrival.resume else {
            return Ok(None);
        };
        let (publisher, since) = (resume.publisher.map(PublisherId), resume.since);
        if let Some(sequence) = fleet.is_ahead(since) {
            return Ok(Some(FleetWait::Applied(sequence)));
        }
        match publisher {
            Some(publisher) => self.seat_wait(fleet, arrival, publisher, since, now),
            None => Ok(None),
        }
    }

    /// Proposes the seat of a publisher that has none yet, and returns what tells when it has.
    fn seat_wait(
        self: &Rc<Self>,
        fleet: &ShardFleet,
        arrival: &mut Arrival<Socket>,
        publisher: PublisherId,
        since: Option<Position>,
        now: Instant,
    ) -> Result<Option<FleetWait>, Refusal> {
        let ip = arrival.identity.peer.ip();
        let at = self.find_or_open(&arrival.channel, ip, now)?;
        self.end_ghost(arrival, now)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        self.catch_up_with_fleet(room);
        let is_known = !room.channel.is_counted_anew(publisher, since, now);
        match arrival.introduced {
            Introduced::Anew => return Ok(None),
            Introduced::Known if is_known => return Ok(None),
            // It was forgotten meanwhile.
            Introduced::Known | Introduced::No => {}
        }
        let session = arrival.identity.session;
        let ticket = fleet.propose_seat(room, session, publisher, !is_known);
        let (seat, seated) = oneshot::channel();
        fleet.seats.borrow_mut().insert(ticket, seat);
        arrival.introduced = if is_known {
            Introduced::Known
        } else {
            Introduced::Anew
        };
        Ok(Some(FleetWait::Seat(seated)))
    }

    /// Waits, and gives the session its seat then.
    async fn seat_behind(self: Rc<Self>, arrival: Arrival<Socket>, wait: FleetWait) {
        tokio::select! {
            has_come = self.has_come(wait) => if has_come {
                self.seat(arrival);
            } else {
                self.refuse(arrival, Refusal::CutOff);
            },
            () = self.reached(BrokerPhase::Draining) => self.refuse(arrival, Refusal::Stopping),
        }
    }

    /// Waits at most for a few seconds. Returns `false` if it has not come. Cancel safe.
    async fn has_come(&self, wait: FleetWait) -> bool {
        let has_come = timeout(PATIENCE, async {
            match wait {
                FleetWait::Serving => self.moved_until(|_| self.is_served()).await,
                FleetWait::Applied(sequence) => {
                    self.moved_until(|fleet| fleet.has_reached(sequence)).await
                }
                FleetWait::Seat(seated) => seated.await.is_ok(),
            }
        });
        has_come.await.unwrap_or(false)
    }

    async fn moved_until(&self, has_come: impl Fn(&ShardFleet) -> bool) -> bool {
        let Some(fleet) = &self.fleet else {
            return true;
        };
        while !has_come(fleet) {
            fleet.has_moved.notified().await;
        }
        true
    }

    /// Returns `true` if somebody who reads behind a position knows what was not applied here yet, and may come.
    pub(in crate::shard) fn is_behind(&self, since: Option<Position>) -> bool {
        let fleet = self.fleet.as_ref();
        self.is_served() && fleet.is_some_and(|fleet| fleet.is_ahead(since).is_some())
    }

    /// Waits until what somebody knows who reads behind a position has been applied here, at most for a few seconds.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// It has not come.
    pub(in crate::shard) async fn reach_position(
        &self,
        since: Option<Position>,
    ) -> Result<(), Refusal> {
        let ahead = self.fleet.as_ref().and_then(|fleet| fleet.is_ahead(since));
        let Some(sequence) = ahead else {
            return Ok(());
        };
        let has_come = self.has_come(FleetWait::Applied(sequence)).await;
        has_come.then_some(()).ok_or(Refusal::CutOff)
    }
}
