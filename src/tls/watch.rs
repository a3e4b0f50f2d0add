//! Noticing that certificates have changed, or are about to expire.
//!
//! The files are looked at every few seconds, through links, instead of being notified: renewal by
//! certbot and mounted secrets of Kubernetes swap links in directories above, which watches on
//! files do not see, and network file systems notify nobody.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::client::ClientTls;
use super::server::ServerTls;

/// A thread that loads certificates again when their files have changed, and warns once a day of those
/// that are out of date or will be soon. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A day in seconds.
const DAY: u64 = 86_400;

/// What a change of a file changes.
type Signature = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Watch {
    /// How often files are looked at. A change counts when it was the same twice, so that a
    /// certificate is not loaded before its key.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

    /// Watches the files of `server` from now on, and the time for those of `upstream` as well,
    /// which are read only once. Warns at once of what there is to warn of; `None` if there is
    /// nothing to watch.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn start(
        server: Option<Arc<ServerTls>>,
        upstream: Option<ClientTls>,
        interval: Duration,
    ) -> io::Result<Option<Self>> {
        if server.is_none() && upstream.is_none() {
            return Ok(None);
        }
        let now = SystemTime::now();
        let at_once = server.iter().flat_map(|tls| tls.warnings(now));
        for warning in at_once.chain(upstream.iter().flat_map(|tls| tls.warnings(now))) {
            tracing::warn!("{warning}");
        }
        let (stop, stopped) = channel();
        let mut watched = Watched::new(server, upstream, now);
        let thread = std::thread::Builder::new()
            .name("mles-certs".to_owned())
            .spawn(move || watched.until(&stopped, interval))?;
        Ok(Some(Self {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// What the thread has in hand.
pub(super) struct Watched {
    server: Option<Arc<ServerTls>>,
    upstream: Option<ClientTls>,
    /// What the files of `server` were like when they were loaded.
    loaded: Signature,
    daily: Daily,
}

impl Watched {
    /// The next day begins a day after `now`.
    pub(super) fn new(
        server: Option<Arc<ServerTls>>,
        upstream: Option<ClientTls>,
        now: SystemTime,
    ) -> Self {
        Self {
            loaded: server.as_deref().map(signature).unwrap_or_default(),
            server,
            upstream,
            daily: Daily::starting(now),
        }
    }

    fn until(&mut self, stopped: &Receiver<()>, interval: Duration) {
        let mut last = self.loaded.clone();
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            if let Some(server) = &self.server {
                let now = signature(server);
                if now == last && now != self.loaded {
                    // Taken before the files are read: what changes meanwhile is seen the next
                    // time. What cannot be loaded is told, and tried again when it has changed
                    // once more.
                    self.loaded.clone_from(&now);
                    let _ = server.reload_and_tell();
                }
                last = now;
            }
            for warning in self.daily_warnings(SystemTime::now()) {
                tracing::warn!("{warning}");
            }
        }
    }

    /// What there is to say at `now`, once a day.
    pub(super) fn daily_warnings(&mut self, now: SystemTime) -> Vec<String> {
        if !self.daily.is_due(now) {
            return Vec::new();
        }
        let server = self.server.iter().flat_map(|tls| tls.out_of_date(now));
        let upstream = self.upstream.iter().flat_map(|tls| tls.out_of_date(now));
        server.chain(upstream).collect()
    }
}

/// Says once a day that it is time to look again, by the system's clock.
#[derive(Debug)]
pub(super) struct Daily {
    since: SystemTime,
    days: u64,
}

impl Daily {
    /// The next time is a day after `now`.
    pub(super) const fn starting(now: SystemTime) -> Self {
        Self {
            since: now,
            days: 0,
        }
    }

    /// Returns `true` if a day has begun since it last did.
    pub(super) fn is_due(&mut self, now: SystemTime) -> bool {
        let Ok(passed) = now.duration_since(self.since) else {
            // The clock was set back: count from there.
            *self = Self::starting(now);
            return false;
        };
        let days = passed.as_secs() / DAY;
        let is_due = days > self.days;
        self.days = days;
        is_due
    }
}

fn signature(tls: &ServerTls) -> Signature {
    tls.paths().map(|path| of_file(path)).collect()
}

fn of_file(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.len(),
        file.mtime(),
        file.mtime_nsec(),
    ))
}
