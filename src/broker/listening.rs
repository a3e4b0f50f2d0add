//! The listeners of a broker: checks them, binds them, and divides their sockets among the shards.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::StartError;
use crate::access::{self, ListenerFault};
use crate::net::{Acceptor, Listeners, accept_until, bind, bind_beside, is_v6_only};
use crate::settings::{ListenerKind, Settings};
use crate::shard::Shard;
use crate::tls::ServerTls;

/// Identifies a listener of a broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerId(u64);

/// A listener that is open, on all shards.
#[derive(Clone, Debug)]
pub(super) struct OpenListener {
    pub(super) id: ListenerId,
    pub(super) kind: ListenerKind,
    /// Its address, with the port that the system chose.
    pub(super) address: SocketAddr,
    /// The listener as the settings have it; `None` if the caller has made its socket.
    wanted: Option<WantedListener>,
}

/// A listener as settings have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantedListener {
    pub(super) kind: ListenerKind,
    pub(super) address: SocketAddr,
    /// Set if another listener takes IPv4 on the same port.
    is_v6_only: bool,
}

/// All listeners of a broker, bound.
#[derive(Debug, Default)]
pub(super) struct BoundListeners {
    listeners: Vec<(OpenListener, Acceptor, Vec<TcpListener>)>,
    /// Number of identifiers given away.
    given: u64,
}

/// The sockets of one shard.
pub(super) type Sockets = Vec<(ListenerId, Acceptor, TcpListener)>;

/// A message to a shard: the settings have changed.
#[derive(Debug)]
pub(super) struct ShardChange {
    /// What the shard has to do.
    pub(super) step: ReloadStep,
    /// Takes the number of sessions that were ended, once that is done.
    pub(super) done: std::sync::mpsc::Sender<u64>,
}

/// What a shard does in a reload.
#[derive(Debug)]
pub(super) enum ReloadStep {
    /// Applies the settings in force.
    Apply {
        /// Listeners to close.
        close: Vec<ListenerId>,
        /// Sockets of new listeners.
        open: Sockets,
    },
    /// Clears the session keys in histories, as members may not see them any more. All shards have applied the settings.
    HideKeys,
}

impl BoundListeners {
    /// Begins with no listeners, after so many that a broker has had.
    pub(super) fn after(given: u64) -> Self {
        Self {
            listeners: Vec::new(),
            given,
        }
    }

    /// Takes listeners for plain Mles that the caller has made.
    pub(super) fn on(
        settings: &Settings,
        listeners: impl IntoIterator<Item = TcpListener>,
        shards: u16,
    ) -> Result<Self, StartError> {
        let mut bound = Self::default();
        for listener in listeners {
            let shared = Listeners::share(listener, shards.into()).map_err(StartError::Thread)?;
            check_listener(settings, shared.address, ListenerKind::Mles)?;
            bound.add(None, Acceptor::Mles, shared);
        }
        Ok(bound)
    }

    /// Binds the listeners that `settings` have of these kinds.
    pub(super) fn bind(
        &mut self,
        settings: &Settings,
        kinds: &[ListenerKind],
        tls: Option<&Arc<ServerTls>>,
        shards: u16,
    ) -> Result<(), StartError> {
        let all: Vec<_> = all_addresses(settings).collect();
        for wanted in wanted_listeners(settings) {
            if kinds.contains(&wanted.kind) {
                check_listener(settings, wanted.address, wanted.kind)?;
                let listeners = match settings.sockets.at(wanted.address) {
                    Some(socket) => share(socket, shards)?,
                    None => bind(wanted.address, shards.into(), &all)?,
                };
                self.add_wanted(wanted, tls, listeners)?;
            }
        }
        Ok(())
    }

    /// Binds one more listener for a broker that runs. Those that are `closing` may still have its address.
    pub(super) fn bind_new(
        &mut self,
        settings: &Settings,
        wanted: WantedListener,
        closing: &[OpenListener],
        tls: Option<&Arc<ServerTls>>,
        shards: u16,
    ) -> Result<(), StartError> {
        let all: Vec<_> = all_addresses(settings).collect();
        let (address, shards) = (wanted.address, shards.into());
        let listeners = if closing.iter().any(|open| overlaps(open.address, address)) {
            bind_beside(address, shards, &all)?
        } else {
            bind(address, shards, &all)?
        };
        self.add_wanted(wanted, tls, listeners)
    }

    fn add_wanted(
        &mut self,
        wanted: WantedListener,
        tls: Option<&Arc<ServerTls>>,
        listeners: Listeners,
    ) -> Result<(), StartError> {
        let tls = || tls.cloned().ok_or(StartError::NoListener);
        let acceptor = match wanted.kind {
            ListenerKind::Mles => Acceptor::Mles,
            ListenerKind::WebSocket => Acceptor::WebSocket,
            ListenerKind::MlesTls => Acceptor::MlesTls(tls()?),
            ListenerKind::WebSocketTls => Acceptor::WebSocketTls(tls()?),
        };
        self.add(Some(wanted), acceptor, listeners);
        Ok(())
    }

