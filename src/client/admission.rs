//! Telling a refused join from a session that ended.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::config::Client;
use super::error::Error;

/// An end later than this after the join, and twice the time of connecting, is no refusal. Servers
/// refuse at once, but for a second session with a connection id: they look for about a second
/// whether the first one is alive.
pub(super) const REFUSAL: Duration = Duration::from_secs(2);

/// For this long a connection that looks whether somebody listens is kept: one that a server takes
/// while it dies is reset, as it closes its sockets one after the other.
pub(super) const SETTLING: Duration = Duration::from_millis(50);

/// Tells how far a session has got, by what has come from the server.
///
/// v1 has no answer to a join: a server that refuses it closes the connection. So does one that is
/// stopped, at any time. Anything received shows that we were let in, and so does silence for longer
/// than a refusal takes. An end before that is a refusal if the server still listens
/// ([`EarlyEnd`]). Once we have closed our sending side, an orderly end may be the answer to that,
/// as it is with the reference server.
#[derive(Debug)]
pub(super) struct Admission {
    joined: Instant,
    /// How long a refusal may take.
    window: Duration,
    server: SocketAddr,
    heard: bool,
    finished: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// As an orderly close of a joined session, or with an error.
    Plain(Result<(), Error>),
    /// Before anything showed that we were let in.
    Early(EarlyEnd),
}

/// An end soon after the join without a byte: a refusal, or a server that was stopped just then. What
/// tells them apart is whether somebody listens there now.
#[derive(Debug)]
pub(super) struct EarlyEnd {
    after: Duration,
    server: SocketAddr,
    how: io::Result<()>,
}

impl Admission {
    /// For a join that `client` has just sent to `server`, which took `connecting` to connect to.
    pub(super) fn new(client: &Client, server: SocketAddr, connecting: Duration) -> Self {
        Self {
            joined: Instant::now(),
            window: client.join_timeout.min(REFUSAL + 2 * connecting),
            server,
            heard: false,
            finished: false,
        }
    }

    /// Something came.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// We have closed our sending side.
    pub(super) fn finished(&mut self) {
        self.finished = true;
    }

    /// Returns `true` if we were let in, as far as can be told by now.
    pub(super) fn granted(&self) -> bool {
        self.heard || self.joined.elapsed() >= self.window
    }

    /// Returns when silence shows that we were let in.
    pub(super) fn deadline(&self) -> Instant {
        self.joined + self.window
    }

    /// Returns what the end of the connection means.
    pub(super) fn ended(&self, how: io::Result<()>) -> End {
        let is_hangup = match &how {
            Ok(()) => !self.finished,
            Err(error) => is_hangup(error),
        };
        if self.granted() || !is_hangup {
            return End::Plain(how.map_err(Error::Io));
        }
        End::Early(EarlyEnd {
            after: self.joined.elapsed(),
            server: self.server,
            how,
        })
    }
}

impl EarlyEnd {
    /// Returns the address to look at.
    pub(super) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Returns what the end was, now that it is known whether anybody listens at the address.
    pub(super) fn judged(self, is_listening: bool) -> Result<(), Error> {
        if is_listening {
            return Err(Error::Refused { after: self.after });
        }
        self.how.map_err(Error::Io)
    }
}

/// Returns `true` if the other side hung up: a refused client that had sent more than its join sees a
/// reset.
fn is_hangup(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
