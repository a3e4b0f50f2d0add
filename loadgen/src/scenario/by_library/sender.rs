//! Those who send, and what they wait for: the subscribers of their channel.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::super::topology::{Shape, WRITE_LEN};
use crate::library::{LibraryError, LibraryPublisher};
use crate::payload::PayloadHeader;
use crate::verify::{Stamp, Verifier};

/// A channel: what its subscribers have seen.
pub(super) struct ChannelReceivers {
    pub(super) verifiers: Vec<RefCell<Verifier>>,
    /// Told of each delivery.
    pub(super) delivery: Notify,
    pub(super) last_delivery: Cell<Instant>,
}

impl ChannelReceivers {
    pub(super) fn new(shape: &Shape) -> Self {
        let publishers = usize::from(shape.publishers);
        let verifier = || RefCell::new(Verifier::new(publishers));
        Self {
            verifiers: (0..shape.subscribers).map(|_| verifier()).collect(),
            delivery: Notify::new(),
            last_delivery: Cell::new(Instant::now()),
        }
    }

    /// Returns the number of a publisher's messages that every subscriber has.
    fn slowest(&self, publisher: u16) -> u64 {
        let progress = |it: &RefCell<Verifier>| it.borrow().progress(publisher.into());
        let all = self.verifiers.iter().map(progress);
        all.min().unwrap_or_default()
    }

    pub(super) fn deaf(&self) -> usize {
        let is_deaf = |it: &&RefCell<Verifier>| !it.borrow().heard_probe();
        self.verifiers.iter().filter(is_deaf).count()
    }
}

/// A publisher through a client library, with the receivers it waits for.
pub(super) struct LibrarySender<P> {
    pub(super) publisher: P,
    pub(super) receivers: Rc<ChannelReceivers>,
    /// Number of the publisher in its channel.
    pub(super) index: u16,
    /// The number of the next message.
    pub(super) sent: u64,
    /// Bytes of each message.
    pub(super) payload: usize,
}

impl<P: LibraryPublisher> LibrarySender<P> {
    /// Sends up to message `limit`, or until `end`, no more than `window` messages ahead of the
    /// slowest subscriber, and waits until that has them all.
    pub(super) async fn send(
        &mut self,
        limit: u64,
        end: Option<Instant>,
        window: u64,
    ) -> Result<(), LibraryError> {
        let batch = (WRITE_LEN / self.payload).max(1) as u64;
        loop {
            // Made before looking, so that no delivery in between is missed.
            let delivery = self.receivers.delivery.notified();
            let acknowledged = self.receivers.slowest(self.index);
            let is_over = end.is_some_and(|end| Instant::now() >= end) || self.sent >= limit;
            if is_over && acknowledged >= self.sent {
                return Ok(());
            }
            let until = limit.min(acknowledged.saturating_add(window));
            if is_over || self.sent >= until {
                delivery.await;
                continue;
            }
            let next = until.min(self.sent + batch);
            let stamps = (self.sent..next).map(|sequence| Stamp::new(self.index, sequence));
            let messages = stamps.map(|stamp| self.message(stamp)).collect();
            self.sent = next;
            self.publisher.publish(messages).await?;
        }
    }

    pub(super) fn message(&self, header: impl PayloadHeader) -> Bytes {
        let mut message = vec![b'.'; self.payload];
        header.write(&mut message);
        message.into()
    }
}
