//! The thread of the admin listener: accepts connections until the broker has ended.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::access::AdminAccess;
use super::connection::{Shared, serve};
use super::metrics::Metrics;
use super::slots::Slots;
use crate::net::ListenerDirectory;
use crate::reload::ReloadHook;
use crate::settings::AdminToken;
use crate::shard::Common;

/// Wait after a failure to accept: there are no file descriptors, or no memory.
const PAUSE: Duration = Duration::from_millis(100);

/// State from which the admin listener answers.
pub(crate) struct AdminState {
    pub(super) common: Arc<Common>,
    /// The listeners for clients, and their certificate.
    pub(super) directory: Arc<ListenerDirectory>,
    /// Reloads the configuration.
    pub(super) reload: Arc<ReloadHook>,
    /// When the broker was started.
    pub(super) started: SystemTime,
    pub(super) access: AdminAccess,
    pub(super) metrics: Metrics,
}

impl AdminState {
    pub(crate) fn new(
        common: Arc<Common>,
        directory: Arc<ListenerDirectory>,
        reload: Arc<ReloadHook>,
        token: Option<AdminToken>,
    ) -> Self {
        let started = SystemTime::now();
        Self {
            metrics: Metrics::new(common.clone(), directory.clone(), started),
            common,
            directory,
            reload,
            started,
            access: AdminAccess::new(token),
        }
    }
}

/// The admin listener. Dropping it ends its thread.
pub(crate) struct AdminServer {
    addresses: Vec<SocketAddr>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Answers on these listeners, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system refuses what the thread or its runtime needs.
    pub(crate) fn start(listeners: Vec<TcpListener>, state: AdminState) -> io::Result<Self> {
        let addresses = listeners.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<io::Result<_>>()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            LocalSet::new().block_on(&runtime, async move {
                let (state, slots) = (Rc::new(state), Rc::<Slots>::default());
                for listener in listeners {
                    let accepting = accept_forever(listener, state.clone(), slots.clone());
                    tokio::task::spawn_local(accepting);
                }
                // An error says that the other side is gone, which is what is waited for.
                let _ = stopped.await;
            });
        };
        let thread = std::thread::Builder::new().name("mles-admin".to_owned());
        Ok(Self {
            addresses,
            stop: Some(stop),
            thread: Some(thread.spawn(run)?),
        })
    }

    /// Returns the addresses that it listens on, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdminServer").field(&self.addresses).finish()
    }
}

/// Accepts connections from one listener.
async fn accept_forever(listener: TcpListener, state: Rc<AdminState>, slots: Rc<Slots>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener cannot be used"),
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection of the admin listener");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let shared = Shared::new();
        if !slots.take(&shared) {
            continue;
        }
        let (state, slots) = (state.clone(), slots.clone());
        tokio::task::spawn_local(async move {
            let _slot = HeldSlot(&slots, &shared);
            serve(stream, shared.clone(), state).await;
        });
    }
}

/// The place of a connection, which is given back when its task ends, whatever ends it.
struct HeldSlot<'a>(&'a Slots, &'a Rc<Shared>);

impl Drop for HeldSlot<'_> {
    fn drop(&mut self) {
        self.0.give_back(self.1);
    }
}
