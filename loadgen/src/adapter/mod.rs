//! The trait behind which brokers' wire formats are, and the walk through received bytes.
//!
//! An adapter says which bytes open a session, how a message is published, and where the next
//! payload in the received bytes begins. It does no I/O and keeps no state, so that every broker
//! is loaded, read and checked by the same code: sockets in [`crate::fleet`], the walk through
//! received bytes in [`scanner`], verification in [`crate::verify`].
//!
//! An adapter must not look into payloads, nor do work per message: [`scanner`] asks it only when a
//! head differs from the one before it.

mod over_tls;
mod positions;
mod scanner;

use std::net::SocketAddr;

use mles::protocol::Position;
use thiserror::Error;

pub(crate) use over_tls::OverTls;
pub(crate) use positions::{PositionCount, PositionNotice};
#[cfg(test)]
pub(crate) use scanner::tests::{assert_scans, payload, session};
pub(crate) use scanner::{MAX_CARRY, Scanner};

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends; what it receives is drained and not counted.
    Publisher,
    /// Receives.
    Subscriber,
    /// Does both on one connection, where [`Adapter::is_duplex`]. What it sends need not come back.
    Member,
    /// Sends, and has each message confirmed, where the broker does that. What else it receives is
    /// drained and not counted.
    ConfirmedPublisher,
}

impl Role {
    /// Returns `true` if the connection receives messages that count.
    pub(crate) fn is_receiving(self) -> bool {
        match self {
            Self::Subscriber | Self::Member => true,
            Self::Publisher | Self::ConfirmedPublisher => false,
        }
    }
}

/// Everything that an adapter needs to know about one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
    /// The part that the connection plays.
    pub(crate) role: Role,
    /// Unlike that of every other connection of this program's run.
    pub(crate) number: u32,
    /// The channel, subject or topic.
    pub(crate) channel: &'a str,
    /// The position to go on from; `None` for a session that is new.
    pub(crate) since: Option<Position>,
}

/// A message as it goes over the wire, with the place to write stamps to.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// The bytes to send.
    pub(crate) bytes: Vec<u8>,
    /// Index at which the payload begins.
    pub(crate) payload_at: usize,
}

/// The kind of message at the start of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Not enough bytes to tell.
    Partial,
    /// A message: `head` bytes, then `payload` bytes, then `tail` bytes.
    Delivery {
        head: usize,
        payload: usize,
        tail: usize,
    },
    /// Something of `len` bytes that needs no answer.
    Control { len: usize },
    /// Something of `len` bytes that [`Adapter::pong`] answers.
    Ping { len: usize },
    /// The broker's word, of `len` bytes, that it has a message which was published on this connection.
    Confirm { len: usize },
    /// A notice about positions, of `len` bytes. A receipt confirms messages too.
    Notice { len: usize, notice: PositionNotice },
}

/// Bytes from a broker that make no sense, or say no.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The bytes do not belong to the broker's protocol.
    #[error("unexpected bytes from the broker: {0}")]
    Unexpected(String),
    /// The broker reports an error.
    #[error("the broker says: {0}")]
    Refused(String),
    /// A payload this protocol cannot carry.
    #[error("a payload of {0} bytes does not fit this protocol")]
    TooLong(usize),
}

impl WireError {
    /// Returns the error for bytes that are not what the protocol has; the first of them are quoted.
    pub(crate) fn unexpected(bytes: &[u8]) -> Self {
        Self::Unexpected(bytes[..bytes.len().min(64)].escape_ascii().to_string())
    }

    /// Returns the error for an error line of the broker's.
    pub(crate) fn refused(line: &[u8]) -> Self {
        Self::Refused(line.trim_ascii().escape_ascii().to_string())
    }
}

/// One broker's wire format.
pub(crate) trait Adapter {
    /// Returns the first bytes to send on a new connection.
    ///
    /// # Errors
    /// The session cannot be put into this protocol.
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError>;

    /// Encodes `payload` as a message to the session's channel.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError>;

    /// Tells what `received` begins with. Never asked about an empty slice.
    ///
    /// # Errors
    /// Bytes that this protocol does not have there, or an error from the broker.
    fn head(&self, received: &[u8]) -> Result<Head, WireError>;

    /// Returns `true` if one connection can both publish and subscribe.
    fn is_duplex(&self) -> bool {
        true
    }

    /// Returns the answer to [`Head::Ping`]; nothing for protocols without.
    fn pong(&self) -> &'static [u8] {
        b""
    }

    /// Returns `true` if those who receive ask for positions, and count them.
    fn counts_positions(&self) -> bool {
        false
    }

    /// Returns `true` if payloads are base64 when they are delivered.
    fn is_base64(&self) -> bool {
        false
    }

    /// Returns `true` if all bytes go through TLS.
    fn is_over_tls(&self) -> bool {
        false
    }
}

/// Returns the line at the start of `bytes`, its CR LF included; `None` when it has not come whole.
pub(crate) fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&bytes[..end + 2])
}

/// Reads a decimal number that fills `digits`.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
