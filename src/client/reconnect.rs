//! Coming back after a connection was lost.
//!
//! The subscriber notices the loss, waits, dials and joins again, all while it is polled; then it
//! hands the sending half of the new connection over to the publisher.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::config::Client;
use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{CidChoice, Identity, Names};
use super::received::Received;
use super::replay::Replay;
use super::session::{Joined, open};
use crate::backoff::{Backoff, jittered};
use crate::protocol::{Cid, Key};

/// How a session comes back after its connection was lost.
///
/// Waits grow exponentially with full jitter. The join is repeated with the same connection id and
/// an empty message, for as long as it takes; a join refused then is tried again too, because a
/// server may hold the old connection's id until it has noticed its end.
///
/// Frames of the replayed history that were delivered before are not delivered again. As v1 frames
/// have no numbers this compares bytes, in order, with the last frames that were delivered. Its
/// limits: a server that keeps a longer history than [`remember`](Self::remember) says repeats what
/// is older than that; and after a server came back with a shorter history than that, identical
/// messages sent within half a second after the join may be taken for repeated ones.
#[derive(Clone, Debug)]
pub struct Reconnect {
    initial: Duration,
    cap: Duration,
    remember: usize,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            remember: 100,
        }
    }
}

impl Reconnect {
    /// Ceiling of the first wait; 200 ms by default.
    #[must_use]
    pub fn initial(mut self, wait: Duration) -> Self {
        self.initial = wait;
        self
    }

    /// Ceiling of all waits; 30 s by default.
    #[must_use]
    pub fn cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// How many delivered frames are remembered, 8 bytes each: best as many as the server's history
    /// holds; 100, the usual limit of servers, by default.
    #[must_use]
    pub fn remember(mut self, frames: usize) -> Self {
        self.remember = frames;
        self
    }
}

/// What the publisher is told about the connection.
#[derive(Debug)]
pub(super) enum Uplink {
    /// There is none.
    Down,
    /// There is one; its sending half is here until it is taken.
    Up(Mutex<Option<(WriteHalf, Key)>>),
}

impl Uplink {
    pub(super) fn up(writer: WriteHalf, key: Key) -> Self {
        Self::Up(Mutex::new(Some((writer, key))))
    }

    /// Takes the new connection's sending half, unless that was done before.
    pub(super) fn take(&self) -> Option<(WriteHalf, Key)> {
        match self {
            Self::Down => None,
            Self::Up(slot) => slot.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// An attempt to come back, its wait included.
pub(super) type Attempt = Pin<Box<dyn Future<Output = Result<Joined, Error>> + Send>>;

/// What a subscriber that reconnects has in addition.
#[derive(Debug)]
pub(super) struct Reconnector {
    target: Arc<Target>,
    backoff: Backoff,
    replay: Replay,
    uplink: watch::Sender<Uplink>,
}

/// What to join.
#[derive(Debug)]
struct Target {
    client: Client,
    names: Names,
    cid: Cid,
}

impl Reconnector {
    /// For a session of `client` that was joined as `identity`; also what its publisher listens to.
    pub(super) fn new(
        client: &Client,
        settings: &Reconnect,
        names: &Names,
        identity: Identity,
    ) -> (Self, watch::Receiver<Uplink>) {
        let (uplink, publisher) = watch::channel(Uplink::Up(Mutex::new(None)));
        let reconnector = Self {
            target: Arc::new(Target {
                client: client.clone(),
                names: names.clone(),
                cid: identity.cid,
            }),
            backoff: Backoff::new(settings.initial, settings.cap),
            replay: Replay::new(settings.remember.max(1)),
            uplink,
        };
        (reconnector, publisher)
    }

    /// The connection was lost, or an attempt failed: how long until the next one, and that one.
    pub(super) fn retry(&mut self) -> (Duration, Attempt) {
        self.uplink.send_replace(Uplink::Down);
        let wait = jittered(self.backoff.next_ceiling());
        let target = Arc::clone(&self.target);
        let attempt = async move {
            tokio::time::sleep(wait).await;
            let cid = CidChoice::Fixed(target.cid);
            open(&target.client, &target.names, cid, b"").await
        };
        (wait, Box::pin(attempt))
    }

    /// An attempt succeeded.
    pub(super) fn joined(&mut self, writer: WriteHalf, key: Key) {
        self.replay.restart(Instant::now());
        // Without a publisher the sending half is dropped here, which finishes the sending side.
        if !self.uplink.is_closed() {
            self.uplink.send_replace(Uplink::up(writer, key));
        }
    }

    /// The server let us in.
    pub(super) const fn admitted(&mut self) {
        self.backoff.reset();
    }

    /// Whether this message is to be delivered.
    pub(super) fn accept(&mut self, message: &Received) -> bool {
        if self.replay.is_matching(Instant::now()) {
            let own =
                message.cid() == Some(self.target.cid) && *message.uid() == *self.target.names.uid;
            // The history holds this session's own messages, and in some servers old announcements.
            if own || message.is_announcement() {
                return false;
            }
        }
        message.is_announcement() || self.replay.accept(message.frame())
    }
}
