//! The brokers that are compared: one table, and for each broker a row with all that is special about it.
//!
//! A row says which [`Adapter`] and client [`Library`] speak with the broker, where its program is and how
//! it is started, what it can do, and how it is drawn. The rest of this program treats all brokers alike and
//! asks the row. So a new broker is a line in the table below, and a file with its row; rows may share
//! adapters, libraries and programs. Its package belongs into `scripts/setup`, and its settings into the
//! table in `docs/BENCHMARKS.md`.
//!
//! # Equivalence
//! All are started so that they do the same work, deliver to who is there and keep nothing: loopback only,
//! no TLS (but where it is what is compared), no authentication that costs more than the join, no
//! persistence, no history and no acknowledgements (but in the scenarios about them), `TCP_NODELAY` on, logs to
//! a file. Everything else is the broker's default, its threads included.

mod client;
mod look;
mod mles;
mod mqtt;
mod nats;
mod null_relay;
mod program;
mod rabbitmq;
mod redis;
mod row;

use std::path::PathBuf;

use ::mles::protocol::Keyring;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::interrupt::Interrupt;
use crate::library::{Job, Library};
use crate::process::{Place, RunningBroker, StartError};
pub(crate) use client::Client;
pub(crate) use look::Look;
pub(crate) use program::{Drained, Programs, missing_packages};
use row::Row;
pub(crate) use row::{HistorySupport, Table};

/// Makes [`Broker`] of the table: documentation, variant, name on the command line and in reports, row, and
/// the client library if there is one.
macro_rules! brokers {
    ($($(#[$doc:meta])* $broker:ident $name:literal: $row:path $(, $library:ty)?;)*) => {
        /// A broker this program can load.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
        pub(crate) enum Broker {
            $($(#[$doc])* #[serde(rename = $name)] #[value(name = $name)] $broker,)*
        }

        impl Broker {
            /// Returns the name used on the command line and in reports.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$broker => $name,)*
                }
            }

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$broker => &$row,)*
                }
            }

            /// Returns the crate of the client library.
            fn library(self) -> Option<&'static str> {
                match self {
                    $($(Self::$broker => Some(<$library as Library>::NAME),)?)*
                    _ => None,
                }
            }

            /// Does `job` through the client library; returns `None` if there is none.
            pub(crate) async fn through_library<J: Job>(self, job: J) -> Option<J::Output> {
                match self {
                    $($(Self::$broker => Some(job.through::<$library>().await),)?)*
                    _ => None,
                }
            }
        }
    };
}

