//! Where the servers of runs listen.

use std::net::SocketAddr;
use std::path::Path;

use mles::client::ClientTls;
use serde::{Deserialize, Serialize};

use crate::common::free_address;
use crate::common::tls_proxy::{Authority, Pair};
use crate::scenario::{Scenario, Storage, Transport};
use crate::server::Launch;

/// Where one server of a run listens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Addresses {
    pub tcp: SocketAddr,
    pub tls: SocketAddr,
    pub web: SocketAddr,
}

impl Addresses {
    fn free() -> Self {
        Self {
            tcp: free_address(),
            tls: free_address(),
            web: free_address(),
        }
    }

    /// Returns where a transport is spoken.
    pub fn of(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
            Transport::WebV1 | Transport::WebV2 | Transport::Events => self.web,
        }
    }
}

/// Where the servers of runs listen, those of one run after those of another.
pub struct Place {
    servers: Vec<Addresses>,
    /// The admin listener of a server whose histories are on disk.
    pub admin: SocketAddr,
    pair: Pair,
    pub client: ClientTls,
    _authority: Authority,
}

impl Place {
    pub fn new(storage: Storage) -> Self {
        let authority = Authority::new();
        let servers = 0..storage.servers();
        Self {
            servers: servers.map(|_| Addresses::free()).collect(),
            admin: free_address(),
            pair: authority.localhost(),
            client: authority.client(),
            _authority: authority,
        }
    }

    /// Returns where the servers are.
    pub fn servers(&self) -> &[Addresses] {
        &self.servers
    }

    /// Returns what starts the servers of a run, whose store is in `dir`, or whose log is on that server of NATS.
    pub fn launches(&self, scenario: &Scenario, dir: &Path, log: Option<&str>) -> Vec<Launch> {
        let launch = |addresses: &Addresses| Launch {
            theme: scenario.theme,
            seed: scenario.seed,
            storage: scenario.storage,
            addresses: *addresses,
            admin: self.admin,
            cert: self.pair.cert.clone(),
            key: self.pair.key.clone(),
            dir: dir.to_owned(),
            log: log.map(str::to_owned),
        };
        self.servers.iter().map(launch).collect()
    }
}
