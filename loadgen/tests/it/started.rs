//! A broker that a test connects to itself.

use std::net::SocketAddr;
use std::process::Child;

use tempfile::TempDir;

use crate::brokers::{installed, start};

/// A running broker; stopped when dropped.
pub struct Started {
    process: Child,
    pub addr: SocketAddr,
    _dir: TempDir,
}

impl Started {
    /// Starts `broker`; `None`, said loudly, if it is not installed.
    pub fn new(broker: &str) -> Option<Self> {
        if !installed().contains(&broker) {
            return None;
        }
        let (process, port, dir) = start(broker);
        Some(Self {
            process,
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            _dir: dir,
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself, and then the test has failed for it already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
