//! rumqttc, MQTT 3.1.1 at QoS 0.

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, QoS};

use crate::library::{ClientSession, Library, LibraryError, LibraryPublisher, LibrarySubscriber};

/// Messages that wait for the library's event loop.
const QUEUE: usize = 1024;
/// The most bytes that a packet has beside its payload.
const PACKET_HEAD: usize = 512;

/// Clean sessions, QoS 0.
pub(crate) struct MqttLibrary;

impl Library for MqttLibrary {
    const NAME: &'static str = "rumqttc";
    type Publisher = MqttPublisher;
    type Subscriber = EventLoop;

    async fn publisher(session: ClientSession<'_>) -> Result<MqttPublisher, LibraryError> {
        let (client, mut events) = connect(session);
        // It sends what is published, and ends with the connection; then publishing fails.
        tokio::task::spawn_local(async move { while events.poll().await.is_ok() {} });
        Ok(MqttPublisher {
            client,
            topic: session.channel.to_owned(),
        })
    }

    async fn subscriber(session: ClientSession<'_>) -> Result<EventLoop, LibraryError> {
        let (client, mut events) = connect(session);
        let asked = client.subscribe(session.channel, QoS::AtMostOnce).await;
        asked.map_err(MqttLibrary::failed)?;
        loop {
            let event = events.poll().await.map_err(MqttLibrary::failed)?;
            if matches!(event, Event::Incoming(Incoming::SubAck(_))) {
                return Ok(events);
            }
        }
    }
}

fn connect(session: ClientSession<'_>) -> (AsyncClient, EventLoop) {
    let (host, port) = (session.broker.ip().to_string(), session.broker.port());
    let mut options = MqttOptions::new(format!("library-{}", session.number), host, port);
    let largest = session.payload + PACKET_HEAD;
    options.set_max_packet_size(largest, largest);
    let (client, mut events) = AsyncClient::new(options, QUEUE);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

pub(crate) struct MqttPublisher {
    client: AsyncClient,
    topic: String,
}

impl LibraryPublisher for MqttPublisher {
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError> {
        for message in batch {
            let topic = self.topic.as_str();
            let published = self
                .client
                .publish_bytes(topic, QoS::AtMostOnce, false, message);
            published.await.map_err(MqttLibrary::failed)?;
        }
        Ok(())
    }
}

impl LibrarySubscriber for EventLoop {
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError> {
        loop {
            let event = self.poll().await.map_err(MqttLibrary::failed)?;
            if let Event::Incoming(Incoming::Publish(message)) = event {
                return Ok(look(&message.payload));
            }
        }
    }
}
