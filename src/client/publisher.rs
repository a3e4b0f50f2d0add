//! The sending half of a session.

use std::future::poll_fn;
use std::pin::Pin;

use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};

use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{Names, SessionIdentity};
use super::tracked::{Core, TrackedHandle};
use super::write_buffer::WriteBuffer;
use crate::protocol::{BodyCheck, MAX_BODY_LEN, Position, Stop, scan};

/// The sending half of a session.
///
/// Every method that writes waits while the server does not read fast enough (backpressure). In a
/// session that reconnects it also waits while there is no connection, and reconnects itself: the
/// [`Subscriber`](super::Subscriber) need not be polled for that. Once the subscriber is dropped the
/// session does not reconnect, and writing fails.
///
/// In a session that reconnects to a server with positions, each message is published exactly once. What is not
/// confirmed is kept, up to 1 MiB, and sent again after a reconnect if the server has not got it. While that much is on
/// its way publishing waits for receipts. It reads them itself, but they come behind messages: while 1 MiB of those are
/// not taken from the subscriber nothing more is read.
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
    engine: Engine,
    finished: bool,
}

#[derive(Debug)]
enum Engine {
    /// One connection, to itself.
    Plain(Box<PlainWriter>),
    /// A session that asks for positions.
    Tracked(TrackedHandle),
}

/// The sending side of one connection.
#[derive(Debug)]
struct PlainWriter {
    names: Names,
    identity: SessionIdentity,
    buffer: WriteBuffer,
    /// Gone once the sending side is finished.
    half: Option<WriteHalf>,
}

impl Publisher {
    pub(super) fn plain(names: Names, identity: SessionIdentity, half: WriteHalf) -> Self {
        Self::new(Engine::Plain(Box::new(PlainWriter {
            names,
            identity,
            buffer: WriteBuffer::default(),
            half: Some(half),
        })))
    }

    pub(super) const fn tracked(handle: TrackedHandle) -> Self {
        Self::new(Engine::Tracked(handle))
    }

