//! What the sending half of a session asks of its core.

use super::{Core, Link};
use crate::client::error::Error;
use crate::client::tracked::outgoing::{Outcome, Outgoing};
use crate::client::tracked::tracker::Offer;
use crate::protocol::Position;

impl Core {
    pub(in crate::client) const fn outgoing(&self) -> &Outgoing {
        self.tracker.outgoing()
    }

    /// Returns whether the server gives positions, once that is known.
    pub(in crate::client) fn has_positions(&mut self) -> Option<Result<bool, Error>> {
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        match self.tracker.offer() {
            Offer::Open => None,
            offer => Some(Ok(offer == Offer::Given)),
        }
    }

    /// Queues a message, once there is room.
    pub(in crate::client) fn push(&mut self, message: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| Ok(outgoing.push(message)?))
    }

    /// Queues a message, once there is room, and waits for its position.
    pub(in crate::client) fn push_awaited(&mut self, message: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| {
            outgoing.push(message)?;
            outgoing.await_last();
            Ok(())
        })
    }

    /// Queues whole frames, once there is room.
    pub(in crate::client) fn push_frames(&mut self, frames: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| {
            outgoing.push_frames(frames);
            Ok(())
        })
    }

    fn when_room(
        &mut self,
        push: impl FnOnce(&mut Outgoing) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        if self.outgoing().is_full() {
            self.wants_flush = true;
            return None;
        }
        Some(push(self.tracker.outgoing_mut()))
    }

    /// Writes what is queued. Returns something once all of it is on its way.
    pub(in crate::client) fn flush(&mut self) -> Option<Result<(), Error>> {
        if self.outgoing().unwritten().is_empty() && !self.is_unflushed {
            return Some(Ok(()));
        }
        self.wants_flush = true;
        self.check_writable().err().map(Err)
    }

    /// Returns the position of the message that is waited for, once that is known.
    pub(in crate::client) fn confirmation(&mut self) -> Option<Result<Position, Error>> {
        match self.outgoing().outcome() {
            Some(Outcome::Confirmed(position)) => return Some(Ok(position)),
            Some(Outcome::Unknown) => return Some(Err(Error::Unconfirmed)),
            None => {}
        }
        match (&self.link, self.tracker.offer()) {
            (Link::Over, _) => Some(Err(Error::Unconfirmed)),
            (Link::Up { .. }, Offer::Missing) => Some(Err(Error::NoPositions)),
            _ => {
                self.wants_flush = true;
                None
            }
        }
    }

    /// Closes the sending side, now that everything is written.
    pub(in crate::client) fn finish(&mut self) {
        self.has_sender = false;
        self.finish_if_done();
    }

    /// Notes that nothing more is published. What was not flushed is lost.
    pub(in crate::client) fn sender_dropped(&mut self) {
        if !self.wants_flush {
            self.tracker.outgoing_mut().forget_unwritten();
        }
        self.finish();
    }

    fn check_writable(&mut self) -> Result<(), Error> {
        if let Some(error) = self.write_error.take() {
            return Err(error);
        }
        match self.link {
            Link::Up { writer: None, .. } | Link::Over => Err(Error::Closed),
            _ => Ok(()),
        }
    }
}
