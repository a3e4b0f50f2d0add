//! The broker: builds shards and listeners, and owns the order in which they start and stop.

mod error;
mod fleet;
mod listening;
mod preflight;
mod reload;
mod stored;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::admin::{AdminServer, AdminState};
use crate::fleet::OpenFleet;
use crate::peer::LinkStatus;
use crate::reload::{ReloadHook, ReloadReport};
use crate::settings::{ListenerKind, Settings};
use crate::shard::stats::Stats;
use crate::shard::thread::{Seed, seeds};
use crate::shard::watchdog::Watchdog;
use crate::shard::{BrokerPhase, Common, Shard};
use crate::store::StoreHandle;
use crate::tls::{CertificateWatch, TlsError};
pub use error::{BrokerError, StartError};
use fleet::{fit_frames, open_fleet};
use listening::{BoundListeners, ShardListeners, bind_admin};
#[cfg(feature = "cli")]
pub(crate) use preflight::preflight;
use preflight::{check_congestion, check_frame, server_tls};
use reload::Changeable;
pub use reload::ReloadError;
#[cfg(all(test, feature = "cli"))]
pub(crate) use reload::keep_until_restart;
use stored::open_store;

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
    changeable: Arc<Mutex<Changeable>>,
    reload: Arc<ReloadHook>,
    _watchdog: Watchdog,
    /// Ends after the shards, so that it can say that they stop.
    admin: Option<AdminServer>,
    /// The store of histories, which ends after the shards.
    store: Option<Arc<StoreHandle>>,
    /// The thread of a node of a fleet, which ends after the shards.
    fleet: Option<JoinHandle<()>>,
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
        listening.bind(&settings, &[ListenerKind::Mles], None, shards)?;
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

    /// Starts a broker as a node of a fleet whose log was found.
    #[cfg(all(test, feature = "fleet"))]
    pub(crate) fn start_in(settings: Settings, fleet: OpenFleet) -> Result<Self, StartError> {
        let shards = shard_count(&settings)?;
        let mut listening = BoundListeners::default();
        listening.bind(&settings, &[ListenerKind::Mles], None, shards)?;
        Self::launch_in(settings, listening, shards, Some(fleet))
    }

    fn launch(
        settings: Settings,
        listening: BoundListeners,
        shards: u16,
    ) -> Result<Self, StartError> {
        let fleet = open_fleet(&settings)?;
        Self::launch_in(settings, listening, shards, fleet)
    }

    fn launch_in(
        mut settings: Settings,
        mut listening: BoundListeners,
        shards: u16,
        fleet: Option<OpenFleet>,
    ) -> Result<Self, StartError> {
        if let Some(fleet) = &fleet {
            fit_frames(&mut settings, &fleet.handle)?;
        }
        check_frame(&settings)?;
        check_congestion(&settings)?;
        let tls = server_tls(&settings)?;
        let peer_tls = settings.peer.client_tls()?;
        let kinds = [
            ListenerKind::MlesTls,
            ListenerKind::WebSocketTls,
            ListenerKind::WebSocket,
        ];
        listening.bind(&settings, &kinds, tls.as_ref(), shards)?;
        if listening.is_empty() {
            return Err(StartError::NoListener);
        }
        let admin = bind_admin(&settings)?;
        let watch =
            CertificateWatch::start(tls.clone(), peer_tls.clone(), CertificateWatch::INTERVAL);
        let watch = watch.map_err(StartError::Thread)?;
        let (open, given) = listening.open();
        let listeners: Vec<_> = open.iter().map(|open| (open.kind, open.address)).collect();
        let store = open_store(&settings)?;
        let handle = store.as_ref().map(|store| store.handle.clone());
        let (routes, events) = OpenFleet::routes(shards.into());
        let in_fleet = fleet.as_ref().map(|fleet| (fleet, events));
        let (common, seeds) = seeds(settings, peer_tls, shards, store, in_fleet);
        let watchdog = Watchdog::start(common.clone()).map_err(StartError::Thread)?;
        let mut broker = Self {
            common,
            threads: Vec::new(),
            addresses: listeners.iter().map(|&(_, address)| address).collect(),
            listeners,
            changeable: Arc::new(Mutex::new(Changeable::new(open, given, tls, watch))),
            reload: Arc::default(),
            _watchdog: watchdog,
            admin: None,
            store: handle,
            fleet: None,
        };
        broker.fleet = fleet.map(|fleet| fleet.begin(broker.common.clone(), routes));
        broker.admin = broker.start_admin(admin)?;
        for (seed, sockets) in seeds.into_iter().zip(listening.by_shard(shards)) {
            let (change, changes) = tokio::sync::mpsc::unbounded_channel();
            broker.changeable().follow(change);
            let setup = move |shard: &Rc<Shard>| {
                let listeners = ShardListeners::open(shard, sockets)?;
                shard.spawn(listeners.follow(changes));
                Ok(())
            };
            let thread = spawn(broker.common.clone(), seed, setup)?;
            broker.threads.push(thread);
        }
        Ok(broker)
    }

    /// Returns the addresses that the broker has listened on since its start, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the kind and the address of each listener that the broker was started with, with the port that the system
    /// chose; see [`StopHandle::listeners`] for those that it has now.
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
        let directory = self.changeable().directory();
        let state = AdminState::new(common, directory, self.reload.clone(), token);
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
            changeable: self.changeable.clone(),
        }
    }

    /// Sets what reloads the configuration when an administrator asks for it.
    #[cfg(feature = "cli")]
    pub(crate) fn set_reload(&self, reload: crate::reload::ReloadFn) {
        self.reload.set(reload);
    }

    fn changeable(&self) -> MutexGuard<'_, Changeable> {
        unpoisoned(&self.changeable)
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

    /// Puts other settings in force; see [`StopHandle::reload`].
    ///
    /// # Errors
    ///
    /// See [`ReloadError`].
    pub fn reload(&self, settings: Settings) -> Result<ReloadReport, ReloadError> {
        self.stop_handle().reload(settings)
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
        if let Some(fleet) = self.fleet.take()
            && fleet.join().is_err()
        {
            failed = Err(BrokerError::Panicked);
        }
        if self.common.has_failed() && failed.is_ok() {
            failed = Err(BrokerError::Panicked);
        }
        if let Some(store) = self.store.take()
            && failed.is_ok()
        {
            let is_closed = self.common.has_saved_all() && store.close();
            if self.common.has_drained() && !is_closed {
                failed = Err(BrokerError::Unsaved);
            }
        }
        self.admin = None;
        failed.map(|()| self.stats())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.common.advance(BrokerPhase::Stopped);
        self.changeable().end();
        for thread in self.threads.drain(..) {
            // Only `wait` tells how it ended.
            let _ = thread.join();
        }
        if let Some(fleet) = self.fleet.take() {
            let _ = fleet.join();
        }
        self.common.close_mailboxes();
    }
}

