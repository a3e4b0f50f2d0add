//! Brokers' client libraries, one file each, behind one trait: what a program gets that does not
//! write its own wire format.
//!
//! The lean adapters of [`crate::adapter`] are what brokers are compared with: a library costs
//! more than most brokers, and would be what is measured. With `--client library` the same load goes
//! through the libraries instead, for all brokers alike, and the report names them.
//!
//! Libraries are used as their documentation has it for many messages that may be lost: no
//! acknowledgements, nothing durable, `TCP_NODELAY`. Nothing here counts or checks; that is the
//! scenario's.

mod amqp;
mod mles;
mod mqtt;
mod nats;
mod redis;

use std::error::Error;
use std::net::SocketAddr;

use ::bytes::Bytes;
use ::mles::protocol::Keyring;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adapter::Broker;

pub(crate) use amqp::Amqp;
pub(crate) use mles::Mles;
pub(crate) use mqtt::Mqtt;
pub(crate) use nats::Nats;
pub(crate) use redis::Redis;

/// What speaks with the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    /// This program's own wire adapters, the same loop for all
    Lean,
    /// A client library for each: mles, async-nats, redis, rumqttc, lapin
    Library,
}

impl Client {
    /// Name and version of what speaks with `broker`; `none` where nothing does.
    pub(crate) fn describe(self, broker: Broker) -> String {
        let name = match self {
            Self::Lean => Some("loadgen"),
            Self::Library => library(broker),
        };
        let Some(name) = name else {
            return "none".to_owned();
        };
        let version = locked_version(name).unwrap_or_default();
        format!("{name} {version}").trim_end().to_owned()
    }
}

/// The crate that `--client library` takes for `broker`: none over WebSocket or TLS.
fn library(broker: Broker) -> Option<&'static str> {
    match broker {
        Broker::Mles | Broker::Reference | Broker::Null => Some(Mles::NAME),
        Broker::Nats => Some(Nats::NAME),
        Broker::Redis => Some(Redis::NAME),
        Broker::Mosquitto | Broker::RabbitmqMqtt => Some(Mqtt::NAME),
        Broker::Rabbitmq => Some(Amqp::NAME),
        Broker::MlesWs
        | Broker::MlesV2
        | Broker::MlesTls
        | Broker::MlesWss
        | Broker::ReferenceV2 => None,
    }
}

/// The version of a crate that this program was built with.
fn locked_version(name: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let name = format!("\nname = \"{name}\"\nversion = \"");
    let (_, version) = LOCK.split_once(name.as_str())?;
    version.split('"').next()
}

/// A library failed, or the broker at its other end.
#[derive(Debug, Error)]
#[error("{library}: {source}")]
pub(crate) struct LibraryError {
    library: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl LibraryError {
    /// For errors of `library`.
    fn of<E: Into<Box<dyn Error + Send + Sync>>>(library: &'static str) -> impl Fn(E) -> Self {
        move |source| Self {
            library,
            source: source.into(),
        }
    }
}

/// One connection, as a library needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    /// Where the broker listens.
    pub(crate) broker: SocketAddr,
    /// The channel, subject or topic.
    pub(crate) channel: &'a str,
    /// Unlike that of every other connection of this program's run.
    pub(crate) number: u32,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// What sessions of Mles make their keys from.
    pub(crate) keyring: &'a Keyring,
}

/// A broker's client library.
pub(crate) trait Library {
    /// The name of its crate.
    const NAME: &'static str;
    /// A connection that sends.
    type Publisher: Publisher;
    /// A connection that receives.
    type Subscriber: Subscriber + 'static;

    /// Connects a publisher; called within a local set of a runtime of one thread.
    ///
    /// # Errors
    /// The broker cannot be reached, or says no.
    async fn publisher(session: Session<'_>) -> Result<Self::Publisher, LibraryError>;

    /// Connects a subscriber. Its subscription may come into force only later.
    ///
    /// # Errors
    /// The broker cannot be reached, or says no.
    async fn subscriber(session: Session<'_>) -> Result<Self::Subscriber, LibraryError>;
}

/// A connection that sends.
pub(crate) trait Publisher {
    /// Hands messages to the library, to be sent without further calls. Not cancel safe: some of
    /// them may have been handed over.
    ///
    /// # Errors
    /// The connection is gone.
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError>;
}

/// A connection that receives.
pub(crate) trait Subscriber {
    /// Waits for the next message and has a look at its payload.
    ///
    /// # Errors
    /// The connection is gone.
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError>;
}

/// The connection ended although nobody asked for it.
const ENDED: &str = "the connection ended";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_is_named_with_the_version_it_was_built_with() {
        for &broker in Broker::value_variants() {
            for client in [Client::Lean, Client::Library] {
                if client == Client::Library && library(broker).is_none() {
                    continue;
                }
                let description = client.describe(broker);
                let version = description.split_once(' ').map(|(_, version)| version);
                let starts_with_digit =
                    |version: &str| version.starts_with(|first: char| first.is_ascii_digit());
                assert!(version.is_some_and(starts_with_digit), "{description}");
            }
        }
    }
}
