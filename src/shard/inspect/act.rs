//! What an operator has a shard do.

use std::rc::Rc;

use super::super::ended::Ended;
use super::super::session::Session;
use super::super::{Shard, turn};
use super::STEP;
use super::walk::{SeenChannel, Visitor};
use crate::channel::{History, Member, SessionId};

/// Runs that are let go in one step.
const RUNS: usize = 256;

/// Size of a history that was cleared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClearedHistory {
    pub(crate) messages: usize,
    /// Memory in bytes.
    pub(crate) bytes: usize,
}

/// Looks for one session.
struct SessionFinder {
    wanted: SessionId,
    found: Option<Rc<Session>>,
}

impl Visitor for SessionFinder {
    fn begin(&mut self, _: &mut SeenChannel<'_>) -> bool {
        self.found.is_none()
    }

    fn member(&mut self, member: &Member<Rc<Session>>) {
        if member.session == self.wanted {
            self.found = Some(member.handle.clone());
        }
    }

    fn end(&mut self, _: &mut SeenChannel<'_>) {}
}

impl Shard {
    /// Ends a session of this shard. Returns `false` if it has no such session.
    pub(super) async fn end_by_operator(self: &Rc<Self>, wanted: SessionId) -> bool {
        let mut finder = SessionFinder {
            wanted,
            found: None,
        };
        self.visit_all(&mut finder).await;
        let Some(session) = finder.found.filter(|session| !session.is_over()) else {
            return false;
        };
        self.end(&session, Ended::ByOperator);
        true
    }

    /// Clears the history of a channel that this shard owns; positions go on. Returns what was in it.
    pub(in crate::shard) async fn clear_history(&self, name: &str) -> Option<ClearedHistory> {
        let mut taken = self.take_history(name)?;
        let cleared = ClearedHistory {
            messages: taken.frames(),
            bytes: taken.cost(),
        };
        tracing::info!(
            channel = %crate::escape::Escaped(name), messages = cleared.messages, bytes = cleared.bytes,
            "history cleared by an operator"
        );
        while taken.drop_oldest_runs(RUNS) {
            turn::spend(STEP);
            self.rest().await;
        }
        Some(cleared)
    }

    fn take_history(&self, name: &str) -> Option<History> {
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(name)?;
        let room = registry.room(at)?;
        room.mark_unsaved();
        Some(room.channel.take_history())
    }
}
