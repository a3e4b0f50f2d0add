//! Where the servers of runs listen.

use std::net::SocketAddr;
use std::path::Path;

use mles::client::ClientTls;

use crate::common::free_address;
use crate::common::tls_proxy::{Authority, Pair};
use crate::scenario::{Scenario, Transport};
use crate::server::Launch;

/// Where the servers of runs listen, one after the other.
pub struct Place {
    tcp: SocketAddr,
    tls: SocketAddr,
    web: SocketAddr,
    /// The admin listener of a server whose histories are on disk.
    pub admin: SocketAddr,
    pair: Pair,
    pub client: ClientTls,
    _authority: Authority,
}

impl Place {
    pub fn new() -> Self {
        let authority = Authority::new();
        Self {
            tcp: free_address(),
            tls: free_address(),
            web: free_address(),
            admin: free_address(),
            pair: authority.localhost(),
            client: authority.client(),
            _authority: authority,
        }
    }

    /// Returns where a transport is spoken.
    pub fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
            Transport::WebV1 | Transport::WebV2 | Transport::Events => self.web,
        }
    }

    /// Returns what starts the servers of a run, whose store is in `dir`.
    pub fn launch(&self, scenario: &Scenario, dir: &Path) -> Launch {
        Launch {
            theme: scenario.theme,
            seed: scenario.seed,
            storage: scenario.storage,
            tcp: self.tcp,
            tls: self.tls,
            web: self.web,
            admin: self.admin,
            cert: self.pair.cert.clone(),
            key: self.pair.key.clone(),
            dir: dir.to_owned(),
        }
    }
}
