//! Noticing that certificates have changed.
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
use std::time::Duration;

use super::server::ServerTls;

/// A thread that loads certificates again when their files have changed. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a change of a file changes.
type Signature = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Watch {
    /// How often files are looked at. A change counts when it was the same twice, so that a
    /// certificate is not loaded before its key.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

    /// Watches the files of `tls` from now on.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(crate) fn start(tls: Arc<ServerTls>, interval: Duration) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let loaded = signature(&tls);
        let thread = std::thread::Builder::new()
            .name("mles-certs".to_owned())
            .spawn(move || watch(&tls, loaded, interval, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
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

fn watch(tls: &ServerTls, mut loaded: Signature, interval: Duration, stopped: &Receiver<()>) {
    let mut last = loaded.clone();
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let now = signature(tls);
        if now == last && now != loaded {
            // Taken before the files are read: what changes meanwhile is seen the next time. What
            // cannot be loaded is told, and tried again when it has changed once more.
            loaded.clone_from(&now);
            let _ = tls.reload_and_tell();
        }
        last = now;
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
