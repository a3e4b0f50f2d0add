//! Reload: other settings for a broker that runs.
//!
//! All that can fail is done first: certificates are loaded and listeners are bound before anything changes. Then the
//! settings are replaced as a whole, and each shard applies them to what is open on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;

use super::StartError;
use super::fleet::fit_frames;
use super::listening::{
    BoundListeners, OpenListener, ReloadStep, ShardChange, WantedListener, addresses_by_kind,
    check_listener, compare,
};
use super::preflight::{check_congestion, check_frame, tls_files};
use crate::net::ListenerDirectory;
use crate::reload::{CERTIFICATES, ReloadReport};
use crate::settings::{ListenerKind, Settings};
use crate::shard::{BrokerPhase, Common};
use crate::tls::{CertificateWatch, LoadedTls, ServerTls, TlsError};

/// Longest time that a reload waits for the shards to apply the settings.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reason for which settings were not put in force. The old ones stay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A broker would not start with these settings.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The broker is about to stop.
    #[error("the broker is stopping")]
    Stopping,
    /// A channel is to keep its history on disk, and the broker was started without a store.
    #[error("history = \"disk\" needs a restart: this server was started without a store")]
    NoStore,
}

impl From<TlsError> for ReloadError {
    fn from(error: TlsError) -> Self {
        Self::Start(error.into())
    }
}

/// The parts of a broker that a reload changes, besides its settings.
#[derive(Debug)]
pub(super) struct Changeable {
    listeners: Vec<OpenListener>,
    /// Number of listeners that there have been.
    given: u64,
    tls: Option<Arc<ServerTls>>,
    /// The open listeners, for those who must not wait for a reload.
    directory: Arc<ListenerDirectory>,
    watch: Option<CertificateWatch>,
    /// Tell each shard, by its index.
    shards: Vec<UnboundedSender<ShardChange>>,
}

/// TLS of the listeners, loaded and not in use yet.
enum NextTls {
    /// No listener has TLS.
    None,
    /// There was no listener with TLS before.
    First(Arc<ServerTls>),
    /// Those that there are get other certificates.
    Other(Arc<ServerTls>, Box<LoadedTls>),
}

impl NextTls {
    fn load(current: Option<&Arc<ServerTls>>, settings: &Settings) -> Result<Self, TlsError> {
        let Some((pair, client_ca)) = tls_files(settings)? else {
            return Ok(Self::None);
        };
        Ok(match current {
            None => Self::First(ServerTls::new(pair, client_ca)?),
            Some(tls) => Self::Other(tls.clone(), Box::new(tls.load(pair, client_ca)?)),
        })
    }

    fn server(&self) -> Option<&Arc<ServerTls>> {
        match self {
            Self::None => None,
            Self::First(tls) | Self::Other(tls, _) => Some(tls),
        }
    }

    /// Returns `true` if the files hold other certificates than those in use.
    fn is_other(&self) -> bool {
        match self {
            Self::None | Self::First(_) => false,
            Self::Other(tls, loaded) => tls.is_other(loaded),
        }
    }

    fn put_in_use(self) -> Option<Arc<ServerTls>> {
        match self {
            Self::None => None,
            Self::First(tls) => Some(tls),
            Self::Other(tls, loaded) => {
                tls.use_loaded(*loaded);
                Some(tls)
            }
        }
    }
}

impl Changeable {
    pub(super) fn new(
        listeners: Vec<OpenListener>,
        given: u64,
        tls: Option<Arc<ServerTls>>,
        watch: Option<CertificateWatch>,
    ) -> Self {
        let directory = Arc::new(ListenerDirectory::default());
        directory.set(addresses(&listeners), tls.clone());
        Self {
            listeners,
            given,
            tls,
            directory,
            watch,
            shards: Vec::new(),
        }
    }

    /// Has the next shard told of changes.
    pub(super) fn follow(&mut self, shard: UnboundedSender<ShardChange>) {
        self.shards.push(shard);
    }

    /// Ends what runs besides the shards.
    pub(super) fn end(&mut self) {
        self.watch = None;
    }

