//! The sending half of a session.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{Identity, Names};
use super::outbox::Outbox;
use super::reconnector::Handle;
use crate::protocol::{BodyCheck, MAX_BODY_LEN, Stop, scan};

/// The sending half of a session.
///
/// Every method that writes waits while the server does not read fast enough (backpressure). In a
/// session that reconnects it also waits while there is no connection, and brings one back itself: the
/// [`Subscriber`](super::Subscriber) need not be polled for that. Without a subscriber nothing comes
/// back, and writing fails.
///
/// Dropping it tells the server that nothing more will come, as [`finish`](Self::finish) does, but
/// what was queued and not flushed is lost.
///
/// # Cancel safety
///
/// Each method takes a message as a whole or not at all. What it has taken when its future is
/// dropped goes out, first, with the next call of any method that flushes; never in part. An attempt
/// to come back that was under way goes on with the next call of either half.
#[derive(Debug)]
pub struct Publisher {
    names: Names,
    identity: Identity,
    outbox: Outbox,
    wire: Wire,
    finished: bool,
}

impl Publisher {
    pub(super) fn new(
        names: Names,
        identity: Identity,
        writer: Option<WriteHalf>,
        reconnector: Option<Handle>,
    ) -> Self {
        Self {
            names,
            identity,
            outbox: Outbox::default(),
            wire: Wire {
                writer,
                version: 0,
                reconnector,
            },
            finished: false,
        }
    }

    /// Publishes a message, after what was queued before.
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

    /// Queues a message; it goes out with the next [`flush`](Self::flush), or when 64 KiB are queued.
    /// One write then carries many messages.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn feed(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.check_open()?;
        if self.outbox.is_full() {
            self.flush().await?;
        }
        self.identity
            .encode_into(&self.names, message.as_ref(), self.outbox.frames())?;
        Ok(())
    }

    /// Encodes a message as [`publish`](Self::publish) would, to be sent later, once or often, by
    /// [`publish_frames`](Self::publish_frames). Before a session that reconnects has its first
    /// connection, an address key and the connection id made of it are not known yet, and the header
    /// has others.
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

    /// Publishes encoded frames that stand back to back, after what was queued before, in one write
    /// if the connection takes them, without copying them.
    ///
    /// # Errors
    ///
    /// [`Error::Frames`] when these are not whole frames: nothing was sent. Else as for
    /// [`publish`](Self::publish).
    pub async fn publish_frames(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        check_run(frames)?;
        if frames.is_empty() {
            return self.flush().await;
        }
        let written = loop {
            self.flush().await?;
            match self.wire.write(frames).await? {
                Progress::Wrote(len) => break len,
                Progress::Renewed(identity) => self.identity = identity,
            }
        };
        self.outbox.keep_rest(frames, written);
        self.flush().await
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Closed`] when the connection is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match self.wire.write(self.outbox.unwritten()).await? {
                Progress::Wrote(len) => self.outbox.advance(len),
                Progress::Renewed(identity) => {
                    self.identity = identity;
                    self.outbox.rewind(identity);
                }
            }
        }
        self.wire.flush().await
    }

    /// Writes what is queued and closes the sending side; the session goes on receiving, unless the
    /// server ends it then, as the reference server does (from a subscriber that was split off this
    /// looks like a refusal when nothing had come before). Nothing happens when that was done before.
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
        self.wire = Wire::default();
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

/// What came of a write.
enum Progress {
    /// This many bytes were written to the present connection.
    Wrote(usize),
    /// Nothing was written, there is a new connection with this identity.
    Renewed(Identity),
}

/// The connection at present, and where the next one comes from in a session that reconnects.
#[derive(Debug, Default)]
struct Wire {
    writer: Option<WriteHalf>,
    /// That of the connection, as the reconnector counts.
    version: u64,
    reconnector: Option<Handle>,
}

impl Wire {
    /// Writes a part of `bytes`. Cancel safe: a dropped future has written nothing.
    async fn write(&mut self, bytes: &[u8]) -> Result<Progress, Error> {
        poll_fn(|cx| self.poll_write(bytes, cx)).await
    }

    /// Puts on its way what TLS may still hold of what was written. Cancel safe: what is left goes
    /// out with the next flush.
    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<Result<Progress, Error>> {
        loop {
            if self.is_outdated() {
                let identity = ready!(self.poll_renew(cx))?;
                return Poll::Ready(Ok(Progress::Renewed(identity)));
            }
            let Some(writer) = &mut self.writer else {
                return Poll::Ready(Err(Error::Closed));
            };
            match Pin::new(writer).poll_write(cx, bytes) {
                Poll::Ready(Ok(len)) => return Poll::Ready(Ok(Progress::Wrote(len))),
                Poll::Ready(Err(error)) => self.lost(error)?,
                Poll::Pending if self.is_present(cx) => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // What a connection held that is gone is lost, be it here or in the system.
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

    /// The connection has ended: an error if it is not going to come back.
    fn lost(&mut self, error: io::Error) -> Result<(), Error> {
        let error = Error::Io(error);
        match &self.reconnector {
            Some(handle) => handle.lost(self.version, error),
            None => Err(error),
        }
    }

    /// Takes the next connection, and brings it back if need be.
    fn poll_renew(&mut self, cx: &Context<'_>) -> Poll<Result<Identity, Error>> {
        self.writer = None;
        let Some(handle) = &self.reconnector else {
            return Poll::Ready(Err(Error::Closed));
        };
        let (uplink, version) = ready!(handle.poll_uplink(cx))?;
        self.version = version;
        self.writer = Some(uplink.writer);
        Poll::Ready(Ok(uplink.identity))
    }
}
