//! The sending half of a session.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{Names, SessionIdentity};
use super::reconnector::ReconnectHandle;
use super::write_buffer::WriteBuffer;
use crate::protocol::{BodyCheck, MAX_BODY_LEN, Stop, scan};

/// The sending half of a session.
///
/// Every method that writes waits while the server does not read fast enough (backpressure). In a
/// session that reconnects it also waits while there is no connection, and reconnects itself: the
/// [`Subscriber`](super::Subscriber) need not be polled for that. Once the subscriber is dropped the
/// session does not reconnect, and writing fails.
///
/// Dropping the publisher tells the server that nothing more will come, as [`finish`](Self::finish)
/// does, but what was queued and not flushed is lost.
///
/// # Cancel safety
///
/// Each method takes a message as a whole or not at all. If its future is dropped, a message that it has
/// taken is the first that the next flushing method sends, as a whole. An attempt to reconnect that was
/// under way goes on with the next call of either half.
#[derive(Debug)]
pub struct Publisher {
    names: Names,
    identity: SessionIdentity,
    buffer: WriteBuffer,
    connection: CurrentConnection,
    finished: bool,
}

impl Publisher {
    pub(super) fn new(
        names: Names,
        identity: SessionIdentity,
        writer: Option<WriteHalf>,
        reconnector: Option<ReconnectHandle>,
    ) -> Self {
        Self {
            names,
            identity,
            buffer: WriteBuffer::default(),
            connection: CurrentConnection {
                writer,
                version: 0,
                reconnector,
            },
            finished: false,
        }
    }

    /// Publishes a message, after those that were queued before.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] when it is too large: nothing was done. [`Error::Io`] and
    /// [`Error::Closed`] when the connection is gone, [`Error::Finished`] after
    /// [`finish`](Self::finish).
    pub async fn publish(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Queues a message, so that one write can carry many. The next [`flush`](Self::flush) sends it, or
    /// the next call once 64 KiB are queued.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn feed(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.check_open()?;
        if self.buffer.is_full() {
            self.flush().await?;
        }
        self.identity
            .encode_into(&self.names, message.as_ref(), self.buffer.frames())?;
        Ok(())
    }

    /// Encodes a message as [`publish`](Self::publish) would. [`publish_frames`](Self::publish_frames)
    /// can send it later, once or often.
    ///
    /// Before a session that reconnects has its first connection, an address key and the connection id
    /// made of it are not known yet, and the header has others.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] when it is too large.
    pub fn encode(&self, message: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let mut frame = Vec::new();
        self.identity
            .encode_into(&self.names, message.as_ref(), &mut frame)?;
        Ok(frame)
    }