    /// Returns TLS of the listeners, if any has it.
    pub(super) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.clone()
    }

    /// Returns what says which listeners there are.
    pub(super) fn directory(&self) -> Arc<ListenerDirectory> {
        self.directory.clone()
    }

    /// Puts `settings` in force. See [`StopHandle::reload`](super::StopHandle::reload).
    pub(super) fn reload(
        &mut self,
        common: &Common,
        mut settings: Settings,
    ) -> Result<ReloadReport, ReloadError> {
        if *common.phase.borrow() != BrokerPhase::Running {
            return Err(ReloadError::Stopping);
        }
        if let Some(fleet) = &common.fleet {
            fit_frames(&mut settings, fleet)?;
        }
        let before = common.live_arc();
        let differences = keep_until_restart(&before.settings, &mut settings);
        if settings.channels.need_store() && common.store.is_none() {
            return Err(ReloadError::NoStore);
        }
        check_frame(&settings)?;
        check_congestion(&settings)?;
        self.check_listeners(&settings)?;
        let (close, open) = compare(&self.listeners, &settings);
        if self.listeners.len() == close.len() && open.is_empty() {
            return Err(StartError::NoListener.into());
        }
        let tls = NextTls::load(self.tls.as_ref(), &settings)?;
        let bound = self.bind(&settings, &open, &close, tls.server())?;

        let mut changed = owned(differences.changed);
        changed.extend(tls.is_other().then(|| CERTIFICATES.to_owned()));
        self.tls = tls.put_in_use();
        common.replace_settings(settings);
        let opened = self.replace_listeners(&close, &bound);
        self.watch_certificates(common);
        let sessions_ended = self.apply(common, &close, bound);
        if !before.access.hides_keys() && common.live().access.hides_keys() {
            // Only now nothing with a key can come into a history any more.
            self.tell_shards(common, std::iter::repeat_with(|| ReloadStep::HideKeys));
        }
        Ok(ReloadReport {
            changed,
            needs_restart: owned(differences.needs_restart),
            opened,
            closed: addresses(&close),
            sessions_ended,
        })
    }

    /// Checks all listeners, also those that stay: who may join has changed, perhaps.
    fn check_listeners(&self, settings: &Settings) -> Result<(), StartError> {
        let of_caller = self.listeners.iter().filter(|open| open.is_of_caller());
        let of_caller: Vec<_> = of_caller.map(|open| open.address).collect();
        for (kind, addresses) in addresses_by_kind(settings) {
            let addresses = match kind {
                ListenerKind::Mles if !of_caller.is_empty() => &of_caller[..],
                _ => addresses,
            };
            for &address in addresses {
                check_listener(settings, address, kind)?;
            }
        }
        Ok(())
    }

    fn bind(
        &self,
        settings: &Settings,
        open: &[WantedListener],
        closing: &[OpenListener],
        tls: Option<&Arc<ServerTls>>,
    ) -> Result<BoundListeners, StartError> {
        let mut bound = BoundListeners::after(self.given);
        for &wanted in open {
            bound.bind_new(settings, wanted, closing, tls, self.shard_count())?;
        }
        Ok(bound)
    }

    /// Returns the listeners that are new.
    fn replace_listeners(
        &mut self,
        close: &[OpenListener],
        bound: &BoundListeners,
    ) -> Vec<(ListenerKind, SocketAddr)> {
        let is_closed = |open: &OpenListener| close.iter().any(|closed| closed.id == open.id);
        self.listeners.retain(|open| !is_closed(open));
        let (new, given) = bound.open();
        let opened = addresses(&new);
        self.listeners.extend(new);
        self.given = given;
        let all = addresses(&self.listeners);
        self.directory.set(all, self.tls.clone());
        opened
    }

    /// Watches the files that are in use now, and warns of what is wrong with them.
    fn watch_certificates(&mut self, common: &Common) {
        self.watch = None;
        let (server, upstream) = (self.tls.clone(), common.peer_tls());
        match CertificateWatch::start(server, upstream, CertificateWatch::INTERVAL) {
            Ok(watch) => self.watch = watch,
            Err(error) => tracing::error!(%error, "certificates are not watched any more"),
        }
    }

    /// Has each shard apply the settings in force, and waits until all have. Returns how many sessions have ended.
    fn apply(&self, common: &Common, close: &[OpenListener], bound: BoundListeners) -> u64 {
        let sockets = bound.by_shard(self.shard_count());
        let steps = sockets.into_iter().map(|open| ReloadStep::Apply {
            close: close.iter().map(|closed| closed.id).collect(),
            open,
        });
        self.tell_shards(common, steps)
    }

    /// Has each shard do its step, and waits until all have. Returns how many sessions have ended.
    fn tell_shards(&self, common: &Common, steps: impl IntoIterator<Item = ReloadStep>) -> u64 {
        let (done, applied) = mpsc::channel();
        for (shard, step) in self.shards.iter().zip(steps) {
            let done = done.clone();
            // A shard that is gone has stopped the broker.
            let _ = shard.send(ShardChange { step, done });
        }
        drop(done);
        let deadline = Instant::now() + PATIENCE;
        let mut ended = 0;
        for _ in &self.shards {
            let left = deadline.saturating_duration_since(Instant::now());
            match applied.recv_timeout(left) {
                Ok(sessions) => ended += sessions,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if *common.phase.borrow() == BrokerPhase::Running {
                        tracing::warn!(
                            "a shard has not applied the new settings within {PATIENCE:?}"
                        );
                    }
                    break;
                }
            }
        }
        ended
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(u16::MAX)
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn addresses(listeners: &[OpenListener]) -> Vec<(ListenerKind, SocketAddr)> {
    listeners
        .iter()
        .map(|open| (open.kind, open.address))
        .collect()
}

/// Names of settings that differ.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Those that can change while a broker runs.
    changed: Vec<&'static str>,
    /// Those that only a start can change.
    needs_restart: Vec<&'static str>,
}

/// Compares settings with those in force, and gives them what only a start can change as it is in force.
pub(crate) fn keep_until_restart(in_force: &Settings, wanted: &mut Settings) -> Differences {
    let mut found = Differences::default();
    // Every field is named, so that a new one has to be put in one of the lists.
    macro_rules! compare {
        (live: $($live:ident),+; restart: $($restart:ident),+ $(,)?) => {
            let Settings { $($live,)+ $($restart,)+ sockets } = wanted;
            // Those that were passed on at the start are still open.
            sockets.clone_from(&in_force.sockets);
            $(if *$live != in_force.$live {
                found.changed.push(stringify!($live));
            })+
            $(if *$restart != in_force.$restart {
                $restart.clone_from(&in_force.$restart);
                found.needs_restart.push(stringify!($restart));
            })+
        };
    }
    compare!(
        live: listen, on_denied_publish, keyring, keys, rules, tokens, allow_anonymous, spread_threshold, drain_grace,
            drain_period, drain_deadline, channels, limits, tls, websocket, proxies;
        restart: shards, pin, peer, fleet, admin, store,
    );
    found
}
