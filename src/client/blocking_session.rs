//! A session without a runtime, over [`std::net::TcpStream`], and TLS on top of it.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use super::admission::{Admission, ConnectionEnd};
use super::blocking_stream::{BlockingStream, is_listening};
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::identity::{Names, SessionIdentity};
use super::options::SessionOptions;
use super::received::Received;

/// A membership of one channel, over a connection of its own, for programs without a runtime.
///
/// It does not reconnect. A message is written before [`publish`](Self::publish) returns.
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
#[derive(Debug)]
pub struct BlockingSession {
    stream: BlockingStream,
    names: Names,
    identity: SessionIdentity,
    /// The frame that is being written; kept for its memory.
    outgoing: Vec<u8>,
    buffer: FrameBuffer,
    admission: Admission,
    /// How long it may take to find out if a server still listens.
    patience: Duration,
    over: bool,
}

impl BlockingSession {
    pub(super) fn open(
        options: &SessionOptions,
        names: Names,
        first: &[u8],
    ) -> Result<Self, Error> {
        let (mut stream, info) = BlockingStream::connect(options)?;
        let identity = SessionIdentity::new(&options.keyring, options.cid, &names, info.local);
        let mut join = Vec::new();
        identity.encode_into(&names, first, &mut join)?;
        let join_timeout = Some(options.join_timeout);
        stream.socket().set_write_timeout(join_timeout)?;
        stream.write_all(&join)?;
        stream.flush()?;
        stream.socket().set_write_timeout(None)?;
        Ok(Self {
            stream,
            names,
            identity,
            outgoing: Vec::new(),
            buffer: FrameBuffer::new(options.max_frame),
            admission: Admission::new(options.join_timeout, &info),
            patience: options.connect_timeout,
            over: false,
        })
    }

    /// Publishes a message; blocks while the server does not read.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] when it is too large: nothing was done. [`Error::Io`] when the connection
    /// is gone, or the sending side was finished.
    pub fn publish(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.outgoing.clear();
        self.identity
            .encode_into(&self.names, message.as_ref(), &mut self.outgoing)?;
        self.stream.write_all(&self.outgoing)?;
        Ok(self.stream.flush()?)
    }

    /// Sets how long [`recv`](Self::recv) waits for bytes. The default is no timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses, as it does a timeout of zero.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        Ok(self.stream.socket().set_read_timeout(timeout)?)
    }

    /// Waits for the next message: the history first, then live ones. Returns `None` when the server has
    /// closed the session. Malformed messages are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after the read timeout: the call can be repeated. The session is over after
    /// any other: [`Error::Refused`], [`Error::Received`], [`Error::Cut`] and [`Error::Io`].
    pub fn recv(&mut self) -> Result<Option<Received>, Error> {
        while !self.over {
            match self.next_message() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => self.over = true,
                Err(Error::TimedOut) => return Err(Error::TimedOut),
                Err(error) => {
                    self.over = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Returns an iterator over the messages that [`recv`](Self::recv) returns.
    pub fn messages(&mut self) -> impl Iterator<Item = Result<Received, Error>> {
        std::iter::from_fn(|| self.recv().transpose())
    }

    /// Closes the sending side. The session goes on receiving, unless the server ends it then, as the
    /// reference server does.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the connection is gone.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.stream.finish()?;
        self.admission.finished();
        Ok(())
    }

    fn next_message(&mut self) -> Result<Option<Received>, Error> {
        loop {
            while let Some(frame) = self.buffer.next_frame()? {
                if let Ok(message) = Received::new(frame) {
                    return Ok(Some(message));
                }
            }
            match self.read() {
                Ok(0) => {
                    self.ended(Ok(()))?;
                    return if self.buffer.is_mid_frame() {
                        Err(Error::Cut)
                    } else {
                        Ok(None)
                    };
                }
                Ok(_) => self.admission.heard(),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    // Which of the two a timeout is depends on the system.
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(Error::TimedOut);
                    }
                    _ => return self.ended(Err(error)).map(|()| None),
                },
            }
        }
    }

    /// Returns what the end of the connection means: an error unless it is an orderly one.
    fn ended(&self, how: io::Result<()>) -> Result<(), Error> {
        match self.admission.ended(how) {
            ConnectionEnd::Plain(how) => how,
            ConnectionEnd::Early(end) => {
                let is_listening = is_listening(end.server(), self.patience);
                end.resolve(is_listening)
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let space = self.buffer.space();
        let (start, end) = (space.len(), space.capacity());
        space.resize(end, 0);
        let read = self.stream.read(&mut space[start..]);
        let len = *read.as_ref().unwrap_or(&0);
        space.truncate(start + len);
        self.buffer.filled(len);
        read
    }
}
