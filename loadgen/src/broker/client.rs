//! The choice between this program's adapters and brokers' client libraries.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Broker;

/// The program part that speaks with the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    /// This program's own wire adapters, the same loop for all
    Lean,
    /// A client library for each: mles, async-nats, redis, rumqttc, lapin
    Library,
}

impl Client {
    /// Returns name and version of what speaks with `broker`; `none` where nothing does.
    pub(crate) fn describe(self, broker: Broker) -> String {
        let name = match self {
            Self::Lean => Some("loadgen"),
            Self::Library => broker.library(),
        };
        let Some(name) = name else {
            return "none".to_owned();
        };
        let version = locked_version(name).unwrap_or_default();
        format!("{name} {version}").trim_end().to_owned()
    }
}

/// Returns the version of a crate that this program was built with.
fn locked_version(name: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let name = format!("\nname = \"{name}\"\nversion = \"");
    let (_, version) = LOCK.split_once(name.as_str())?;
    version.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_is_named_with_the_version_it_was_built_with() {
        for &broker in Broker::value_variants() {
            for client in [Client::Lean, Client::Library] {
                if client == Client::Library && broker.library().is_none() {
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
