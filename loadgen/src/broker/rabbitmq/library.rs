//! lapin: AMQP 0-9-1 with the same exchanges and queues as the lean adapter.

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};

use crate::library::{
    ClientSession, ENDED, Library, LibraryError, LibraryPublisher, LibrarySubscriber,
};

/// User `guest`, a connection with one channel for each session.
pub(crate) struct AmqpLibrary;

impl Library for AmqpLibrary {
    const NAME: &'static str = "lapin";
    type Publisher = AmqpPublisher;
    type Subscriber = AmqpSubscriber;

    async fn publisher(session: ClientSession<'_>) -> Result<AmqpPublisher, LibraryError> {
        let (connection, channel) = connect(session).await?;
        Ok(AmqpPublisher {
            channel,
            exchange: session.channel.into(),
            _connection: connection,
        })
    }

    async fn subscriber(session: ClientSession<'_>) -> Result<AmqpSubscriber, LibraryError> {
        let (connection, channel) = connect(session).await?;
        Ok(AmqpSubscriber {
            messages: consume(&channel, session.channel)
                .await
                .map_err(AmqpLibrary::failed)?,
            _channel: channel,
            _connection: connection,
        })
    }
}

/// Opens a connection with a channel on which the session's exchange is declared.
async fn connect(session: ClientSession<'_>) -> Result<(Connection, Channel), LibraryError> {
    let uri = format!("amqp://guest:guest@{}/%2f", session.broker);
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await;
    let connection = connection.map_err(AmqpLibrary::failed)?;
    let channel = connection
        .create_channel()
        .await
        .map_err(AmqpLibrary::failed)?;
    let transient = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let name = ShortString::from(session.channel);
    let declared =
        channel.exchange_declare(name, ExchangeKind::Fanout, transient, FieldTable::default());
    declared.await.map_err(AmqpLibrary::failed)?;
    Ok((connection, channel))
}

/// Consumes a queue with a name of the server's choice, bound to `exchange`.
async fn consume(channel: &Channel, exchange: &str) -> lapin::Result<Consumer> {
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("".into(), own, FieldTable::default());
    let queue = queue.await?.name().clone();
    let bind = QueueBindOptions::default();
    let bound = channel.queue_bind(
        queue.clone(),
        exchange.into(),
        "".into(),
        bind,
        FieldTable::default(),
    );
    bound.await?;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume(queue, "s".into(), no_ack, FieldTable::default());
    consumer.await
}

pub(crate) struct AmqpPublisher {
    channel: Channel,
    exchange: ShortString,
    /// Kept because dropping it would close its channels.
    _connection: Connection,
}

impl LibraryPublisher for AmqpPublisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        for message in batch {
            let published = self.channel.basic_publish(
                self.exchange.clone(),
                "".into(),
                BasicPublishOptions::default(),
                &message,
                BasicProperties::default(),
            );
            // There is no confirmation to wait for: it was not asked for.
            published.await.map_err(AmqpLibrary::failed)?;
        }
        Ok(())
    }
}

pub(crate) struct AmqpSubscriber {
    messages: Consumer,
    _channel: Channel,
    _connection: Connection,
}

impl LibrarySubscriber for AmqpSubscriber {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        match self.messages.next().await {
            Some(Ok(delivery)) => Ok(look(&delivery.data)),
            Some(Err(error)) => Err(AmqpLibrary::failed(error)),
            None => Err(AmqpLibrary::failed(ENDED)),
        }
    }
}
