//! The listeners of our broker besides the one for Mles over TCP.

use std::net::{IpAddr, SocketAddr};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    WebSocket,
    /// Mles over TLS.
    MlesTls,
    WebSocketTls,
}

impl Door {
    fn option(self) -> &'static str {
        match self {
            Self::WebSocket => "--ws",
            Self::MlesTls => "--tls",
            Self::WebSocketTls => "--tls-ws",
        }
    }

    /// What `mles serve` prints behind its address.
    fn told(self) -> &'static str {
        match self {
            Self::WebSocket => " (WebSocket)",
            Self::MlesTls => " (TLS)",
            Self::WebSocketTls => " (WebSocket over TLS)",
        }
    }
}

/// The doors of a server and their ports; 0 until the system has chosen one.
#[derive(Clone, Debug, Default)]
pub(super) struct Doors(Vec<(Door, u16)>);

impl Doors {
    pub(super) fn add(&mut self, door: Door) {
        self.0.push((door, 0));
    }

    pub(super) fn has(&self, wanted: Door) -> bool {
        self.0.iter().any(|(door, _)| *door == wanted)
    }

    pub(super) fn port(&self, wanted: Door) -> u16 {
        let found = self.0.iter().find(|(door, _)| *door == wanted);
        found.expect("the server has no such door").1
    }

    /// The options that open them.
    pub(super) fn arguments(&self, ip: IpAddr) -> Vec<String> {
        let arguments = self.0.iter().flat_map(|(door, port)| {
            let address = SocketAddr::new(ip, *port);
            [door.option().to_owned(), address.to_string()]
        });
        arguments.collect()
    }

    /// The same with the ports they got, if `line` tells them all.
    pub(super) fn told_in(&self, line: &str) -> Option<Self> {
        let doors = self.0.iter().map(|&(door, _)| {
            let (before, _) = line.split_once(door.told())?;
            let (_, port) = before.rsplit_once(':')?;
            Some((door, port.parse().ok()?))
        });
        doors.collect::<Option<_>>().map(Self)
    }
}