    const fn new(engine: Engine) -> Self {
        Self {
            engine,
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

    /// Publishes a message, after those that were queued before, and waits until the server has given it its place in
    /// the order of the channel. Returns its position.
    ///
    /// This takes a round trip. To have many messages confirmed, [`feed`](Self::feed) them and count
    /// [`Event::Confirmed`](super::Event::Confirmed) of the other half, which tells of each message, also of those that
    /// this method has published.
    ///
    /// If the server had to leave something out for this session because it read too slowly, or no longer has what
    /// came while the session was away, the position may be a later one than the message's own, but never an earlier.
    ///
    /// # Errors
    ///
    /// [`Error::NoPositions`] when the session does not ask for positions, or the server does not give them;
    /// [`Error::Empty`] when the message is empty: nothing was done. [`Error::Unconfirmed`] when the session has ended,
    /// or another server has taken over, before the receipt came: the message may have taken its place or not. Otherwise
    /// as for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As for all methods: when the future is dropped, the message was taken as a whole or not at all. If it was taken
    /// it is published all the same, and its receipt comes as an event only.
    pub async fn publish_confirmed(
        &mut self,
        message: impl AsRef<[u8]>,
    ) -> Result<Position, Error> {
        self.check_open()?;
        let message = message.as_ref();
        if message.is_empty() {
            return Err(Error::Empty);
        }
        let has_positions = self.has_positions().await?;
        let Engine::Tracked(handle) = &self.engine else {
            return Err(Error::NoPositions);
        };
        if !has_positions {
            return Err(Error::NoPositions);
        }
        poll_fn(|cx| handle.poll(cx, |core| core.push_awaited(message))).await?;
        poll_fn(|cx| handle.poll(cx, Core::confirmation)).await
    }

    /// Waits until it is known whether the server gives positions, and so confirms messages. The server says so when it
    /// has let the session in; one that says nothing is given about two seconds.
    ///
    /// In a session that reconnects this is about the present connection, or the next.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Closed`] when the connection is gone.
    pub async fn has_positions(&mut self) -> Result<bool, Error> {
        match &self.engine {
            Engine::Plain(_) => Ok(false),
            Engine::Tracked(handle) => poll_fn(|cx| handle.poll(cx, Core::has_positions)).await,
        }
    }

    /// Queues a message, so that one write can carry many. The next [`flush`](Self::flush) sends it, or
    /// the next call once 64 KiB are queued.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn feed(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.check_open()?;
        let message = message.as_ref();
        match &mut self.engine {
            Engine::Plain(writer) => writer.feed(message).await,
            Engine::Tracked(handle) => {
                poll_fn(|cx| handle.poll(cx, |core| core.push(message))).await
            }
        }
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
        let message = message.as_ref();
        match &self.engine {
            Engine::Plain(writer) => {
                let mut frame = Vec::new();
                writer
                    .identity
                    .encode_into(&writer.names, message, &mut frame)?;
                Ok(frame)
            }
            Engine::Tracked(handle) => Ok(handle.with(|core| core.outgoing().encode(message))?),
        }
    }

    /// Publishes encoded frames that stand back to back, after those that were queued before. Unless the session asks
    /// for positions they are not copied, and one write sends them if the connection takes them.
    ///
    /// # Errors
    ///
    /// [`Error::Frames`] when these are not whole frames: nothing was sent. Otherwise as for
    /// [`publish`](Self::publish).
    pub async fn publish_frames(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        check_run(frames)?;
        match &mut self.engine {
            Engine::Plain(writer) => writer.publish_frames(frames).await,
            Engine::Tracked(handle) => {
                poll_fn(|cx| handle.poll(cx, |core| core.push_frames(frames))).await?;
                poll_fn(|cx| handle.poll(cx, Core::flush)).await
            }
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Closed`] when the connection is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Plain(writer) => writer.flush().await,
            Engine::Tracked(handle) => poll_fn(|cx| handle.poll(cx, Core::flush)).await,
        }
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
        match &mut self.engine {
            // Dropping the half closes the sending side.
            Engine::Plain(writer) => writer.half = None,
            Engine::Tracked(handle) => handle.with(Core::finish),
        }
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

impl PlainWriter {
    async fn feed(&mut self, message: &[u8]) -> Result<(), Error> {
        if self.buffer.is_full() {
            self.flush().await?;
        }
        self.identity
            .encode_into(&self.names, message, self.buffer.frames())?;
        Ok(())
    }

    async fn publish_frames(&mut self, frames: &[u8]) -> Result<(), Error> {
        self.flush().await?;
        if frames.is_empty() {
            return Ok(());
        }
        let written = write(&mut self.half, frames).await?;
        self.buffer.queue_rest(&frames[written..]);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while !self.buffer.is_empty() {
            let len = write(&mut self.half, self.buffer.unwritten()).await?;
            self.buffer.advance(len);
        }
        // TLS may still hold something of what was written.
        if let Some(half) = &mut self.half {
            half.flush().await?;
        }
        Ok(())
    }
}

/// Writes a part of `bytes`. Cancel safe: a dropped future has written nothing.
async fn write(half: &mut Option<WriteHalf>, bytes: &[u8]) -> Result<usize, Error> {
    let Some(half) = half else {
        return Err(Error::Closed);
    };
    Ok(poll_fn(|cx| Pin::new(&mut *half).poll_write(cx, bytes)).await?)
}

fn check_run(frames: &[u8]) -> Result<(), Error> {
    match scan(frames, MAX_BODY_LEN, &BodyCheck::Off).stop {
        Stop::End => Ok(()),
        Stop::Bad(error) => Err(Error::Frames(error.to_string())),
        Stop::Partial { .. } => Err(Error::Frames("the last one is cut off".to_owned())),
    }
}
