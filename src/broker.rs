//! The broker: builds shards and listeners, and owns the order in which they start and stop.

mod error;
mod listening;
mod preflight;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::admin::{AdminServer, AdminState};
use crate::peer::LinkStatus;
use crate::settings::{ListenerKind, Settings};
use crate::shard::stats::Stats;
use crate::shard::thread::{Seed, seeds};
use crate::shard::watchdog::Watchdog;
use crate::shard::{BrokerPhase, Common, Shard};
use crate::tls::{CertificateWatch, ServerTls, TlsError};
pub use error::{BrokerError, StartError};
use listening::{BoundListeners, accept, bind_admin};
#[cfg(feature = "cli")]
pub(crate) use preflight::preflight;
use preflight::{check_congestion, server_tls};

/// Most shards of one broker.
pub const MAX_SHARDS: usize = 1024;

/// A running broker.
///
/// Dropping it stops it at once, without a drain, and waits for its threads.
#[derive(Debug)]
pub struct Broker {
    common: Arc<Common>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<(ListenerKind, SocketAddr)>,
    tls: Option<Arc<ServerTls>>,
    _watch: Option<CertificateWatch>,
    _watchdog: Watchdog,
    /// Ends after the shards, so that it can say that they stop.
    admin: Option<AdminServer>,
}

impl Broker {
    /// Starts a broker that listens where `settings` say. The listeners are bound when this returns.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing is left running.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let shards = shard_count(&settings)?;
        let mut listening = BoundListeners::default();
        listening.bind_plain(&settings, shards)?;
        Self::launch(settings, listening, shards)
    }

    /// Starts a broker on listeners for plain Mles that the caller has made; `settings.listen` is
    /// not used, but the listeners for TLS and WebSocket are bound as `settings` say. All shards
    /// accept from each of them.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing is left running.
    pub fn start_on(
        settings: Settings,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> Result<Self, StartError> {
        let shards = shard_count(&settings)?;
        let listening = BoundListeners::on(&settings, listeners, shards)?;
        Self::launch(settings, listening, shards)
    }

    fn launch(
        settings: Settings,
        mut listening: BoundListeners,
        shards: u16,
    ) -> Result<Self, StartError> {
        if settings.limits.max_frame <= crate::protocol::HEADER_LEN {
            return Err(StartError::MaxFrame(settings.limits.max_frame));
        }
        check_congestion(&settings)?;
        let tls = server_tls(&settings)?;
        let peer_tls = settings.peer.client_tls()?;
        listening.bind_others(&settings, tls.as_ref(), shards)?;
        if listening.is_empty() {
            return Err(StartError::NoListener);
        }
        let admin = bind_admin(&settings)?;
        let watch =
            CertificateWatch::start(tls.clone(), peer_tls.clone(), CertificateWatch::INTERVAL);
        let watch = watch.map_err(StartError::Thread)?;
        let listeners = listening.addresses();
        let (common, seeds) = seeds(settings, peer_tls, shards);
        let watchdog = Watchdog::start(common.clone()).map_err(StartError::Thread)?;
        let mut broker = Self {
            common,
            threads: Vec::new(),
            addresses: listeners.iter().map(|&(_, address)| address).collect(),
            listeners,
            tls,
            _watch: watch,
            _watchdog: watchdog,
            admin: None,
        };
        broker.admin = broker.start_admin(admin)?;
        for (seed, sockets) in seeds.into_iter().zip(listening.by_shard(shards)) {
            let setup = move |shard: &_| accept(shard, sockets);
            let thread = spawn(broker.common.clone(), seed, setup)?;
            broker.threads.push(thread);
        }
        Ok(broker)
    }

    /// Returns the addresses that the broker listens on, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the kind and the address of each listener, with the port that the system chose.
    #[must_use]
    pub fn listeners(&self) -> &[(ListenerKind, SocketAddr)] {
        &self.listeners
    }

    /// Answers on the admin listeners, if there are any. Before clients are accepted, so that it can say that the
    /// broker starts.
    fn start_admin(&self, listeners: Vec<TcpListener>) -> Result<Option<AdminServer>, StartError> {
        if listeners.is_empty() {
            return Ok(None);
        }
        let (common, token) = (
            self.common.clone(),
            self.common.settings().admin.token.clone(),
        );
        let state = AdminState::new(common, self.listeners.clone(), self.tls.clone(), token);
        let server = AdminServer::start(listeners, state);
        server.map(Some).map_err(StartError::Thread)
    }

    /// Returns the addresses of the admin listeners, with the ports that the system chose.
    #[must_use]
    pub fn admin_addrs(&self) -> &[SocketAddr] {
        self.admin.as_ref().map_or(&[], AdminServer::addresses)
    }

    /// Returns the number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.common.shards()
    }

    /// Returns a handle that stops the broker from any thread.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle {
            common: self.common.clone(),
            tls: self.tls.clone(),
        }
    }

    /// Returns a snapshot of the broker's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.common)
    }

    /// Returns `true` while every shard turns its loop; see [`StopHandle::is_healthy`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.common.is_healthy()
    }

    /// Returns the status of each link to an upstream server, sorted by channel.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        links_of(&self.common)
    }

    /// Loads the certificates again; see [`StopHandle::reload_certificates`].
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn reload_certificates(&self) -> Result<bool, TlsError> {
        self.stop_handle().reload_certificates()
    }

    /// Lets the clients go within `settings.drain_deadline`, after `settings.drain_grace`, and returns the counters at the
    /// end. Blocks; within a runtime use a blocking thread.
    ///
    /// # Errors
    ///
    /// See [`BrokerError`].
    pub fn stop(self) -> Result<Stats, BrokerError> {
        self.stop_handle().drain();
        self.wait()
    }

    /// Blocks until the broker has stopped, and returns its counters.
    ///
    /// # Errors
    ///
    /// See [`BrokerError`].
    pub fn wait(mut self) -> Result<Stats, BrokerError> {
        let mut failed = Ok(());
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Err(BrokerError::Shard(error)),
                Err(_) => failed = Err(BrokerError::Panicked),
            }
        }
        if self.common.has_failed() && failed.is_ok() {
            failed = Err(BrokerError::Panicked);
        }
        self.admin = None;
        failed.map(|()| self.stats())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.common.advance(BrokerPhase::Stopped);
        for thread in self.threads.drain(..) {
            // Only `wait` tells how it ended.
            let _ = thread.join();
        }
        self.common.close_mailboxes();
    }
}

