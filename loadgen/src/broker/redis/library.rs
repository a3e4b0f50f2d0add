//! redis, with commands put together in pipelines, as its documentation has it for many of them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _};

use crate::library::{
    ClientSession, ENDED, Library, LibraryError, LibraryPublisher, LibrarySubscriber,
};

/// Redis publish/subscribe.
pub(crate) struct RedisLibrary;

impl Library for RedisLibrary {
    const NAME: &'static str = "redis";
    type Publisher = RedisPublisher;
    type Subscriber = RedisSubscriber;

    async fn publisher(session: ClientSession<'_>) -> Result<RedisPublisher, LibraryError> {
        // A thousand subscribers make a reply wait; giving up is the scenario's.
        let patient = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let client = client(session)?;
        let connection = client.get_multiplexed_async_connection_with_config(&patient);
        let connection = connection.await;
        Ok(RedisPublisher {
            connection: connection.map_err(RedisLibrary::failed)?,
            channel: session.channel.to_owned(),
        })
    }

    async fn subscriber(session: ClientSession<'_>) -> Result<RedisSubscriber, LibraryError> {
        let pubsub = client(session)?.get_async_pubsub().await;
        let mut pubsub = pubsub.map_err(RedisLibrary::failed)?;
        pubsub
            .subscribe(session.channel)
            .await
            .map_err(RedisLibrary::failed)?;
        Ok(RedisSubscriber { pubsub })
    }
}

fn client(session: ClientSession<'_>) -> Result<redis::Client, LibraryError> {
    let (host, port) = (session.broker.ip().to_string(), session.broker.port());
    let info = ConnectionAddr::Tcp(host, port).into_connection_info();
    let info = info.map_err(RedisLibrary::failed)?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    redis::Client::open(info).map_err(RedisLibrary::failed)
}

pub(crate) struct RedisPublisher {
    connection: MultiplexedConnection,
    channel: String,
}

impl LibraryPublisher for RedisPublisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        let mut pipeline = redis::pipe();
        for message in &batch {
            pipeline.publish(&self.channel, &message[..]).ignore();
        }
        let replies = pipeline.query_async(&mut self.connection).await;
        replies.map_err(RedisLibrary::failed)
    }
}

pub(crate) struct RedisSubscriber {
    pubsub: PubSub,
}

impl LibrarySubscriber for RedisSubscriber {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        match self.pubsub.on_message().next().await {
            Some(message) => Ok(look(message.get_payload_bytes())),
            None => Err(RedisLibrary::failed(ENDED)),
        }
    }
}