brokers! {
    /// Mles v1.
    Mles "mles": mles::TCP, mles::MlesLibrary;
    /// Mles v1 over WebSocket.
    MlesWs "mles-ws": mles::WEBSOCKET_V1;
    /// Mles v2 over WebSocket.
    MlesV2 "mles-v2": mles::WEBSOCKET_V2;
    /// Mles v1 over TLS.
    MlesTls "mles-tls": mles::TLS;
    /// Mles v2 over WebSocket and TLS.
    MlesWss "mles-wss": mles::WEBSOCKET_TLS;
    /// Mles v1 for sessions that ask for positions.
    MlesResume "mles-resume": mles::TCP_WITH_POSITIONS;
    /// Mles v1 with histories on disk, synced each 100 ms.
    MlesDisk "mles-disk": mles::TCP_ON_DISK;
    /// Mles v1 with histories on disk, synced before a message is delivered.
    MlesBatch "mles-batch": mles::TCP_SYNCED;
    /// Mles v1 from three nodes of a fleet on JetStream.
    MlesFleet "mles-fleet": mles::FLEET;
    /// Mles v2 over WebSocket for sessions that ask for positions.
    MlesV2Resume "mles-v2-resume": mles::WEBSOCKET_V2_WITH_POSITIONS;
    /// Mles to event streams (server-sent events), published as v2 over WebSocket.
    MlesEvents "mles-events": mles::EVENTS;
    /// Mles published with HTTP requests, subscribed to as v2 over WebSocket.
    MlesHttp "mles-http": mles::HTTP;
    /// The NATS client protocol, core publish/subscribe.
    Nats "nats": nats::NATS, nats::NatsLibrary;
    /// The NATS client protocol, as nats-server 2.15 speaks it.
    NatsCurrent "nats-2.15": nats::NATS_2_15, nats::NatsLibrary;
    /// NATS JetStream, which syncs each message before it confirms it.
    JetStream "jetstream": nats::JETSTREAM;
    /// NATS JetStream with a push consumer for each subscriber.
    NatsJetStream "nats-jetstream": nats::CONSUMERS;
    /// Redis PUBLISH/SUBSCRIBE over RESP2.
    Redis "redis": redis::REDIS, redis::RedisLibrary;
    /// Redis PUBLISH/SUBSCRIBE over RESP2, as Valkey speaks it.
    Valkey "valkey": redis::VALKEY, redis::RedisLibrary;
    /// Redis PUBLISH of what a stream has, which syncs before it replies.
    RedisAof "redis-aof": redis::AOF;
    /// MQTT 3.1.1 at QoS 0, as mosquitto speaks it.
    Mosquitto "mosquitto": mqtt::MOSQUITTO, mqtt::MqttLibrary;
    /// AMQP 0-9-1, as RabbitMQ speaks it.
    Rabbitmq "rabbitmq": rabbitmq::AMQP, rabbitmq::AmqpLibrary;
    /// MQTT 3.1.1 at QoS 0 over RabbitMQ's plugin.
    RabbitmqMqtt "rabbitmq-mqtt": rabbitmq::MQTT, mqtt::MqttLibrary;
    /// Mles v1, as the reference server 1.1.7 speaks it.
    Reference "reference": mles::REFERENCE, mles::MlesLibrary;
    /// Mles v2 over WebSocket and TLS, as the server `mles` 2.9.4 speaks it.
    ReferenceV2 "reference-v2": mles::REFERENCE_V2;
    /// Mles v1 over a relay built into this program that only copies: the floor of the tool.
    Null "null": null_relay::RELAY, mles::MlesLibrary;
}

impl Broker {
    /// Returns the adapter for payloads of `payload_len` bytes. Only sessions of Mles v1 over TCP and TLS
    /// take their keys from `keyring`.
    pub(crate) fn adapter(self, payload_len: usize, keyring: &Keyring) -> Box<dyn Adapter> {
        (self.row().adapter)(payload_len, keyring)
    }

    /// Returns how the broker's lines, bars and marks are told from those of others.
    pub(crate) fn look(self) -> &'static Look {
        &self.row().look
    }

    /// Returns whether and how the broker keeps messages for those who join later.
    pub(crate) fn history(self) -> HistorySupport {
        self.row().history
    }

    /// Returns why a subscriber that stops reading cannot be measured on this broker, if it cannot.
    pub(crate) fn why_no_slow_reader(self) -> Option<&'static str> {
        self.row().why_no_slow_reader
    }

    /// Returns why publishers cannot have each message confirmed by this broker, if they cannot.
    pub(crate) fn why_no_confirmation(self) -> Option<&'static str> {
        self.row().why_no_confirmation
    }

    /// Returns `true` if a subscriber that comes back gets what it missed.
    pub(crate) fn resumes(self) -> bool {
        self.row().resumes
    }

    /// Returns about how many small messages it delivers in a second.
    pub(crate) fn pace(self) -> f64 {
        self.row().pace
    }

    /// Returns where its program is.
    ///
    /// # Errors
    /// [`StartError::NotInstalled`].
    pub(crate) fn program(self, programs: &Programs) -> Result<PathBuf, StartError> {
        let program = &self.row().program;
        let found = program.find(programs);
        found.ok_or_else(|| StartError::NotInstalled {
            broker: self.name(),
            hint: program.hint(),
        })
    }

    /// Starts the broker on a free port of loopback and waits until it accepts connections; it may
    /// not serve them yet.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub(crate) fn start(
        self,
        programs: &Programs,
        interrupt: &Interrupt,
    ) -> Result<RunningBroker, StartError> {
        let row = self.row();
        let program = self.program(programs)?;
        let recipe = |place: Place<'_>| (row.launch)(program, place, programs);
        RunningBroker::start(self.name(), recipe, interrupt)
    }
}