/// Handle that stops a broker, or changes its settings, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle {
    common: Arc<Common>,
    changeable: Arc<Mutex<Changeable>>,
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

    /// Puts `settings` in force without ending a session that still has the right to be there, and returns what has
    /// changed. Certificates are loaded again, listeners are opened and closed, open channels get their new settings, and
    /// sessions end that have lost their rights. Sessions that came by a listener which is closed stay. What can
    /// only change at a start keeps its value: `shards`, `pin` and `peer`.
    ///
    /// Reads files, and blocks until every shard has done its part; within a runtime use a blocking thread.
    ///
    /// # Errors
    ///
    /// See [`ReloadError`]: nothing has changed then.
    pub fn reload(&self, settings: Settings) -> Result<ReloadReport, ReloadError> {
        unpoisoned(&self.changeable).reload(&self.common, settings)
    }

    /// Returns the kind and the address of each listener that is open, with the port that the system chose. Waits for the
    /// end of a reload.
    #[must_use]
    pub fn listeners(&self) -> Vec<(ListenerKind, SocketAddr)> {
        unpoisoned(&self.changeable).directory().listeners()
    }

    /// Loads the certificates of the TLS listeners again, as is done when their files change: new
    /// connections get the new ones, others keep theirs. Returns `true` if there was anything to load.
    /// Reads files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: nothing has changed then.
    pub fn reload_certificates(&self) -> Result<bool, TlsError> {
        let tls = unpoisoned(&self.changeable).tls();
        let loaded = tls.map(|tls| tls.reload_and_log());
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

/// Locks it, though a thread has panicked with it: that leaves nothing half done that another could not go on with.
fn unpoisoned(changeable: &Mutex<Changeable>) -> MutexGuard<'_, Changeable> {
    changeable.lock().unwrap_or_else(PoisonError::into_inner)
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
