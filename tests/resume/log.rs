//! What the actors of a run have seen, in the order in which it came to the test.

use std::fmt::{self, Display};

use mles::protocol::{Epoch, Position};

use crate::notice::{Changes, Gap, Members, Receipt, Welcome};
use crate::payload::{Body, Tag};

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It lets its clients go.
    Orderly,
    /// At once; one in a process of its own is killed.
    Sudden,
}

/// An event of one actor.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session that asks for positions sends its join.
    Join {
        since: Option<Position>,
        /// A position that somebody has known by now.
        floor: Option<Position>,
    },
    Welcome(Welcome),
    Message {
        body: Body,
        /// The position that the server gave with it, where the transport has that.
        told: Option<Position>,
    },
    Receipt {
        receipt: Receipt,
        /// The messages of the client that have waited for it for longest.
        tags: Vec<Tag>,
    },
    Gap(Gap),
    Members(Members),
    Changes(Changes),
    /// The welcome says that these had their place already.
    Placed(Vec<Tag>),
    /// It does not say what became of these. They are not sent again.
    Doubtful(Vec<Tag>),
    /// Messages that were published over HTTP.
    Posted {
        tags: Vec<Tag>,
        first: Position,
        last: Position,
    },
    /// A page that was read over HTTP.
    Page(Page),
    /// The server has started, and the channel has this epoch. No session that does not ask has begun yet.
    Server(Epoch),
    /// So many batches are on disk. That was asked for after this actor's entry before, of the same server.
    Written(u64),
    /// At the end: the offset up to which the order that has become of each epoch has the same messages.
    Ends(Vec<(Epoch, u64)>),
    /// The server is stopped.
    Stop(Stop),
    /// A session that does not ask for positions has joined.
    PlainJoin,
    /// It has got a message.
    PlainMessage(Body),
    /// A connection has ended, or the client has given it up.
    End(String),
    /// The server has sent what it must not.
    Fault(String),
}

/// Messages that were read over HTTP.
#[derive(Clone, Debug)]
pub struct Page {
    pub since: Option<Position>,
    pub limit: usize,
    pub messages: Vec<(Position, Body)>,
    pub is_recovered: bool,
    pub missed: Option<u64>,
    pub next: Position,
    /// As for a join.
    pub floor: Option<Position>,
}

/// The event of an actor.
#[derive(Clone, Debug)]
pub struct Entry {
    pub actor: usize,
    pub event: Event,
}

impl Entry {
    pub fn is_fault(&self) -> bool {
        matches!(self.event, Event::Fault(_))
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3} ", self.actor)?;
        match &self.event {
            Event::Message {
                body: Body::Tagged(tag),
                told: None,
            } => {
                write!(f, "message {}/{}", tag.actor, tag.number)
            }
            Event::End(why) => write!(f, "the end: {why}"),
            event => write!(f, "{event:?}"),
        }
    }
}
