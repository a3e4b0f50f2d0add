//! A session for programs without a runtime.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::error::Error;
use super::event::Event;
use super::identity::Names;
use super::options::SessionOptions;
use super::received::Received;
use super::session::Session;
use crate::protocol::Position;

/// A membership of one channel, over a connection of its own, for programs without a runtime.
///
/// Everything happens in its calls, on the calling thread: a session that reconnects does so while one of them waits. A
/// message is written before [`publish`](Self::publish) returns.
///
/// # Panics
///
/// Every method that waits panics in a task of an async runtime, which must not block: use [`Session`] there.
///
/// ```no_run
/// # fn main() -> Result<(), mles::client::Error> {
/// use mles::client::Client;
///
/// let mut session = Client::new("localhost", "bob").join_blocking("news")?;
/// session.publish("hello")?;
/// for message in session.messages() {
///     println!("{}", message?.text());
/// }
/// # Ok(())
/// # }
/// ```
pub struct BlockingSession {
    session: Session,
    read_timeout: Option<Duration>,
    runtime: CallerRuntime,
}

/// A runtime that runs on the calling thread, and only during a call.
struct CallerRuntime(Option<Runtime>);

impl BlockingSession {
    pub(super) fn open(
        options: &SessionOptions,
        names: Names,
        first: &[u8],
    ) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let runtime = CallerRuntime(Some(runtime));
        let session = runtime.run(Session::open(options, names, first))?;
        Ok(Self {
            session,
            read_timeout: None,
            runtime,
        })
    }

    /// Publishes a message; blocks while the server does not read. A session that reconnects also waits while there is
    /// no connection.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`](super::Publisher::publish).
    pub fn publish(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.runtime.run(self.session.publish(message))
    }

    /// Publishes a message, and waits until the server has given it its place in the order of the channel. Returns its
    /// position; see [`Publisher::publish_confirmed`](super::Publisher::publish_confirmed).
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish_confirmed`](super::Publisher::publish_confirmed).
    pub fn publish_confirmed(&mut self, message: impl AsRef<[u8]>) -> Result<Position, Error> {
        self.runtime.run(self.session.publish_confirmed(message))
    }

    /// Sets how long [`recv`](Self::recv) and [`next_event`](Self::next_event) wait. The default is no timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a timeout of zero.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::Io(io::ErrorKind::InvalidInput.into()));
        }
        self.read_timeout = timeout;
        Ok(())
    }

    /// Waits for the next message: the history first, then live ones. Returns `None` when the server has
    /// closed the session. Malformed messages are skipped, as are all events that are no messages.
    ///
    /// # Errors
    ///
    /// As for [`next_event`](Self::next_event).
    pub fn recv(&mut self) -> Result<Option<Received>, Error> {
        let received = self.session.recv();
        self.runtime.run_within(self.read_timeout, received)
    }

    /// Waits for the next event. Returns `None` when the server has closed the session.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after the read timeout: the call can be repeated. Otherwise as for
    /// [`Subscriber::next_event`](super::Subscriber::next_event).
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let event = self.session.next_event();
        self.runtime.run_within(self.read_timeout, event)
    }

    /// Returns an iterator over the messages that [`recv`](Self::recv) returns.
    pub fn messages(&mut self) -> impl Iterator<Item = Result<Received, Error>> {
        std::iter::from_fn(|| self.recv().transpose())
    }

    /// Returns the position up to which this session has got everything; see
    /// [`Subscriber::position`](super::Subscriber::position).
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.session.position()
    }

    /// Closes the sending side. The session goes on receiving, unless the server ends it then, as the
    /// reference server does.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the connection is gone.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.runtime.run(self.session.finish())
    }
}

impl CallerRuntime {
    fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match &self.0 {
            Some(runtime) => runtime.block_on(call),
            None => Err(Error::Closed),
        }
    }

    fn run_within<T>(
        &self,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(limit) = limit else {
            return self.run(call);
        };
        self.run(async { timeout(limit, call).await.unwrap_or(Err(Error::TimedOut)) })
    }
}

impl Drop for CallerRuntime {
    fn drop(&mut self) {
        // Waiting for a look-up of a name that is under way is not worth it, and not allowed in a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for BlockingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingSession")
            .field("session", &self.session)
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}
