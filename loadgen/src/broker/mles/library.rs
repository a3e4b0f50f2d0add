//! The client of this repository.

use bytes::Bytes;
use mles::client::Client;

use crate::library::{
    ClientSession, ENDED, Library, LibraryError, LibraryPublisher, LibrarySubscriber,
};

/// Sessions with keys from the keyring.
pub(crate) struct MlesLibrary;

impl Library for MlesLibrary {
    const NAME: &'static str = "mles-broker";
    type Publisher = mles::client::Publisher;
    type Subscriber = MlesSubscriber;

    async fn publisher(session: ClientSession<'_>) -> Result<Self::Publisher, LibraryError> {
        let (publisher, mut subscriber) = join(session).await?.split();
        // What other publishers send is dropped; when the connection breaks, publishing fails.
        tokio::task::spawn_local(async move { subscriber.drain().await });
        Ok(publisher)
    }

    async fn subscriber(session: ClientSession<'_>) -> Result<MlesSubscriber, LibraryError> {
        Ok(MlesSubscriber {
            session: join(session).await?,
        })
    }
}

async fn join(session: ClientSession<'_>) -> Result<mles::client::Session, LibraryError> {
    let uid = format!("m{}", session.number);
    let client = Client::new(session.broker.to_string(), uid).keyring(session.keyring.clone());
    let joined = client.join(session.channel).await;
    joined.map_err(MlesLibrary::failed)
}

impl LibraryPublisher for mles::client::Publisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        for message in batch {
            self.feed(message).await.map_err(MlesLibrary::failed)?;
        }
        self.flush().await.map_err(MlesLibrary::failed)
    }
}

/// A whole session: a server may take half of one for one that is leaving.
pub(crate) struct MlesSubscriber {
    session: mles::client::Session,
}

impl LibrarySubscriber for MlesSubscriber {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        loop {
            let message = self.session.recv().await.map_err(MlesLibrary::failed)?;
            let message = message.ok_or_else(|| MlesLibrary::failed(ENDED))?;
            if !message.is_announcement() {
                return Ok(look(message.message()));
            }
        }
    }
}
