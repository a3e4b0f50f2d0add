//! Where brokers' programs are.

use std::path::{Path, PathBuf};

use super::Programs;
use crate::adapter::Broker;

/// Where `rabbitmq-server` itself is: the program of that name in Debian's `PATH` is a wrapper.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Where `cargo build --release` in `interop` puts the reference server, from the folder of this
/// program in the workspace's `target`.
const REFERENCE_IN_TREE: &str = "../../interop/target/release/reference-server";
/// Where `scripts/setup` puts the server `mles` 2.9.4.
const REFERENCE_V2_IN_TREE: &str = "../../interop/target/reference-v2/bin/mles";

impl Programs {
    /// Returns the Debian packages with programs of `brokers` that are not installed, each once.
    pub(crate) fn missing_packages(&self, brokers: &[Broker]) -> Vec<&'static str> {
        let missing = brokers.iter().filter(|&&it| self.find(it).is_none());
        let mut packages: Vec<_> = missing.filter_map(|&it| package(it)).collect();
        // Two brokers may come with one package.
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// Where the program of `broker` is; what the user named is taken as it is.
    pub(super) fn find(&self, broker: Broker) -> Option<PathBuf> {
        let named = match broker {
            Broker::Mles | Broker::MlesWs | Broker::MlesV2 | Broker::MlesTls | Broker::MlesWss => {
                &self.mles
            }
            Broker::Reference => &self.reference,
            Broker::ReferenceV2 => &self.reference_v2,
            _ => &None,
        };
        if named.is_some() {
            return named.clone();
        }
        match broker {
            Broker::Mles | Broker::MlesWs | Broker::MlesV2 | Broker::MlesTls | Broker::MlesWss => {
                beside("mles")
            }
            Broker::ReferenceV2 => beside(REFERENCE_V2_IN_TREE),
            Broker::Reference => beside("reference-server").or_else(|| beside(REFERENCE_IN_TREE)),
            Broker::Null => std::env::current_exe().ok(),
            Broker::Nats => in_path("nats-server"),
            Broker::Redis => in_path("redis-server"),
            Broker::Mosquitto => in_path("mosquitto"),
            Broker::Rabbitmq | Broker::RabbitmqMqtt => {
                Some(PathBuf::from(RABBITMQ)).filter(|program| program.is_file())
            }
        }
    }
}

/// The Debian package with the program of `broker`.
pub(in crate::process) fn package(broker: Broker) -> Option<&'static str> {
    match broker {
        Broker::Nats => Some("nats-server"),
        Broker::Redis => Some("redis-server"),
        Broker::Mosquitto => Some("mosquitto"),
        Broker::Rabbitmq | Broker::RabbitmqMqtt => Some("rabbitmq-server"),
        _ => None,
    }
}

/// `path` from the folder of this program.
fn beside(path: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.join(path)).filter(|program| program.is_file())
}

/// The first `name` in `PATH`, or in the directories for servers that a user's `PATH` may lack.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(servers)
        .map(|dir: PathBuf| dir.join(name))
        .find(|program: &PathBuf| Path::is_file(program))
}
