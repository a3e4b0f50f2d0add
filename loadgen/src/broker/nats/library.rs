//! async-nats, core publish/subscribe.

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::library::{
    ClientSession, ENDED, Library, LibraryError, LibraryPublisher, LibrarySubscriber,
};

/// Core NATS, a connection for each session.
pub(crate) struct NatsLibrary;

impl Library for NatsLibrary {
    const NAME: &'static str = "async-nats";
    type Publisher = NatsPublisher;
    type Subscriber = NatsSubscriber;

    async fn publisher(session: ClientSession<'_>) -> Result<NatsPublisher, LibraryError> {
        Ok(NatsPublisher {
            client: connect(session).await?,
            subject: async_nats::Subject::from(session.channel),
        })
    }

    async fn subscriber(session: ClientSession<'_>) -> Result<NatsSubscriber, LibraryError> {
        let client = connect(session).await?;
        let subject = session.channel.to_owned();
        let messages = client
            .subscribe(subject)
            .await
            .map_err(NatsLibrary::failed)?;
        Ok(NatsSubscriber {
            messages,
            _client: client,
        })
    }
}

async fn connect(session: ClientSession<'_>) -> Result<async_nats::Client, LibraryError> {
    let connected = async_nats::connect(session.broker.to_string()).await;
    connected.map_err(NatsLibrary::failed)
}

pub(crate) struct NatsPublisher {
    client: async_nats::Client,
    subject: async_nats::Subject,
}

impl LibraryPublisher for NatsPublisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        for message in batch {
            let subject = self.subject.clone();
            let published = self.client.publish(subject, message).await;
            published.map_err(NatsLibrary::failed)?;
        }
        Ok(())
    }
}

pub(crate) struct NatsSubscriber {
    messages: async_nats::Subscriber,
    /// Kept because dropping it would end the subscription.
    _client: async_nats::Client,
}

impl LibrarySubscriber for NatsSubscriber {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        match self.messages.next().await {
            Some(message) => Ok(look(&message.payload)),
            None => Err(NatsLibrary::failed(ENDED)),
        }
    }
}
