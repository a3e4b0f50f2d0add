//! Notices that certificates have changed, or are about to expire.
//!
//! The files are polled every few seconds, through links, because notifications would miss changes:
//! certbot and mounted secrets of Kubernetes swap links in directories above, which watches on files do
//! not see, and network file systems notify nobody.

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
/// that are out of date or will be soon. Dropping the watch ends the thread.
#[derive(Debug)]
pub(crate) struct CertificateWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A day in seconds.
const DAY: u64 = 86_400;

/// The metadata of the files, of which a change of a file changes something; `None` for a missing one.
type FileVersions = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl CertificateWatch {
    /// The interval at which files are polled. A change counts once it was seen twice, so that a
    /// certificate is not loaded before its key.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

    /// Starts to watch the files of `server`, and the dates of the certificates of both sides; the files
    /// of `upstream` are read only once. Logs the present warnings at once. Returns `None` if there is
    /// nothing to watch.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
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
        let mut watched = WatchedCertificates::new(server, upstream, now);
        let thread = std::thread::Builder::new()
            .name("mles-certs".to_owned())
            .spawn(move || watched.run(&stopped, interval))?;
        Ok(Some(Self {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its result is empty.
            let _ = thread.join();
        }
    }
}

/// The state of the thread.
pub(super) struct WatchedCertificates {
    server: Option<Arc<ServerTls>>,
    upstream: Option<ClientTls>,
    /// The versions of the files of `server` that were loaded.
    loaded: FileVersions,
    daily: DailyTimer,
}

impl WatchedCertificates {
    /// Begins to watch; the first daily warnings are due a day after `now`.
    pub(super) fn new(
        server: Option<Arc<ServerTls>>,
        upstream: Option<ClientTls>,
        now: SystemTime,
    ) -> Self {
        Self {
            loaded: server.as_deref().map(file_versions).unwrap_or_default(),
            server,
            upstream,
            daily: DailyTimer::starting(now),
        }
    }

    fn run(&mut self, stopped: &Receiver<()>, interval: Duration) {
        let mut last = self.loaded.clone();
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            if let Some(server) = &self.server {
                let now = file_versions(server);
                if now == last && now != self.loaded {
                    // Set before the files are read, so that a change meanwhile is seen the next
                    // time. Files that cannot be loaded are tried again when they have changed
                    // once more.
                    self.loaded.clone_from(&now);
                    let _ = server.reload_and_log();
                }
                last = now;
            }
            for warning in self.daily_warnings(SystemTime::now()) {
                tracing::warn!("{warning}");
            }
        }
    }

    /// Returns the warnings at `now`, once a day.
    pub(super) fn daily_warnings(&mut self, now: SystemTime) -> Vec<String> {
        if !self.daily.is_due(now) {
            return Vec::new();
        }
        let server = self.server.iter().flat_map(|tls| tls.out_of_date(now));
        let upstream = self.upstream.iter().flat_map(|tls| tls.out_of_date(now));
        server.chain(upstream).collect()
    }
}

/// A timer that is due once a day, by the system's clock.
#[derive(Debug)]
pub(super) struct DailyTimer {
    since: SystemTime,
    days: u64,
}

impl DailyTimer {
    /// Starts a timer that is due for the first time a day after `now`.
    pub(super) const fn starting(now: SystemTime) -> Self {
        Self {
            since: now,
            days: 0,
        }
    }

    /// Returns `true` if a day has passed since it last did.
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

fn file_versions(tls: &ServerTls) -> FileVersions {
    tls.paths().map(|path| file_version(&path)).collect()
}

fn file_version(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.len(),
        file.mtime(),
        file.mtime_nsec(),
    ))
}
