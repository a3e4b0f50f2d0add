//! Where the servers of runs listen.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mles::Broker;
use mles::client::ClientTls;

use crate::common::tls_proxy::{Authority, Pair};
use crate::common::{PATIENCE, free_address};
use crate::scenario::{Scenario, Transport};

/// Where the servers of runs listen, one after the other.
pub struct Place {
    tcp: SocketAddr,
    tls: SocketAddr,
    web: SocketAddr,
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

    /// Starts a server, as soon as the one before has left its addresses.
    pub fn start(&self, scenario: &Scenario) -> Broker {
        let mut settings = scenario.settings();
        settings.listen = vec![self.tcp];
        settings.websocket.listen = vec![self.web];
        settings.tls.listen = vec![self.tls];
        settings.tls.cert = Some(self.pair.cert.clone());
        settings.tls.key = Some(self.pair.key.clone());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Broker::start(settings.clone()) {
                Ok(broker) => return broker,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
