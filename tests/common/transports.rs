//! A broker that listens for every transport, in clear and over TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mles::{Broker, ListenerKind, Settings};

use super::start;
use super::tls_proxy::{Authority, tunnel};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    V1,
    V1OverTls,
    V2,
    V2OverTls,
}

impl Transport {
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Tls,
        Self::V1,
        Self::V1OverTls,
        Self::V2,
        Self::V2OverTls,
    ];

    /// The transports over which a client need not ask for positions.
    pub const ALL_OF_V1: [Self; 4] = [Self::Tcp, Self::Tls, Self::V1, Self::V1OverTls];

    /// Returns `true` if a join may bring a message.
    pub fn joins_with_messages(self) -> bool {
        !matches!(self, Self::V2 | Self::V2OverTls)
    }

    /// Returns `true` if its client is told with a close frame why its session ends.
    pub fn has_close(self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls)
    }
}

/// A broker with a listener of each kind.
pub struct AllListeners {
    pub broker: Broker,
    /// What it was started with.
    pub settings: Settings,
    /// The authority that clients over TLS trust.
    pub authority: Authority,
    tls: SocketAddr,
    tls_ws: SocketAddr,
}

impl AllListeners {
    /// Starts a broker with these settings, listeners aside.
    pub fn start(mut settings: Settings) -> Self {
        let authority = Authority::new();
        let pair = authority.localhost();
        settings.tls.listen = vec![ANY];
        settings.tls.cert = Some(pair.cert);
        settings.tls.key = Some(pair.key);
        settings.websocket.listen = vec![ANY];
        settings.websocket.tls_listen = vec![ANY];
        let broker = start(settings.clone());
        let tls = listener(&broker, ListenerKind::MlesTls);
        let tls_ws = listener(&broker, ListenerKind::WebSocketTls);
        Self {
            tls: tunnel(&authority, tls),
            tls_ws: tunnel(&authority, tls_ws),
            broker,
            settings,
            authority,
        }
    }

    /// Returns where a client in clear reaches the broker over that transport. For those over TLS there is a tunnel.
    pub fn at(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Tcp => listener(&self.broker, ListenerKind::Mles),
            Transport::Tls => self.tls,
            Transport::V1 | Transport::V2 => self.web(),
            Transport::V1OverTls | Transport::V2OverTls => self.tls_ws,
        }
    }

    /// Returns the listener for HTTP and WebSocket.
    pub fn web(&self) -> SocketAddr {
        listener(&self.broker, ListenerKind::WebSocket)
    }

    /// Returns where a client in clear reaches the listener for HTTP and WebSocket over TLS.
    pub fn web_over_tls(&self) -> SocketAddr {
        self.tls_ws
    }
}

fn listener(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let mut listeners = broker.listeners().iter();
    listeners.find(|(kind, _)| *kind == wanted).unwrap().1
}
