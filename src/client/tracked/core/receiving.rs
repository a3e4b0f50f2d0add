//! What the receiving half of a session asks of its core.

use super::{Core, Link};
use crate::client::error::Error;
use crate::client::event::Event;
use crate::client::inbound::Inbound;
use crate::client::tracked::inbox::Inbox;
use crate::protocol::Position;

impl Core {
    /// Returns the next event; `None` in it once the session is over.
    ///
    /// # Errors
    ///
    /// Once: the reason for which the session is over.
    pub(in crate::client) fn next_event(&mut self) -> Option<Result<Option<Event>, Error>> {
        if let Some(event) = self.inbox.pop() {
            return Some(Ok(Some(event)));
        }
        if !matches!(self.link, Link::Over) {
            return None;
        }
        Some(self.end.take().map_or(Ok(None), Err))
    }

    /// Returns the position before the next message, or hole, that waits for the receiving half.
    pub(in crate::client) fn position(&self) -> Option<Position> {
        self.inbox.position().unwrap_or(self.tracker.position())
    }

    /// Returns the connection, if there is one.
    pub(in crate::client) const fn inbound(&mut self) -> Option<&mut Inbound> {
        match &mut self.link {
            Link::Up { inbound, .. } => Some(inbound),
            _ => None,
        }
    }

    /// Lets the session end with its connection from now on.
    pub(in crate::client) fn stop_reconnecting(&mut self) {
        self.backoff = None;
        if matches!(self.link, Link::Down(_)) {
            self.link = Link::Over;
        }
    }

    /// Notes that nobody takes events any more.
    pub(in crate::client) fn receiver_dropped(&mut self) {
        self.has_receiver = false;
        self.inbox = Inbox::default();
        self.stop_reconnecting();
    }

    /// Returns the state in a word, for debugging.
    pub(in crate::client) const fn state(&self) -> &'static str {
        match &self.link {
            Link::Up { inbound, .. } => inbound.state(),
            Link::Down(_) => "coming back",
            Link::Over => "over",
        }
    }
}
