//! The errors of clients.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::protocol::{BodyError, FrameError};
use crate::server_name::BadServerName;
#[cfg(feature = "tls")]
use crate::tls::{HandshakeError, TlsError};

/// An error of a client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's name is not `HOST` or `HOST:PORT`.
    #[error(transparent)]
    Address(#[from] BadServerName),
    /// The server's name was not found, none of its addresses could be connected to in time, or the TLS
    /// handshake failed (see `Error::handshake`).
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// The server as the user has written it.
        server: String,
        /// The error of the last address that was tried.
        source: io::Error,
    },
    /// The authorities of the system, which TLS would trust, cannot be loaded.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server closed the connection right after the join and before anything came, and goes on
    /// listening: v1 servers refuse a join that way and give no reason.
    ///
    /// The message has the likely reasons. Others are an address key while the server sees another
    /// address than this host has (NAT, proxy, container), and a name that is too long.
    #[error(
        "the server refused the join: wrong or missing key, or the connection id is in use (the \
         same uid joined twice), or a limit of the server; its log has the reason"
    )]
    Refused {
        /// The time from the join to the end.
        after: Duration,
    },
    /// The server refused the join, and said why. Servers say so to sessions that ask for positions.
    #[error("the server refused the join: {reason}")]
    Denied {
        /// The close code that a client over WebSocket gets for the same: 4401 for what it has shown, 4403 for a right
        /// that is missing.
        code: u16,
        /// The reason, for people.
        reason: Box<str>,
    },
    /// The server ended the session, and said why.
    #[error("the server ended the session: {reason}")]
    Ended {
        /// The close code, as in [`Denied`](Self::Denied).
        code: u16,
        /// The reason, for people.
        reason: Box<str>,
    },
    /// The message does not fit into one frame, or a frame is not one.
    #[error("cannot be sent: {0}")]
    Message(#[from] BodyError),
    /// The bytes that were to be sent as encoded frames are not a sequence of whole frames.
    #[error("not a sequence of whole frames: {0}")]
    Frames(String),
    /// The server sent something that is not an Mles v1 frame, or a frame over the client's limit.
    #[error("the server sent a bad frame: {0}")]
    Received(#[from] FrameError),
    /// The server closed the connection in the middle of a frame.
    #[error("the server closed the connection in the middle of a frame")]
    Cut,
    /// The connection was closed and nothing more can be published; the receiving side knows why. As the
    /// reason of a reconnect: the server closed the connection in an orderly way.
    #[error("the connection was closed")]
    Closed,
    /// The session's sending side was finished before.
    #[error("the sending side is finished")]
    Finished,
    /// The session does not ask for positions, or the server does not give them: nothing can be confirmed.
    #[error("the server does not confirm messages: it gives no positions")]
    NoPositions,
    /// An empty message only announces its sender, and has no place that could be confirmed.
    #[error("an empty message only announces its sender and cannot be confirmed")]
    Empty,
    /// The session ended, or another server took over, before the receipt of a message came: it may have taken its
    /// place or not.
    #[error("the message was sent, but not confirmed: it may have been published or not")]
    Unconfirmed,
    /// The token to show could not be had; the text says why.
    #[error("no token: {0}")]
    Token(String),
    /// A blocking call took longer than its timeout; it can be repeated.
    #[error("timed out")]
    TimedOut,
    /// The connection failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Returns `true` if trying again cannot help, because the cause is what the user has given and not
    /// the connection.
    pub(super) const fn is_final(&self) -> bool {
        match self {
            Self::Address(_) | Self::Message(_) | Self::Frames(_) | Self::Finished => true,
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            _ => false,
        }
    }
}

#[cfg(feature = "tls")]
impl Error {
    /// Returns the cause if TLS failed.
    ///
    /// A server refuses the certificate of a client only after the client's part of the handshake is
    /// over, so the first read can fail with it as well as connecting.
    #[must_use]
    pub fn handshake(&self) -> Option<HandshakeError> {
        match self {
            Self::Connect { source, .. } | Self::Io(source) => HandshakeError::of(source),
            _ => None,
        }
    }
}
