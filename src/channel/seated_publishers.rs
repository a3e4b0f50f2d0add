//! The publishers that have a session in a channel.

use std::collections::{HashMap, HashSet};

use super::member::SessionId;
use super::publishers::{Published, PublisherId};
use crate::protocol::Cid;

/// The publishers that have a session in a channel, which is never forgotten while it lasts; and the sessions that
/// such a publisher has left behind.
#[derive(Debug, Default)]
pub(super) struct SeatedPublishers {
    by_session: HashMap<SessionId, (PublisherId, Published)>,
    holders: HashMap<PublisherId, (Cid, SessionId)>,
    /// Sessions that have lost their seat to a new one of the same publisher, and live on other shards: what they have
    /// published before they know is still on its way, and must not be taken in behind what the new one was told.
    overtaken: HashSet<SessionId>,
}

impl SeatedPublishers {
    /// Adds a publisher and its session.
    pub(super) fn join(
        &mut self,
        publisher: PublisherId,
        (cid, session): (Cid, SessionId),
        published: Published,
    ) {
        self.by_session.insert(session, (publisher, published));
        self.holders.insert(publisher, (cid, session));
    }

    /// Returns the connection id and the session of a publisher.
    pub(super) fn holder(&self, publisher: PublisherId) -> Option<(Cid, SessionId)> {
        self.holders.get(&publisher).copied()
    }

    /// Returns what a publisher with a session has published.
    pub(super) fn published_by(&self, publisher: PublisherId) -> Option<Published> {
        let (_, session) = self.holder(publisher)?;
        let (_, published) = self.by_session.get(&session)?;
        Some(*published)
    }

    /// Returns the publisher whose session that is.
    pub(super) fn publisher_of(&self, session: SessionId) -> Option<PublisherId> {
        if self.by_session.is_empty() {
            return None;
        }
        let (publisher, _) = self.by_session.get(&session)?;
        Some(*publisher)
    }

    /// Returns all publishers.
    pub(super) fn ids(&self) -> impl Iterator<Item = PublisherId> + '_ {
        self.holders.keys().copied()
    }

    /// Counts messages that a session has published. Returns its publisher, if it has one.
    pub(super) fn published(
        &mut self,
        session: SessionId,
        offsets: (u64, u64),
    ) -> Option<PublisherId> {
        if self.by_session.is_empty() {
            return None;
        }
        let (publisher, published) = self.by_session.get_mut(&session)?;
        published.add(offsets);
        Some(*publisher)
    }

    /// Takes out the publisher whose session ends, if it is one's.
    pub(super) fn leave(&mut self, session: SessionId) -> Option<(PublisherId, Published)> {
        if self.by_session.is_empty() {
            return None;
        }
        let (publisher, published) = self.by_session.remove(&session)?;
        let is_holder = self
            .holder(publisher)
            .is_some_and(|(_, holder)| holder == session);
        if is_holder {
            self.holders.remove(&publisher);
        }
        if self.by_session.is_empty() {
            (self.by_session, self.holders) = Default::default();
        }
        is_holder.then_some((publisher, published))
    }

    /// Has what a session still publishes left out.
    pub(super) fn overtake(&mut self, session: SessionId) {
        self.overtaken.insert(session);
    }

    /// Returns `true` if what a session publishes is to be left out.
    pub(super) fn is_overtaken(&self, session: SessionId) -> bool {
        !self.overtaken.is_empty() && self.overtaken.contains(&session)
    }

    /// Records that nothing more comes from a session.
    pub(super) fn has_ended(&mut self, session: SessionId) {
        if self.overtaken.remove(&session) && self.overtaken.is_empty() {
            self.overtaken = HashSet::new();
        }
    }
}
