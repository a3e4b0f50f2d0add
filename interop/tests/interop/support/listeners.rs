//! The listeners of our broker besides the one for Mles over TCP.

use std::net::{IpAddr, SocketAddr};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    WebSocket,
    /// Mles over TLS.
    MlesTls,
    WebSocketTls,
}

impl Listener {
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

/// The listeners of a server and their ports; 0 until the system has chosen one.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners(Vec<(Listener, u16)>);

impl Listeners {
    pub(super) fn add(&mut self, listener: Listener) {
        self.0.push((listener, 0));
    }

    pub(super) fn has(&self, wanted: Listener) -> bool {
        self.0.iter().any(|(listener, _)| *listener == wanted)
    }

    pub(super) fn port(&self, wanted: Listener) -> u16 {
        let found = self.0.iter().find(|(listener, _)| *listener == wanted);
        found.expect("the server has no such listener").1
    }

    /// The options that open them.
    pub(super) fn arguments(&self, ip: IpAddr) -> Vec<String> {
        let arguments = self.0.iter().flat_map(|(listener, port)| {
            let address = SocketAddr::new(ip, *port);
            [listener.option().to_owned(), address.to_string()]
        });
        arguments.collect()
    }

    /// Returns the listeners with the ports they got, if `line` tells them all.
    pub(super) fn told_in(&self, line: &str) -> Option<Self> {
        let listeners = self.0.iter().map(|&(listener, _)| {
            let (before, _) = line.split_once(listener.told())?;
            let (_, port) = before.rsplit_once(':')?;
            Some((listener, port.parse().ok()?))
        });
        listeners.collect::<Option<_>>().map(Self)
    }
}
