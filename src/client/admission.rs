//! Telling a refused join from a session that ended.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::error::Error;
use super::socket::ConnectInfo;

/// A connection that ends later than this after the join, and twice the time of connecting, was not
/// refused. Servers refuse at once, except for a second session with a connection id: they look for
/// about a second if the first one is alive.
pub(super) const REFUSAL: Duration = Duration::from_secs(2);

/// Tells if the server has let a session in, by what has come from it.
///
/// v1 has no answer to a join: a server that refuses it closes the connection. So does one that is
/// stopped, at any time. Anything received shows that we were let in, and so does silence for longer
/// than a refusal takes. An end before that is a refusal if the server still listens
/// ([`EarlyEnd`]). After we have closed our sending side, an orderly end may be the answer to that,
/// as it is with the reference server.
#[derive(Debug)]
pub(super) struct Admission {
    joined: Instant,
    /// Longest time that a refusal may take.
    window: Duration,
    server: SocketAddr,
    heard: bool,
    finished: bool,
}

/// End of a connection.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// The orderly close of a joined session, or an error.
    Plain(Result<(), Error>),
    /// An end before anything showed that we were let in.
    Early(EarlyEnd),
}

/// An end soon after the join without a byte: a refusal, or a server that was stopped just then. It was
/// a refusal if somebody listens there now.
#[derive(Debug)]
pub(super) struct EarlyEnd {
    after: Duration,
    server: SocketAddr,
    how: io::Result<()>,
}

impl Admission {
    /// Begins with a join that was sent just now on the connection of `info`.
    pub(super) fn new(join_timeout: Duration, info: &ConnectInfo) -> Self {
        Self {
            joined: Instant::now(),
            window: join_timeout.min(REFUSAL + 2 * info.connecting),
            server: info.remote,
            heard: false,
            finished: false,
        }
    }

    /// Notes that something came.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Notes that we have closed our sending side.
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
    pub(super) fn ended(&self, how: io::Result<()>) -> ConnectionEnd {
        let is_hangup = match &how {
            Ok(()) => !self.finished,
            Err(error) => is_hangup(error),
        };
        if self.granted() || !is_hangup {
            return ConnectionEnd::Plain(how.map_err(Error::Io));
        }
        ConnectionEnd::Early(EarlyEnd {
            after: self.joined.elapsed(),
            server: self.server,
            how,
        })
    }
}

impl EarlyEnd {
    /// Returns the address at which somebody may listen.
    pub(super) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Returns what the end was, once it is known if anybody listens at the address.
    pub(super) fn resolve(self, is_listening: bool) -> Result<(), Error> {
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