    /// Publishes encoded frames that stand back to back, after those that were queued before. They are
    /// not copied, and one write sends them if the connection takes them.
    ///
    /// # Errors
    ///
    /// [`Error::Frames`] when these are not whole frames: nothing was sent. Otherwise as for
    /// [`publish`](Self::publish).
    pub async fn publish_frames(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        check_run(frames)?;
        if frames.is_empty() {
            return self.flush().await;
        }
        let written = loop {
            self.flush().await?;
            match self.connection.write(frames).await? {
                WriteOutcome::Wrote(len) => break len,
                WriteOutcome::Renewed(identity) => self.identity = identity,
            }
        };
        self.buffer.queue_rest(frames, written);
        self.flush().await
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Closed`] when the connection is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while !self.buffer.is_empty() {
            match self.connection.write(self.buffer.unwritten()).await? {
                WriteOutcome::Wrote(len) => self.buffer.advance(len),
                WriteOutcome::Renewed(identity) => {
                    self.identity = identity;
                    self.buffer.rewind(identity);
                }
            }
        }
        self.connection.flush().await
    }

    /// Writes what is queued and closes the sending side. Does nothing if that was done before.
    ///
    /// The session goes on receiving, unless the server ends it then, as the reference server does. To a
    /// subscriber that was split off, that looks like a refusal if nothing had come before.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush).
    pub async fn finish(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        self.flush().await?;
        self.finished = true;
        // Dropping the writer closes the sending side, as does dropping a later connection's one.
        self.connection = CurrentConnection::default();
        Ok(())
    }

    const fn check_open(&self) -> Result<(), Error> {
        if self.finished {
            Err(Error::Finished)
        } else {
            Ok(())
        }
    }
}

fn check_run(frames: &[u8]) -> Result<(), Error> {
    match scan(frames, MAX_BODY_LEN, &BodyCheck::Off).stop {
        Stop::End => Ok(()),
        Stop::Bad(error) => Err(Error::Frames(error.to_string())),
        Stop::Partial { .. } => Err(Error::Frames("the last one is cut off".to_owned())),
    }
}

/// The result of a write.
enum WriteOutcome {
    /// The present connection has taken this many bytes.
    Wrote(usize),
    /// Nothing was written: there is a new connection with this identity.
    Renewed(SessionIdentity),
}

/// The present connection, and the source of the next one in a session that reconnects.
#[derive(Debug, Default)]
struct CurrentConnection {
    writer: Option<WriteHalf>,
    /// The number of the connection, as the reconnector counts.
    version: u64,
    reconnector: Option<ReconnectHandle>,
}

impl CurrentConnection {
    /// Writes a part of `bytes`. Cancel safe: a dropped future has written nothing.
    async fn write(&mut self, bytes: &[u8]) -> Result<WriteOutcome, Error> {
        poll_fn(|cx| self.poll_write(bytes, cx)).await
    }

    /// Sends what TLS still holds of what was written. Cancel safe: the next flush sends the rest.
    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_write(
        &mut self,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<WriteOutcome, Error>> {
        loop {
            if self.is_outdated() {
                let identity = ready!(self.poll_renew(cx))?;
                return Poll::Ready(Ok(WriteOutcome::Renewed(identity)));
            }
            let Some(writer) = &mut self.writer else {
                return Poll::Ready(Err(Error::Closed));
            };
            match Pin::new(writer).poll_write(cx, bytes) {
                Poll::Ready(Ok(len)) => return Poll::Ready(Ok(WriteOutcome::Wrote(len))),
                Poll::Ready(Err(error)) => self.lost(error)?,
                Poll::Pending if self.is_present(cx) => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // What a lost connection held is lost, be it here or in the system.
        while !self.is_outdated()
            && let Some(writer) = &mut self.writer
        {
            match Pin::new(writer).poll_flush(cx) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => self.lost(error)?,
                Poll::Pending if self.is_present(cx) => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns `true` if another connection has taken the place of this one, or is going to.
    fn is_outdated(&self) -> bool {
        let handle = self.reconnector.as_ref();
        handle.is_some_and(|handle| handle.version() != self.version)
    }

    /// Returns `true` if the connection is the present one; if so, the task is woken when that changes.
    fn is_present(&self, cx: &Context<'_>) -> bool {
        let handle = self.reconnector.as_ref();
        handle.is_none_or(|handle| handle.is_current(self.version, cx))
    }

    /// Reports the end of the connection; an error if the session does not reconnect.
    fn lost(&mut self, error: io::Error) -> Result<(), Error> {
        let error = Error::Io(error);
        match &self.reconnector {
            Some(handle) => handle.lost(self.version, error),
            None => Err(error),
        }
    }

    /// Takes the next connection, and reconnects if need be.
    fn poll_renew(&mut self, cx: &Context<'_>) -> Poll<Result<SessionIdentity, Error>> {
        self.writer = None;
        let Some(handle) = &self.reconnector else {
            return Poll::Ready(Err(Error::Closed));
        };
        let (writer, version) = ready!(handle.poll_writer(cx))?;
        self.version = version;
        self.writer = Some(writer.half);
        Poll::Ready(Ok(writer.identity))
    }
}
