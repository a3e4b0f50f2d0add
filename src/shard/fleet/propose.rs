//! What goes to the log.

use super::ShardFleet;
use crate::channel::{FrameRun, PublisherId, SessionId};
use crate::order::{Author, Content, NamedPublication, Section};
use crate::shard::Shard;
use crate::shard::room::Room;
use crate::shard::sequence::{Confirm, Proposed};

impl ShardFleet {
    /// Proposes a run of a room, which comes back with the ticket that this returns.
    pub(in crate::shard) fn propose_run(
        &self,
        room: &Room,
        proposed: &Proposed,
        messages: u32,
        publisher: Option<PublisherId>,
        confirm: Option<&Confirm>,
    ) -> u64 {
        let named = confirm.and_then(Confirm::idempotency);
        let by = match (named, publisher) {
            (Some(named), _) => Author::Publication(NamedPublication {
                publisher: named.publisher,
                content: named.content,
            }),
            (None, Some(publisher)) => Author::Publisher(publisher),
            (None, None) => Author::Unnamed,
        };
        let run = proposed.run.clone();
        self.propose(room, proposed.from, Content::Run { run, messages, by })
    }

    /// Proposes that a publisher takes the seat of a session.
    pub(super) fn propose_seat(
        &self,
        room: &Room,
        session: SessionId,
        publisher: PublisherId,
        counts_anew: bool,
    ) -> u64 {
        let seat = Content::Seat {
            publisher,
            counts_anew,
        };
        self.propose(room, session, seat)
    }

    fn propose(&self, room: &Room, session: SessionId, content: Content) -> u64 {
        let ticket = self.next_ticket();
        self.handle.propose(Section {
            channel: (*room.name).into(),
            session: session.0,
            ticket,
            content,
        });
        ticket
    }
}

impl Shard {
    /// Has hints that were delivered here delivered on the other nodes of the fleet as well, if there is one.
    pub(in crate::shard) fn pass_hints_on(&self, room: &Room, run: &FrameRun) {
        if let Some(fleet) = &self.fleet {
            let run = run.clone();
            fleet.propose(room, SessionId::NONE, Content::Hints { run });
        }
    }
}
