//! Members that ask for positions.

use std::time::Instant;

use super::fanout::Fanout;
use super::history::PageLimit;
use super::member::SessionId;
use super::owner::{Channel, CidInUse, Joined, Place};
use super::publishers::PublisherId;
use crate::protocol::{Cid, ResumeRequest, Welcome};

/// The answer to a member that has asked for positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it is told first.
    pub welcome: Welcome,
    /// Set if it wants to know who is there: the largest number of names in the first answer.
    pub members: Option<u64>,
}

impl<T> Channel<T> {
    /// Takes a seat like [`Channel::join`], for a session that asks for positions: it gets what follows the one that it
    /// knows. The messages have to be numbered, see [`Channel::number`].
    ///
    /// Another session of the same publisher has to leave first: see [`Channel::holder`].
    ///
    /// # Errors
    ///
    /// The connection id belongs to another session that is not half-closed.
    pub fn join_resuming(
        &mut self,
        (cid, session): (Cid, SessionId),
        request: &ResumeRequest,
        announcement: Option<&[u8]>,
        now: Instant,
        place: impl FnOnce(&mut Fanout<T>, u32) -> Place,
    ) -> Result<Joined<T>, CidInUse> {
        let mut joined = self.join_without_history(cid, session, announcement, now, place)?;
        let everything = PageLimit {
            messages: usize::MAX,
            bytes: usize::MAX,
        };
        let Some(page) = self.since(request.since, everything, now) else {
            return Ok(joined);
        };
        let position = page.position();
        let first = page.runs.first();
        let replay = first.map_or(0, |(first, _)| position.offset + 1 - first);
        let published = request.publisher.and_then(|publisher| {
            let seat = (cid, session);
            self.seat_publisher(PublisherId(publisher), request.since, seat, now)
        });
        let welcome = Welcome {
            position,
            replay,
            recovered: page.is_recovered,
            missed: page.missed,
            published,
        };
        joined.replay = page.runs.into_iter().map(|(_, run)| run).collect();
        joined.resumed = Some(Resumed {
            welcome,
            members: request.members,
        });
        Ok(joined)
    }

    /// Returns the connection id and the session that a publisher has in the channel.
    #[must_use]
    pub fn holder(&self, publisher: PublisherId) -> Option<(Cid, SessionId)> {
        self.numbered.as_ref()?.seated.holder(publisher)
    }

    /// Returns the publisher whose session that is.
    #[must_use]
    pub fn publisher_of(&self, session: SessionId) -> Option<PublisherId> {
        self.numbered.as_ref()?.seated.publisher_of(session)
    }

    /// Records that the publisher of a session on another shard, which has lost its seat, has come back. What the
    /// session has published and is on its way must not be committed any more, until it [has
    /// ended](Channel::has_ended).
    pub fn overtake(&mut self, session: SessionId) {
        if let Some(numbered) = &mut self.numbered {
            numbered.seated.overtake(session);
        }
    }

    /// Returns `true` if what a session on another shard has published is to be left out: its publisher has come back
    /// since, and was told what has its place.
    #[must_use]
    pub fn is_overtaken(&self, session: SessionId) -> bool {
        let numbered = self.numbered.as_ref();
        numbered.is_some_and(|numbered| numbered.seated.is_overtaken(session))
    }

    /// Records that nothing more comes from a session on another shard.
    pub fn has_ended(&mut self, session: SessionId) {
        if let Some(numbered) = &mut self.numbered {
            numbered.seated.has_ended(session);
        }
    }
}
