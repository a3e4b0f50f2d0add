//! A fleet, and what tests do with it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::client::{Client, Event, Session};
use crate::fleet::{FleetPatience, FleetPhase, FleetStatus, open};
use crate::log::memory::{Faults, MemoryEngine, MemoryLog};
use crate::order::FleetEpoch;
use crate::protocol::{Epoch, Keyring};
use crate::settings::Settings;

/// Longest wait for what a test expects.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key of all brokers.
const KEY: &str = "key of the fleet";

/// What all nodes have in common.
pub(super) struct Fleet {
    pub(super) engine: Arc<MemoryEngine>,
}

/// A node, with its own way to the log.
pub(super) struct TestNode {
    pub(super) broker: Broker,
    pub(super) log: MemoryLog,
    handle: Arc<crate::fleet::FleetHandle>,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self::with_faults(0, Faults::default())
    }

    pub(super) fn with_faults(seed: u64, faults: Faults) -> Self {
        Self {
            engine: MemoryEngine::new(epoch(1), seed, faults),
        }
    }

    /// Starts a node that serves when this returns.
    pub(super) async fn start(&self) -> TestNode {
        self.start_with(FleetPatience::new(Duration::from_secs(20)), settings())
            .await
    }

    /// Starts a node with that patience and those settings.
    pub(super) async fn start_with(&self, patience: FleetPatience, settings: Settings) -> TestNode {
        let log = MemoryLog::new(self.engine.clone());
        let own = log.clone();
        let fleet = open(patience, || async { Ok(own) }).unwrap();
        let handle = fleet.handle.clone();
        let broker = Broker::start_in(settings, fleet).unwrap();
        let node = TestNode {
            broker,
            log,
            handle,
        };
        node.reaches(FleetPhase::Serving).await;
        node
    }
}

pub(super) fn epoch(number: u64) -> FleetEpoch {
    FleetEpoch {
        number,
        id: Epoch(0xabcd + number),
    }
}

/// Returns the settings of a broker with two shards.
pub(super) fn settings() -> Settings {
    Settings {
        listen: vec![([127, 0, 0, 1], 0).into()],
        keyring: Keyring::new(Some(KEY.to_owned()), None),
        shards: Some(2),
        pin: false,
        drain_period: Some(Duration::ZERO),
        ..Settings::default()
    }
}

impl TestNode {
    pub(super) fn address(&self) -> SocketAddr {
        self.broker.local_addrs()[0]
    }

    pub(super) fn status(&self) -> &FleetStatus {
        self.handle.status()
    }

    /// Waits until the node has come to `phase`.
    pub(super) async fn reaches(&self, phase: FleetPhase) {
        until(
            || self.status().phase() == phase,
            || format!("{phase:?}: {:?}", self.status()),
        )
        .await;
    }

    /// Returns a client of this node.
    pub(super) fn client(&self, uid: &str) -> Client {
        self.client_at(uid, self.address())
    }

    /// Returns a client that reaches its node by another address.
    pub(super) fn client_at(&self, uid: &str, address: SocketAddr) -> Client {
        Client::new(address.to_string(), uid).shared_key(KEY)
    }

    /// Joins a channel with positions.
    pub(super) async fn join(&self, uid: &str, channel: &str) -> Session {
        self.client(uid).positions().join(channel).await.unwrap()
    }
}

/// Waits until something is so.
pub(super) async fn until(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let due = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < due, "{}", what());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the texts of the next `count` messages, empty ones left out.
pub(super) async fn texts(session: &mut Session, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let event = tokio::time::timeout(PATIENCE, session.next_event()).await;
        match event.unwrap_or_else(|_| panic!("only {texts:?}")).unwrap() {
            Some(Event::Message(message)) if !message.is_announcement() => {
                texts.push(message.text().into_owned());
            }
            Some(_) => {}
            None => panic!("closed after {texts:?}"),
        }
    }
    texts
}

/// Takes clients to one node, and to another later.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    cut: Arc<Notify>,
    is_left_open: Arc<AtomicBool>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            target: Arc::new(Mutex::new(target)),
            cut: Arc::default(),
            is_left_open: Arc::default(),
        };
        let (target, cut) = (proxy.target.clone(), proxy.cut.clone());
        let is_left_open = proxy.is_left_open.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, cut) = (*target.lock().unwrap(), cut.clone());
                let is_left_open = is_left_open.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = cut.notified() => {}
                    }
                    drop(client);
                    if is_left_open.load(Ordering::Relaxed) {
                        // The server hears nothing.
                        std::future::pending::<()>().await;
                    }
                    drop(server);
                });
            }
        });
        proxy
    }

    /// Cuts all connections. Who comes next is taken to another node.
    pub(super) fn move_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
        self.cut.notify_waiters();
    }

    /// Cuts all connections to clients, and leaves those to the node open, as a network does that drops packets.
    pub(super) fn leave_open(&self, target: SocketAddr) {
        self.is_left_open.store(true, Ordering::Relaxed);
        self.move_to(target);
    }
}
