//! Brokers' wire formats, one file each, behind one small trait.
//!
//! An adapter says which bytes open a session, how a message is published, and where the next
//! payload in the received bytes begins. It does no I/O and keeps no state, so that every broker
//! is loaded, read and checked by the same code: sockets in [`crate::fleet`], the walk through
//! received bytes in [`scanner`], verification in [`crate::verify`].
//!
//! An adapter must not look into payloads, nor do work per message: [`scanner`] asks it only when a
//! head differs from the one before it.

mod amqp;
mod mles;
mod mqtt;
mod nats;
mod over_tls;
mod redis;
mod scanner;
mod websocket;

use std::net::SocketAddr;

use ::mles::protocol::Keyring;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use over_tls::OverTls;
pub(crate) use scanner::{MAX_CARRY, Scanner};
use websocket::WebSocket;

/// A broker this program can speak with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Broker {
    /// Mles v1.
    Mles,
    /// The same server over WebSocket, with bodies of v1.
    MlesWs,
    /// The same server over WebSocket, v2.
    MlesV2,
    /// The same server, Mles v1 over TLS.
    MlesTls,
    /// The same server over WebSocket and TLS, v2.
    MlesWss,
    /// The NATS client protocol, core publish/subscribe.
    Nats,
    /// Redis PUBLISH/SUBSCRIBE over RESP2.
    Redis,
    /// MQTT 3.1.1 at QoS 0, as mosquitto speaks it.
    Mosquitto,
    /// AMQP 0-9-1, as RabbitMQ speaks it.
    Rabbitmq,
    /// MQTT 3.1.1 at QoS 0 over RabbitMQ's plugin.
    RabbitmqMqtt,
    /// Mles v1, as the reference server 1.1.7 speaks it.
    Reference,
    /// Mles v2 over WebSocket and TLS, as the server `mles` 2.9.4 speaks it.
    ReferenceV2,
    /// Mles v1 over a relay built into this program that only copies: the floor of the tool.
    Null,
}

impl Broker {
    /// The name used on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mles => "mles",
            Self::MlesWs => "mles-ws",
            Self::MlesV2 => "mles-v2",
            Self::MlesTls => "mles-tls",
            Self::MlesWss => "mles-wss",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Mosquitto => "mosquitto",
            Self::Rabbitmq => "rabbitmq",
            Self::RabbitmqMqtt => "rabbitmq-mqtt",
            Self::Reference => "reference",
            Self::ReferenceV2 => "reference-v2",
            Self::Null => "null",
        }
    }

    /// The adapter for this broker, for payloads of `payload_len` bytes. Only sessions of Mles v1
    /// over TCP and TLS take their keys from `keyring`.
    pub(crate) fn adapter(self, payload_len: usize, keyring: &Keyring) -> Box<dyn Adapter> {
        let mles = || mles::Mles::new(payload_len, keyring.clone());
        match self {
            Self::Mles | Self::Reference | Self::Null => Box::new(mles()),
            Self::MlesTls => Box::new(OverTls(mles())),
            Self::MlesWs => Box::new(WebSocket::v1(payload_len)),
            Self::MlesV2 => Box::new(WebSocket::V2),
            Self::MlesWss | Self::ReferenceV2 => Box::new(OverTls(WebSocket::V2)),
            Self::Nats => Box::new(nats::Nats),
            Self::Redis => Box::new(redis::Redis),
            Self::Mosquitto | Self::RabbitmqMqtt => Box::new(mqtt::Mqtt),
            Self::Rabbitmq => Box::new(amqp::Amqp),
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends; what it receives is drained and not counted.
    Publisher,
    /// Receives.
    Subscriber,
    /// Does both on one connection, where [`Adapter::is_duplex`]. What it sends need not come back.
    Member,
}

/// One connection, as an adapter needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
    /// What it is for.
    pub(crate) role: Role,
    /// Unlike that of every other connection of this program's run.
    pub(crate) number: u32,
    /// The channel, subject or topic.
    pub(crate) channel: &'a str,
}

/// A message as it goes over the wire, with the place to write stamps to.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// The bytes to send.
    pub(crate) bytes: Vec<u8>,
    /// Where in them the payload begins.
    pub(crate) payload_at: usize,
}

/// What stands at the start of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Not enough bytes to tell.
    Partial,
    /// A message: `head` bytes, then `payload` bytes, then `tail` bytes.
    Delivery {
        head: usize,
        payload: usize,
        tail: usize,
    },
    /// Something of `len` bytes that needs no answer.
    Control { len: usize },
    /// Something of `len` bytes that [`Adapter::pong`] answers.
    Ping { len: usize },
}

/// Bytes from a broker that make no sense, or say no.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Not what this broker's protocol has here.
    #[error("unexpected bytes from the broker: {0}")]
    Unexpected(String),
    /// The broker reports an error.
    #[error("the broker says: {0}")]
    Refused(String),
    /// A payload this protocol cannot carry.
    #[error("a payload of {0} bytes does not fit this protocol")]
    TooLong(usize),
}

impl WireError {
    /// For bytes that are not what the protocol has; the first of them are quoted.
    pub(crate) fn unexpected(bytes: &[u8]) -> Self {
        Self::Unexpected(bytes[..bytes.len().min(64)].escape_ascii().to_string())
    }

    /// For an error line of the broker's.
    fn refused(line: &[u8]) -> Self {
        Self::Refused(line.trim_ascii().escape_ascii().to_string())
    }
}

/// One broker's wire format.
pub(crate) trait Adapter {
    /// The first bytes to send on a new connection.
    ///
    /// # Errors
    /// The session cannot be put into this protocol.
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError>;

    /// `payload` as a message to the session's channel.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError>;

    /// What `received` begins with. Never asked about an empty slice.
    ///
    /// # Errors
    /// Bytes that this protocol does not have there, or an error from the broker.
    fn head(&self, received: &[u8]) -> Result<Head, WireError>;

    /// Whether one connection can both publish and subscribe.
    fn is_duplex(&self) -> bool {
        true
    }

    /// The answer to [`Head::Ping`]; nothing for protocols without.
    fn pong(&self) -> &'static [u8] {
        b""
    }

    /// Whether all of it goes through TLS.
    fn is_over_tls(&self) -> bool {
        false
    }
}

/// The line at the start of `bytes`, its CR LF included; `None` when it has not come whole.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&bytes[..end + 2])
}

/// A decimal number that fills `digits`.
fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
