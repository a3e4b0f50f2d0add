//! Members that ask for positions.

use std::time::Instant;

use bytes::Bytes;

use super::fanout::Fanout;
use super::form::messages;
use super::history::PageLimit;
use super::member::SessionId;
use super::numbered::MessagePage;
use super::owner::{Channel, CidInUse, Joined, Place};
use super::publishers::PublisherId;
use crate::protocol::{Cid, Notice, Position, ResumeRequest, Welcome};

/// The answer to a member that has asked for positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// First notice to the member.
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
        let position = match self.newest() {
            Some(newest) if self.jumps() => newest,
            _ => page.position(),
        };
        let first = page
            .runs
            .first()
            .map_or(position.offset, |(first, _)| first - 1);
        let start = self.jumps().then_some(Position {
            epoch: position.epoch,
            offset: first,
        });
        let published = request.publisher.and_then(|publisher| {
            let seat = (cid, session);
            self.seat_publisher(PublisherId(publisher), request.since, seat, now)
        });
        let welcome = Welcome {
            position,
            start,
            replay: page.messages,
            recovered: page.is_recovered,
            missed: page.missed,
            published,
        };
        joined.replay = match start {
            None => page.runs.into_iter().map(|(_, run)| run).collect(),
            Some(start) => jumping_replay(page, start.offset, position),
        };
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

/// Returns the runs of a page for a client that has everything up to the offset `before`. In front of a run that does not
/// follow the one before it there is a notice of where it begins, and behind all of them one that it has everything up to
/// `end`.
fn jumping_replay(page: MessagePage, before: u64, end: Position) -> Vec<Bytes> {
    let mut replay = Vec::with_capacity(page.runs.len() + 1);
    let mut before = before;
    for (first, run) in page.runs {
        if first != before + 1 {
            let (epoch, offset) = (page.epoch, first - 1);
            replay.push(Notice::jump_to(Position { epoch, offset }).encode());
        }
        before = first - 1 + messages(&run);
        replay.push(run);
    }
    if before != end.offset {
        replay.push(Notice::jump_to(end).encode());
    }
    replay
}
