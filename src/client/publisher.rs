//! The sending half of a session.

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{Identity, Names};
use super::outbox::Outbox;
use super::reconnect::Uplink;
use crate::protocol::{BodyCheck, Key, MAX_BODY_LEN, Stop, scan};

/// The sending half of a session.
///
/// Every method that writes waits while the server does not read fast enough (backpressure); in a
/// session that reconnects it also waits while there is no connection, for as long as the
/// [`Subscriber`](super::Subscriber) is polled to bring one back.
///
/// Dropping it tells the server that nothing more will come, as [`finish`](Self::finish) does, but
/// what was queued and not flushed is lost.
///
/// # Cancel safety
///
/// Each method takes a message as a whole or not at all. What it has taken when its future is
/// dropped goes out, first, with the next call of any method that flushes; never in part.
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
        writer: WriteHalf,
        uplink: Option<watch::Receiver<Uplink>>,
    ) -> Self {
        Self {
            names,
            identity,
            outbox: Outbox::default(),
            wire: Wire {
                writer: Some(writer),
                uplink,
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
    /// [`publish_frames`](Self::publish_frames).
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
                Progress::Renewed(key) => self.identity.key = key,
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
                Progress::Renewed(key) => {
                    self.identity.key = key;
                    self.outbox.rewind();
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
        self.wire = Wire {
            writer: None,
            uplink: None,
        };
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
    /// Nothing was written, there is a new connection with this key.
    Renewed(Key),
}

/// The connection at present, and where the next one comes from in a session that reconnects.
#[derive(Debug)]
struct Wire {
    writer: Option<WriteHalf>,
    uplink: Option<watch::Receiver<Uplink>>,
}

impl Wire {
    /// Writes a part of `bytes`. Cancel safe: a dropped future has written nothing.
    async fn write(&mut self, bytes: &[u8]) -> Result<Progress, Error> {
        loop {
            if let Some(key) = self.renew() {
                return Ok(Progress::Renewed(key));
            }
            let changed = match (&mut self.writer, &mut self.uplink) {
                (None, None) => return Err(Error::Closed),
                (None, Some(uplink)) => uplink.changed().await,
                (Some(writer), None) => {
                    let len = writer.write(bytes).await?;
                    return Ok(Progress::Wrote(len));
                }
                (Some(writer), Some(uplink)) => tokio::select! {
                    biased;
                    wrote = writer.write(bytes) => {
                        if let Ok(len) = wrote {
                            return Ok(Progress::Wrote(len));
                        }
                        // The subscriber sees the end of the connection too.
                        self.writer = None;
                        continue;
                    }
                    changed = uplink.changed() => changed,
                },
            };
            if changed.is_err() {
                // The subscriber is gone: nobody brings another connection.
                self.uplink = None;
            }
        }
    }

    /// Puts on its way what TLS may still hold of what was written. Cancel safe: what is left goes
    /// out with the next flush.
    async fn flush(&mut self) -> Result<(), Error> {
        loop {
            let changed = match (&mut self.writer, &mut self.uplink) {
                (None, _) => return Ok(()),
                (Some(writer), None) => return Ok(writer.flush().await?),
                (Some(writer), Some(uplink)) => tokio::select! {
                    biased;
                    flushed = writer.flush() => {
                        if flushed.is_err() {
                            // The subscriber sees the end of the connection too.
                            self.writer = None;
                        }
                        return Ok(());
                    }
                    changed = uplink.changed() => changed,
                },
            };
            match changed {
                // What a connection held that is gone is lost, be it here or in the system.
                Ok(()) => return Ok(()),
                // The subscriber is gone: nobody brings another connection.
                Err(_) => self.uplink = None,
            }
        }
    }

    /// Follows what the subscriber says of the connection; the key of a new one.
    fn renew(&mut self) -> Option<Key> {
        let uplink = self.uplink.as_mut()?.borrow_and_update();
        if matches!(*uplink, Uplink::Down) {
            self.writer = None;
        }
        let (writer, key) = uplink.take()?;
        self.writer = Some(writer);
        Some(key)
    }
}
