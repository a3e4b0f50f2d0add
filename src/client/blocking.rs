//! A client without a runtime, over [`std::net::TcpStream`], and TLS on top of it.
//!
//! ```no_run
//! # fn main() -> Result<(), mles::client::Error> {
//! use mles::client::Client;
//!
//! let mut session = Client::new("localhost", "bob").join_blocking("news")?;
//! session.publish("hello")?;
//! for message in session.messages() {
//!     println!("{}", message?.text());
//! }
//! # Ok(())
//! # }
//! ```

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use super::admission::{Admission, End};
use super::blocking_stream::{Connection, Stream, is_listening};
use super::config::Client;
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::identity::{Identity, Names};
use super::received::Received;

/// One connection's membership of one channel, for programs without a runtime.
///
/// It does not reconnect. A message is written before [`publish`](Self::publish) returns.
#[derive(Debug)]
pub struct Session {
    stream: Stream,
    names: Names,
    identity: Identity,
    /// The frame that is being written; kept for its memory.
    outgoing: Vec<u8>,
    buffer: FrameBuffer,
    admission: Admission,
    /// How long it may take to see whether a server still listens.
    patience: Duration,
    over: bool,
}

impl Session {
    pub(super) fn open(client: &Client, names: Names, first: &[u8]) -> Result<Self, Error> {
        let Connection {
            mut stream,
            remote,
            connecting,
        } = Stream::connect(client)?;
        let local = stream.socket().local_addr()?;
        let identity = Identity::new(&client.keyring, client.cid, &names, local);
        let mut join = Vec::new();
        identity.encode_into(&names, first, &mut join)?;
        stream
            .socket()
            .set_write_timeout(Some(client.join_timeout))?;
        stream.write_all(&join)?;
        stream.flush()?;
        stream.socket().set_write_timeout(None)?;
        Ok(Self {
            stream,
            names,
            identity,
            outgoing: Vec::new(),
            buffer: FrameBuffer::new(client.max_frame),
            admission: Admission::new(client, remote, connecting),
            patience: client.connect_timeout,
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

    /// How long [`recv`](Self::recv) waits for bytes; without a timeout, the default, as long as it
    /// takes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system refuses, as it does a timeout of zero.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        Ok(self.stream.socket().set_read_timeout(timeout)?)
    }

    /// The next message: the history first, then live ones; `None` when the server has closed the
    /// session. Malformed messages are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after the read timeout; the session can be used on. It is over after the
    /// others: [`Error::Refused`], [`Error::Received`], [`Error::Cut`] and [`Error::Io`].
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

    /// The messages, one after the other, as [`recv`](Self::recv) gives them.
    pub fn messages(&mut self) -> impl Iterator<Item = Result<Received, Error>> {
        std::iter::from_fn(|| self.recv().transpose())
    }

    /// Closes the sending side; the session goes on receiving, unless the server ends it then, as the
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

    /// What the end of the connection means: an error unless it is an orderly one.
    fn ended(&self, how: io::Result<()>) -> Result<(), Error> {
        match self.admission.ended(how) {
            End::Plain(how) => how,
            End::Early(end) => {
                let is_listening = is_listening(end.server(), self.patience);
                end.judged(is_listening)
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
