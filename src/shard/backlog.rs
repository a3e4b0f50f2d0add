//! How far shards are behind with what others ask of them.

use std::sync::PoisonError;
use std::time::Duration;

use super::common::Common;
use super::mailbox::MailboxMeter;
use super::message::{Delivery, Request};

/// Meters of the mailboxes of all shards, by the shard's index.
#[derive(Debug, Default)]
pub(super) struct MailboxMeters {
    pub(super) requests: Vec<MailboxMeter<Request>>,
    pub(super) deliveries: Vec<MailboxMeter<Delivery>>,
}

/// Messages that wait in the mailboxes of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// Messages to it as the owner of channels.
    pub(crate) requests: usize,
    /// Messages to it as one that relays channels.
    pub(crate) deliveries: usize,
    /// Bytes of frames in all of them.
    pub(crate) bytes: usize,
    /// Time for which there were always some that it had not come to.
    pub(crate) age: Duration,
}

impl Common {
    /// Returns how far each shard is behind with what others ask of it, by its index.
    pub(crate) fn backlogs(&self) -> Vec<Backlog> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        let meters = meters.requests.iter().zip(&meters.deliveries);
        meters
            .zip(&self.stats)
            .map(|((requests, deliveries), stats)| {
                let since = stats.backlog_since.get();
                Backlog {
                    requests: requests.messages(),
                    deliveries: deliveries.messages(),
                    bytes: requests.bytes() + deliveries.bytes(),
                    age: if since == 0 {
                        Duration::ZERO
                    } else {
                        Duration::from_nanos(self.nanos().saturating_sub(since))
                    },
                }
            })
            .collect()
    }

    /// Lets go of what is left in the mailboxes, when all shards have ended: a meter keeps it.
    pub(crate) fn close_mailboxes(&self) {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        *meters = MailboxMeters::default();
    }
}