/// Handle that stops a broker from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle {
    common: Arc<Common>,
    tls: Option<Arc<ServerTls>>,
}

impl StopHandle {
    /// Begins to let the clients go: after `settings.drain_grace`, in which the broker is only not ready any more, no
    /// new ones are let in, and each gets what is queued for it.
    pub fn drain(&self) {
        self.common.begin_drain();
    }

    /// Returns `true` once a stop has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.common.phase.borrow() != BrokerPhase::Running
    }

    /// Stops at once.
    pub fn abort(&self) {
        self.common.advance(BrokerPhase::Stopped);
    }

    /// Loads the certificates of the TLS listeners again, as is done when their files change: new
    /// connections get the new ones, others keep theirs. Returns `true` if there was anything to load.
    /// Reads files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: nothing has changed then.
    pub fn reload_certificates(&self) -> Result<bool, TlsError> {
        let loaded = self.tls.as_ref().map(|tls| tls.reload_and_log());
        Ok(loaded.transpose()?.is_some())
    }

    /// Returns a snapshot of the broker's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.common)
    }

    /// Returns `true` while every shard turns its loop. A shard that has not done so for a second, whose clients wait,
    /// is reported in the log with the task that keeps it busy. A thread of the broker looks four times a second.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.common.is_healthy()
    }

    /// Returns the status of each link to an upstream server, sorted by channel.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        links_of(&self.common)
    }
}

fn links_of(common: &Common) -> Vec<LinkStatus> {
    let mut links: Vec<_> = common.links.iter().map(|link| link.status()).collect();
    links.sort_by(|a, b| a.channel.cmp(&b.channel));
    links
}

fn shard_count(settings: &Settings) -> Result<u16, StartError> {
    let cores = || {
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_SHARDS)
    };
    let shards = settings.shards.unwrap_or_else(cores);
    match u16::try_from(shards) {
        Ok(count @ 1..) if shards <= MAX_SHARDS => Ok(count),
        _ => Err(StartError::Shards(shards)),
    }
}

fn spawn(
    common: Arc<Common>,
    seed: Seed,
    setup: impl FnOnce(&Rc<Shard>) -> io::Result<()> + Send + 'static,
) -> Result<JoinHandle<io::Result<()>>, StartError> {
    let thread = std::thread::Builder::new().name(format!("mles-shard-{}", seed.id()));
    let run = move || {
        let ending = StopOthers { common };
        let result = seed.run(setup);
        drop(ending);
        result
    };
    thread.spawn(run).map_err(StartError::Thread)
}

/// Guard that stops the other shards when one ends, for whatever reason: none can serve alone.
struct StopOthers {
    common: Arc<Common>,
}

impl Drop for StopOthers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.common.fail();
        }
        self.common.advance(BrokerPhase::Stopped);
    }
}
