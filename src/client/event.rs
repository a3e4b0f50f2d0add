//! What a session tells its user, besides messages.

use std::time::Duration;

use bytes::Bytes;

use super::error::Error;
use super::received::Received;
use crate::protocol::{BodyError, Position};

/// An event of a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message was received.
    Message(Received),
    /// A frame was received whose body is no message: servers need not check what members send.
    Malformed {
        /// The whole frame.
        frame: Bytes,
        /// The fault of its body.
        error: BodyError,
    },
    /// Messages are missing here: they came while this session was away and the server no longer has them, or the
    /// session was too slow for them. Only in sessions with positions.
    Gap {
        /// Number of messages; `None` if it is not known, as after a restart of the server.
        missed: Option<u64>,
    },
    /// Messages of this session have taken their place in the order of the channel. Only in sessions with positions.
    ///
    /// Messages are confirmed in the order in which they were published. Empty ones are not counted: they only
    /// announce the sender.
    Confirmed {
        /// Number of messages that are confirmed by this.
        count: u64,
        /// The position of the last of them. The others are right before it, each at the position before the next.
        /// All of them may be earlier where a [`Gap`](Self::Gap) comes before this event, or an
        /// [`Unconfirmed`](Self::Unconfirmed) behind it.
        position: Position,
    },
    /// It cannot be known whether messages of this session have taken their place. They were on their way when the
    /// connection was lost, and the server that is there now knows nothing of them. They are not sent again. Only in
    /// sessions that reconnect.
    Unconfirmed {
        /// Number of messages: the next ones after those that are confirmed.
        count: u64,
    },
    /// The session may not do everything in its channel, or its rights have changed. Only in sessions with positions.
    Rights {
        /// The names of its rights, of `publish`, `subscribe`, `history` and `presence`. Without `subscribe`, no messages
        /// come.
        allowed: Vec<Box<str>>,
    },
    /// Who is in the channel. Only in sessions that [ask for members](super::Client::members): once behind each join, and again
    /// when the session has caught up after it was too slow to be told of all changes. What was known before is over.
    Members {
        /// Number of members, the session itself included.
        count: u64,
        /// The uids of members, as many as the session has asked for at most. One that is there twice has two entries.
        uids: Vec<Box<str>>,
    },
    /// Members have come or left. Only in sessions that [ask for members](super::Client::members).
    MembersChanged {
        /// Number of members now. It may be ahead of the names: those that there was no room for come with the next changes.
        count: u64,
        /// The uids of members that have come.
        joined: Vec<Box<str>>,
        /// The uids of members that have left.
        left: Vec<Box<str>>,
    },
    /// The server does not take a token that was shown in the place of the one before, which counts until it expires. Only
    /// in sessions with tokens.
    TokenRefused {
        /// The reason, for people.
        reason: String,
    },
    /// The connection was lost, or an attempt to connect failed; only in sessions that reconnect. If
    /// there were many while the session was not read from, the oldest are left out.
    Disconnected {
        /// The reason; [`Error::Closed`] if the server closed it in an orderly way.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The session is connected again, and the join was sent.
    Reconnected,
}
