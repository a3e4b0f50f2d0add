//! A joined session, with both of its halves.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::error::Error;
use super::event::Event;
use super::frame_buffer::FrameBuffer;
use super::identity::Names;
use super::inbound::Inbound;
use super::join::{JoinedConnection, join};
use super::options::SessionOptions;
use super::publisher::Publisher;
use super::received::Received;
use super::socket::ConnectInfo;
use super::subscriber::Subscriber;
use super::tracked;
use crate::protocol::Position;
use crate::tcp_info::{TcpInfo, TcpInspector};

/// The time in which a server may close a session whose end of stream it has read.
const SETTLING: Duration = Duration::from_millis(2);
/// Waits between looks at what is acknowledged: the first and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// A membership of one channel, over a connection of its own.
///
/// A [`Stream`] of messages, which ends when the server closes the session.
#[derive(Debug)]
pub struct Session {
    publisher: Publisher,
    subscriber: Subscriber,
}

impl Session {
    pub(super) async fn open(
        options: &SessionOptions,
        names: Names,
        first: &[u8],
    ) -> Result<Self, Error> {
        if options.asks_for_positions() {
            let (sending, receiving) = tracked::open(options, &names, first).await?;
            return Ok(Self {
                publisher: Publisher::tracked(sending),
                subscriber: Subscriber::tracked(receiving),
            });
        }
        let JoinedConnection { reader, writer, .. } = join(options, &names, first, None).await?;
        let buffer = FrameBuffer::new(options.max_frame);
        let inbound = Inbound::new(reader, buffer, options.connect_timeout);
        Ok(Self {
            publisher: Publisher::plain(names, writer.identity, writer.half),
            subscriber: Subscriber::plain(inbound),
        })
    }

    /// Publishes a message; see [`Publisher::publish`].
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`].
    ///
    /// # Cancel safety
    ///
    /// As for all of [`Publisher`]: a message that was taken goes out as a whole. If the future is
    /// dropped, the next call sends it.
    pub async fn publish(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.publisher.publish(message).await
    }

    /// Publishes a message and waits for its position; see [`Publisher::publish_confirmed`].
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish_confirmed`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Publisher::publish_confirmed`].
    pub async fn publish_confirmed(
        &mut self,
        message: impl AsRef<[u8]>,
    ) -> Result<Position, Error> {
        self.publisher.publish_confirmed(message).await
    }

    /// Returns the position up to which this session has got everything; see [`Subscriber::position`].
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.subscriber.position()
    }

    /// Waits for the next message; see [`Subscriber::recv`].
    ///
    /// # Errors
    ///
    /// As for [`Subscriber::next_event`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing.
    pub async fn recv(&mut self) -> Result<Option<Received>, Error> {
        self.subscriber.recv().await
    }

    /// Waits for the next event; see [`Subscriber::next_event`].
    ///
    /// # Errors
    ///
    /// As for [`Subscriber::next_event`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Error> {
        self.subscriber.next_event().await
    }

    /// Writes what is queued and closes the sending side; see [`Publisher::finish`]. The session goes
    /// on receiving, unless the server ends it then, as the reference server does.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::finish`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be called again.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.publisher.finish().await?;
        self.subscriber.sending_finished();
        Ok(())
    }

    /// Borrows both halves, so that one can be used while the other is being awaited.
    pub const fn halves(&mut self) -> (&mut Publisher, &mut Subscriber) {
        (&mut self.publisher, &mut self.subscriber)
    }

    /// Splits the session, so that its halves can live in different tasks. The connection ends when
    /// both are dropped.
    #[must_use]
    pub fn split(self) -> (Publisher, Subscriber) {
        (self.publisher, self.subscriber)
    }

    /// Returns how long connecting took, about the time of a round trip; `None` while there is no
    /// connection.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.subscriber.connection().map(|info| info.connecting)
    }

    /// Ends the session so that what was published arrives, and the server ends it at once.
    ///
    /// Writes what is queued, then reads and drops what comes for as long as `linger`, or until the
    /// server closes the connection or has shown that it let us in. That is the time in which a refusal is
    /// noticed: v1 servers do not answer a join, and refuse it after a round trip. Then the sending side is
    /// closed, and the connection is reset as soon as the other side's system has acknowledged all data,
    /// since a server may take a connection that is merely closed for one that still receives. Where that
    /// does not happen within another `linger`, or the system does not tell, the connection is closed.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::flush`] and [`Subscriber::drain`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection at once.
    pub async fn close(mut self, linger: Duration) -> Result<(), Error> {
        self.subscriber.stop_reconnecting();
        let flushed = tokio::select! {
            flushed = self.publisher.flush() => flushed,
            ended = self.subscriber.drain() => return ended.and(Err(Error::Closed)),
        };
        let deadline = Instant::now() + linger;
        let refusal = self.subscriber.admission_deadline();
        let refusal = refusal.map_or(deadline, |until| deadline.min(until.into()));
        // When writing fails, the receiving side knows best why.
        match timeout_at(refusal, self.subscriber.admission()).await {
            Ok(admission) => admission?,
            // The connection has ended in time; whether that is a refusal takes longer to tell.
            Err(_) if self.subscriber.is_checking_refusal() => self.subscriber.drain().await?,
            Err(_) => {}
        }
        flushed?;
        let connection = self.subscriber.connection();
        self.finish().await?;
        let closed = tokio::select! {
            biased;
            closed = self.subscriber.drain() => closed,
            has_arrived = arrival(connection, linger) => {
                if has_arrived {
                    self.subscriber.reset_on_drop();
                }
                Ok(())
            }
        };
        match closed {
            // A server may end the session at our end of stream, in the middle of what it was
            // sending: it has read everything by then.
            Err(Error::Cut) => Ok(()),
            closed => closed,
        }
    }
}

/// Waits until the other side's system has acknowledged all data, for as long as `patience`. Returns
/// `true` if it has.
async fn arrival(connection: Option<ConnectInfo>, patience: Duration) -> bool {
    let Some(connection) = connection else {
        return false;
    };
    // A server that ends sessions at their end of stream has the time to do so.
    sleep(SETTLING.min(patience)).await;
    let deadline = Instant::now() + patience;
    let inspector = TcpInspector::default();
    let mut wait = FIRST_LOOK;
    loop {
        match inspector.inspect(connection.local, connection.remote) {
            // The end of stream counts as a byte. Its acknowledgement may be delayed, and nobody needs it.
            Some(TcpInfo {
                unacknowledged: ..=1,
                ..
            }) => return true,
            Some(_) if Instant::now() < deadline => {}
            _ => {
                sleep_until(deadline).await;
                return false;
            }
        }
        sleep(wait).await;
        wait = (2 * wait).min(LAST_LOOK);
    }
}

impl Stream for Session {
    type Item = Result<Received, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.subscriber).poll_next(cx)
    }
}
