//! async-nats, core publish/subscribe.

use std::error::Error;

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{ENDED, Library, LibraryError, Session};

/// Core NATS, a connection for each session.
pub(crate) struct Nats;

impl Library for Nats {
    const NAME: &'static str = "async-nats";
    type Publisher = Publisher;
    type Subscriber = Subscriber;

    async fn publisher(session: Session<'_>) -> Result<Publisher, LibraryError> {
        Ok(Publisher {
            client: connect(session).await?,
            subject: async_nats::Subject::from(session.channel),
        })
    }

    async fn subscriber(session: Session<'_>) -> Result<Subscriber, LibraryError> {
        let client = connect(session).await?;
        let subject = session.channel.to_owned();
        let messages = client.subscribe(subject).await.map_err(failed())?;
        Ok(Subscriber {
            messages,
            _client: client,
        })
    }
}

async fn connect(session: Session<'_>) -> Result<async_nats::Client, LibraryError> {
    let connected = async_nats::connect(session.broker.to_string()).await;
    connected.map_err(failed())
}

pub(crate) struct Publisher {
    client: async_nats::Client,
    subject: async_nats::Subject,
}

impl super::Publisher for Publisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        for message in batch {
            let subject = self.subject.clone();
            let published = self.client.publish(subject, message).await;
            published.map_err(failed())?;
        }
        Ok(())
    }
}

pub(crate) struct Subscriber {
    messages: async_nats::Subscriber,
    /// It ends the subscription when dropped.
    _client: async_nats::Client,
}

impl super::Subscriber for Subscriber {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        match self.messages.next().await {
            Some(message) => Ok(look(&message.payload)),
            None => Err(LibraryError::of(Nats::NAME)(ENDED)),
        }
    }
}

fn failed<E: Error + Send + Sync + 'static>() -> impl Fn(E) -> LibraryError {
    LibraryError::of(Nats::NAME)
}
