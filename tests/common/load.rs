//! A publisher that never rests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Client;

/// Publishes numbers from a thread of its own until it is told to stop, and `end` then.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Load {
    pub fn start(mut client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                client.send(sent.to_string().as_bytes());
                sent += 1;
                // Members in other threads of a busy machine have to keep up.
                std::thread::sleep(Duration::from_micros(500));
            }
            client.send(b"end");
            // Its session must not end before everybody has got that.
            std::mem::forget(client);
            sent
        });
        Self { stop, thread }
    }

    /// Returns how many messages it has published.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
