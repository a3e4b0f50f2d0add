//! A joined session: both halves.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Admission;
use super::config::Client;
use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{CidChoice, Identity, Names};
use super::publisher::Publisher;
use super::received::Received;
use super::reconnector::{Beginning, begin};
use super::subscriber::{Comeback, Downlink, Event, Subscriber};
use super::transport;

/// One connection's membership of one channel.
///
/// A [`Stream`] of messages, which ends when the server closes the session.
#[derive(Debug)]
pub struct Session {
    publisher: Publisher,
    subscriber: Subscriber,
}

/// A connection on which the join was sent.
pub(super) struct Joined {
    pub(super) downlink: Downlink,
    pub(super) writer: WriteHalf,
    pub(super) identity: Identity,
}

/// Connects and sends the join.
pub(super) async fn open(
    client: &Client,
    names: &Names,
    cid: CidChoice,
    first: &[u8],
) -> Result<Joined, Error> {
    let mut connection = transport::connect(client).await?;
    let identity = Identity::new(&client.keyring, cid, names, connection.local);
    let mut join = Vec::new();
    identity.encode_into(names, first, &mut join)?;
    let sent = async {
        connection.writer.write_all(&join).await?;
        connection.writer.flush().await
    };
    timeout(client.join_timeout, sent)
        .await
        .map_err(|_| Error::Connect {
            server: client.server.clone(),
            source: std::io::ErrorKind::TimedOut.into(),
        })??;
    Ok(Joined {
        downlink: Downlink {
            reader: connection.reader,
            admission: Admission::new(client, connection.remote, connection.connecting),
        },
        writer: connection.writer,
        identity,
    })
}

impl Session {
    pub(super) async fn open(client: &Client, names: Names, first: &[u8]) -> Result<Self, Error> {
        let attempt = open(client, &names, client.cid, first).await;
        let Some(settings) = &client.reconnect else {
            let Joined {
                downlink,
                writer,
                identity,
            } = attempt?;
            return Ok(Self {
                publisher: Publisher::new(names, identity, Some(writer), None),
                subscriber: Subscriber::new(Some(downlink), client, None),
            });
        };
        let attempt = match attempt {
            Err(error) if error.is_final() => return Err(error),
            attempt => attempt,
        };
        let Beginning {
            sending,
            receiving,
            identity,
            connection,
        } = begin(client, settings, &names, first, attempt);
        let (downlink, writer) = connection.unzip();
        let comeback = Comeback::new(
            receiving,
            settings,
            &names,
            identity.cid,
            downlink.is_some(),
        );
        Ok(Self {
            publisher: Publisher::new(names, identity, writer, Some(sending)),
            subscriber: Subscriber::new(downlink, client, Some(comeback)),
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
    /// As for all of [`Publisher`]: a message that was taken goes out whole, with the next call if the
    /// future is dropped.
    pub async fn publish(&mut self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.publisher.publish(message).await
    }

    /// The next message: the history first, then live ones; `None` when the server has closed the
    /// session. See [`Subscriber::recv`].
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

    /// The next thing that happens; see [`Subscriber::next_event`].
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

    /// Both halves at once, to use one while the other is being awaited.
    pub const fn halves(&mut self) -> (&mut Publisher, &mut Subscriber) {
        (&mut self.publisher, &mut self.subscriber)
    }

    /// Takes the session apart, so that its halves can live in different tasks. The connection ends
    /// when both are dropped.
    #[must_use]
    pub fn split(self) -> (Publisher, Subscriber) {
        (self.publisher, self.subscriber)
    }

    /// Ends the session so that what was published arrives: writes what is queued, reads and drops
    /// what comes for as long as `linger`, or until the server closes, and closes the sending side
    /// meanwhile, when the server has shown that it let us in, or at the end.
    ///
    /// The reading has two reasons. A connection that is closed with unread data is reset, which can
    /// cost the messages that the server has not read yet. And it takes a round trip to learn that a
    /// join was refused: a `linger` of a few round trips finds out in most cases.
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
        if let Ok(admission) = timeout_at(refusal, self.subscriber.admission()).await {
            admission?;
        }
        flushed?;
        self.finish().await?;
        match timeout_at(deadline, self.subscriber.drain()).await {
            // A server may end the session at our end of stream, in the middle of what it was
            // sending: it has read everything by then.
            Ok(Err(Error::Cut)) | Err(_) => Ok(()),
            Ok(ended) => ended,
        }
    }
}

impl Stream for Session {
    type Item = Result<Received, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.subscriber).poll_next(cx)
    }
}
