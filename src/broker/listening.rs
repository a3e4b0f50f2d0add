//! The listeners of a broker: checks them, binds them, and divides their sockets among the shards.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use super::StartError;
use crate::access::{self, ListenerFault};
use crate::net::{Acceptor, Listeners, accept_forever, bind};
use crate::settings::{ListenerKind, Settings};
use crate::shard::Shard;
use crate::tls::ServerTls;

/// All listeners of a broker, bound.
#[derive(Debug, Default)]
pub(super) struct BoundListeners(Vec<(Acceptor, Listeners)>);

/// The sockets of one shard.
pub(super) type Sockets = Vec<(Acceptor, TcpListener)>;

impl BoundListeners {
    /// Takes listeners for plain Mles that the caller has made.
    pub(super) fn on(
        settings: &Settings,
        listeners: impl IntoIterator<Item = TcpListener>,
        shards: u16,
    ) -> Result<Self, StartError> {
        let shared = listeners
            .into_iter()
            .map(|listener| Ok((Acceptor::Mles, Listeners::share(listener, shards.into())?)));
        let shared: io::Result<Vec<_>> = shared.collect();
        let listening = Self(shared.map_err(StartError::Thread)?);
        for (_, listeners) in &listening.0 {
            check_listener(settings, listeners.address, ListenerKind::Mles)?;
        }
        Ok(listening)
    }

    /// Binds the listeners for plain Mles.
    pub(super) fn bind_plain(
        &mut self,
        settings: &Settings,
        shards: u16,
    ) -> Result<(), StartError> {
        self.bind(settings, &settings.listen, &Acceptor::Mles, shards)
    }

    /// Binds all other listeners.
    pub(super) fn bind_others(
        &mut self,
        settings: &Settings,
        tls: Option<&Arc<ServerTls>>,
        shards: u16,
    ) -> Result<(), StartError> {
        let websocket = &settings.websocket;
        if let Some(tls) = tls {
            let (mles, web) = (
                Acceptor::MlesTls(tls.clone()),
                Acceptor::WebSocketTls(tls.clone()),
            );
            self.bind(settings, &settings.tls.listen, &mles, shards)?;
            self.bind(settings, &websocket.tls_listen, &web, shards)?;
        }
        self.bind(settings, &websocket.listen, &Acceptor::WebSocket, shards)
    }

    fn bind(
        &mut self,
        settings: &Settings,
        addresses: &[SocketAddr],
        acceptor: &Acceptor,
        shards: u16,
    ) -> Result<(), StartError> {
        let all: Vec<_> = all_addresses(settings).collect();
        for &address in addresses {
            check_listener(settings, address, acceptor.kind())?;
            let listeners = match settings.sockets.at(address) {
                Some(socket) => share(socket, shards)?,
                None => bind(address, shards.into(), &all)?,
            };
            self.0.push((acceptor.clone(), listeners));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the kind and the address of each listener.
    pub(super) fn addresses(&self) -> Vec<(ListenerKind, SocketAddr)> {
        let addresses = self.0.iter();
        addresses
            .map(|(acceptor, listeners)| (acceptor.kind(), listeners.address))
            .collect()
    }

    /// Returns the sockets of each shard.
    pub(super) fn by_shard(self, shards: u16) -> Vec<Sockets> {
        let mut by_shard: Vec<Sockets> = (0..shards).map(|_| Vec::new()).collect();
        for (acceptor, listeners) in self.0 {
            by_shard
                .iter_mut()
                .zip(listeners.sockets)
                .for_each(|(to, socket)| to.push((acceptor.clone(), socket)));
        }
        by_shard
    }
}

/// Binds the admin listeners.
pub(super) fn bind_admin(settings: &Settings) -> Result<Vec<TcpListener>, StartError> {
    let admin = &settings.admin;
    let mut all: Vec<_> = all_addresses(settings).collect();
    all.extend(&admin.listen);
    let mut sockets = Vec::new();
    for &address in &admin.listen {
        if admin.token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::AdminUnprotected(address));
        }
        let listeners = match settings.sockets.at(address) {
            Some(socket) => share(socket, 1)?,
            None => bind(address, 1, &all)?,
        };
        sockets.extend(listeners.sockets);
    }
    Ok(sockets)
}

/// Takes a socket that is open already, and stays open for others.
fn share(socket: &TcpListener, shards: u16) -> Result<Listeners, StartError> {
    let own = socket.try_clone().map_err(StartError::Thread)?;
    Listeners::share(own, shards.into()).map_err(StartError::Thread)
}

/// Accepts from all of `sockets` on `shard`.
pub(super) fn accept(shard: &Rc<Shard>, sockets: Sockets) -> io::Result<()> {
    for (acceptor, socket) in sockets {
        let listener = tokio::net::TcpListener::from_std(socket)?;
        shard.spawn(accept_forever(shard.clone(), listener, acceptor));
    }
    Ok(())
}

/// Returns all addresses to listen on.
pub(super) fn all_addresses(settings: &Settings) -> impl Iterator<Item = SocketAddr> {
    addresses_by_kind(settings)
        .into_iter()
        .flat_map(|(_, list)| list.iter().copied())
}

/// Returns the addresses to listen on for each kind of listener.
pub(super) fn addresses_by_kind(settings: &Settings) -> [(ListenerKind, &[SocketAddr]); 4] {
    [
        (ListenerKind::Mles, &settings.listen),
        (ListenerKind::MlesTls, &settings.tls.listen),
        (ListenerKind::WebSocketTls, &settings.websocket.tls_listen),
        (ListenerKind::WebSocket, &settings.websocket.listen),
    ]
}

/// Checks that somebody can join on a listener, and not just anybody.
pub(super) fn check_listener(
    settings: &Settings,
    address: SocketAddr,
    kind: ListenerKind,
) -> Result<(), StartError> {
    access::check_listener(settings, kind, address).map_err(|fault| match fault {
        ListenerFault::Unprotected => StartError::Unprotected(address),
        ListenerFault::NoWebSocketKey => StartError::NoWebSocketKey,
    })
}