    fn add(&mut self, wanted: Option<WantedListener>, acceptor: Acceptor, listeners: Listeners) {
        self.given += 1;
        let open = OpenListener {
            id: ListenerId(self.given),
            kind: acceptor.kind(),
            address: listeners.address,
            wanted,
        };
        self.listeners.push((open, acceptor, listeners.sockets));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Returns the listeners, and how many a broker has had with these.
    pub(super) fn open(&self) -> (Vec<OpenListener>, u64) {
        let listeners = self.listeners.iter().map(|(open, ..)| open.clone());
        (listeners.collect(), self.given)
    }

    /// Returns the sockets of each shard.
    pub(super) fn by_shard(self, shards: u16) -> Vec<Sockets> {
        let mut by_shard: Vec<Sockets> = (0..shards).map(|_| Vec::new()).collect();
        for (open, acceptor, sockets) in self.listeners {
            by_shard
                .iter_mut()
                .zip(sockets)
                .for_each(|(to, socket)| to.push((open.id, acceptor.clone(), socket)));
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

impl OpenListener {
    /// Returns `true` if the caller has made its socket, so that settings do not say whether there is to be one.
    pub(super) const fn is_of_caller(&self) -> bool {
        self.wanted.is_none()
    }
}

/// Divides the listeners that are open, and those that `settings` have: returns which of the former are to be closed,
/// and which of the latter to be opened.
pub(super) fn compare(
    open: &[OpenListener],
    settings: &Settings,
) -> (Vec<OpenListener>, Vec<WantedListener>) {
    let mut wanted = wanted_listeners(settings);
    if open.iter().any(OpenListener::is_of_caller) {
        wanted.retain(|wanted| wanted.kind != ListenerKind::Mles);
    }
    let mut close = Vec::new();
    for listener in open.iter().filter(|open| !open.is_of_caller()) {
        match wanted
            .iter()
            .position(|wanted| listener.wanted == Some(*wanted))
        {
            Some(at) => drop(wanted.remove(at)),
            None => close.push(listener.clone()),
        }
    }
    (close, wanted)
}

fn wanted_listeners(settings: &Settings) -> Vec<WantedListener> {
    let all: Vec<_> = all_addresses(settings).collect();
    let wanted = |kind, &address| WantedListener {
        kind,
        address,
        is_v6_only: is_v6_only(address, &all),
    };
    let kinds = addresses_by_kind(settings).into_iter();
    kinds
        .flat_map(|(kind, list)| list.iter().map(move |address| (kind, address)))
        .map(|(kind, address)| wanted(kind, address))
        .collect()
}

/// Returns `true` if a listener at one of the addresses could keep another from the other one.
fn overlaps(a: SocketAddr, b: SocketAddr) -> bool {
    let (a_ip, b_ip) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() == b.port() && (a_ip == b_ip || a_ip.is_unspecified() || b_ip.is_unspecified())
}

/// The listeners of one shard, each with what closes it.
pub(super) struct ShardListeners {
    shard: Rc<Shard>,
    open: HashMap<ListenerId, oneshot::Sender<()>>,
}

impl ShardListeners {
    /// Accepts from all of `sockets` on `shard`.
    ///
    /// # Errors
    ///
    /// The runtime does not take a socket.
    pub(super) fn open(shard: &Rc<Shard>, sockets: Sockets) -> io::Result<Self> {
        let mut listeners = Self {
            shard: shard.clone(),
            open: HashMap::new(),
        };
        sockets
            .into_iter()
            .try_for_each(|(id, acceptor, socket)| listeners.add(id, acceptor, socket))?;
        Ok(listeners)
    }

    fn add(&mut self, id: ListenerId, acceptor: Acceptor, socket: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(socket)?;
        let (close, closed) = oneshot::channel::<()>();
        // It is never sent anything: that it is dropped closes the listener.
        let closed = async { drop(closed.await) };
        let accepting = accept_until(self.shard.clone(), listener, acceptor, closed);
        self.shard.spawn(accepting);
        self.open.insert(id, close);
        Ok(())
    }

    async fn apply(&mut self, close: &[ListenerId], open: Sockets) -> u64 {
        for (id, acceptor, socket) in open {
            if let Err(error) = self.add(id, acceptor, socket) {
                tracing::error!(%error, "cannot accept from a new listener on one of the shards");
            }
        }
        for id in close {
            self.open.remove(id);
        }
        self.shard.apply_live().await
    }

    /// Does at each change of the settings what there is to do on this shard.
    pub(super) async fn follow(mut self, mut changes: UnboundedReceiver<ShardChange>) {
        while let Some(change) = changes.recv().await {
            let ended = match change.step {
                ReloadStep::Apply { close, open } => self.apply(&close, open).await,
                ReloadStep::HideKeys => {
                    self.shard.hide_keys().await;
                    0
                }
            };
            // Who waits for it may have given up.
            let _ = change.done.send(ended);
        }
    }
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
