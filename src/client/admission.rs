//! Telling a refused join from a session that ended.

use std::io;
use std::time::{Duration, Instant};

use super::error::Error;

/// Whether the server has shown that it let us in.
///
/// v1 has no answer to a join. Anything received is a yes, an end before that and soon after the
/// join is a no; silence for long enough is a yes too. Once we have closed our sending side, an
/// orderly end may be the answer to that, as it is with the reference server.
#[derive(Debug)]
pub(super) struct Admission {
    joined: Instant,
    patience: Duration,
    heard: bool,
    finished: bool,
}

impl Admission {
    /// For a join sent now, with `patience` for a refusal.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            joined: Instant::now(),
            patience,
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

    /// Whether we were let in, as far as can be told by now.
    pub(super) fn granted(&self) -> bool {
        self.heard || self.joined.elapsed() >= self.patience
    }

    /// What the end of the connection means: `Ok` for an orderly close of a joined session.
    pub(super) fn ended(&self, how: io::Result<()>) -> Result<(), Error> {
        if self.granted() {
            return how.map_err(Error::Io);
        }
        match how {
            Ok(()) if self.finished => Ok(()),
            Err(error) if !is_hangup(&error) => Err(Error::Io(error)),
            _ => Err(Error::Refused {
                after: self.joined.elapsed(),
            }),
        }
    }
}

/// Whether the other side hung up: a refused client that had sent more than its join sees a reset.
fn is_hangup(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
