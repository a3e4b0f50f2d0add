//! Reconnects a session after its connection was lost, or before it ever had one.
//!
//! The halves of a session share a [`Reconnector`]. The half that notices a loss reports it, and the
//! half that is polled drives the waits and attempts: neither waits for the other to be polled. Each
//! takes its half of a new connection when it is polled next.
//!
//! Invariants: there is one attempt at a time; whatever an attempt waits for wakes both halves, so that
//! a half that is no longer polled does not hold up the other; the number of events that wait for the
//! receiving half is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::admission::REFUSAL;
use super::error::Error;
use super::identity::{CidChoice, Names, SessionIdentity};
use super::join::{JoinedConnection, JoinedReader, JoinedWriter, join};
use super::options::SessionOptions;
use super::reconnect::Reconnect;
use crate::backoff::{Backoff, jittered};
use crate::protocol::Cid;

/// Most losses that wait for the receiving half; the oldest are left out.
const MAX_LOSSES: usize = 16;

/// A half of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sending,
    Receiving,
}

/// An event for the receiving half.
pub(super) enum ReconnectEvent {
    /// The connection was lost, or an attempt failed; the next one is made in `retry_in`.
    Disconnected { error: Error, retry_in: Duration },
    /// There is a connection again.
    Reconnected {
        reader: JoinedReader,
        cid: Cid,
        version: u64,
    },
}

/// A wait, and then an attempt to join.
type JoinAttempt = Pin<Box<dyn Future<Output = Result<JoinedConnection, Error>> + Send>>;

/// Brings connections back, for both halves of a session.
struct Reconnector {
    /// The number of times that the session was connected or lost its connection: even while there is a
    /// connection.
    version: AtomicU64,
    state: Mutex<ReconnectorState>,
    wakers: Arc<Wakers>,
}

struct ReconnectorState {
    /// Its connection id is that of the first connection, once it is known.
    options: SessionOptions,
    names: Names,
    /// The message of the first join, until it was sent.
    first: Vec<u8>,
    backoff: Backoff,
    joined_at: Instant,
    /// Set while there is no connection.
    attempt: Option<JoinAttempt>,
    /// Not yet taken by the receiving half.
    events: VecDeque<ReconnectEvent>,
    /// Not yet taken by the sending half.
    writer: Option<JoinedWriter>,
    has_sender: bool,
    has_receiver: bool,
}

/// The tasks of both halves, which are woken when an attempt gets on.
#[derive(Debug)]
struct Wakers {
    sending: Mutex<Waker>,
    receiving: Mutex<Waker>,
}

/// A half's share in the reconnector. Once the receiving half is dropped the session does not reconnect:
/// nobody would read what a server sends.
pub(super) struct ReconnectHandle {
    reconnector: Arc<Reconnector>,
    side: Side,
}

/// The parts of a new session that reconnects.
pub(super) struct ReconnectingSession {
    pub(super) sending: ReconnectHandle,
    pub(super) receiving: ReconnectHandle,
    pub(super) identity: SessionIdentity,
    /// The first connection, if there is one yet.
    pub(super) connection: Option<JoinedConnection>,
}

/// Starts a session with the result of its first attempt to join.
pub(super) fn start(
    options: &SessionOptions,
    reconnect: &Reconnect,
    names: &Names,
    first: &[u8],
    attempt: Result<JoinedConnection, Error>,
) -> ReconnectingSession {
    let mut state = ReconnectorState {
        options: options.clone(),
        names: names.clone(),
        first: Vec::new(),
        backoff: Backoff::new(reconnect.initial, reconnect.cap),
        joined_at: Instant::now(),
        attempt: None,
        events: VecDeque::new(),
        writer: None,
        has_sender: true,
        has_receiver: true,
    };
    let (identity, connection, version) = match attempt {
        Ok(connection) => {
            let identity = connection.writer.identity;
            state.options.cid = CidChoice::Fixed(identity.cid);
            (identity, Some(connection), 0)
        }
        Err(error) => {
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let identity = SessionIdentity::new(&options.keyring, options.cid, names, nowhere);
            if matches!(options.cid, CidChoice::Random) {
                state.options.cid = CidChoice::Fixed(identity.cid);
            }
            state.first = first.to_vec();
            state.retry(error);
            (identity, None, 1)
        }
    };
    let reconnector = Arc::new(Reconnector {
        version: AtomicU64::new(version),
        state: Mutex::new(state),
        wakers: Arc::new(Wakers {
            sending: Mutex::new(Waker::noop().clone()),
            receiving: Mutex::new(Waker::noop().clone()),
        }),
    });
    let handle = |side| ReconnectHandle {
        reconnector: reconnector.clone(),
        side,
    };
    ReconnectingSession {
        sending: handle(Side::Sending),
        receiving: handle(Side::Receiving),
        identity,
        connection,
    }
}

impl ReconnectHandle {
    /// Returns the version of the present connection, an odd one while there is none.
    pub(super) fn version(&self) -> u64 {
        self.reconnector.version.load(Ordering::Acquire)
    }

    /// Returns `true` if the connection of `version` is the present one; if so, the task is woken when
    /// that changes.
    pub(super) fn is_current(&self, version: u64, cx: &Context<'_>) -> bool {
        self.register(cx);
        self.version() == version
    }

    /// Reports that the connection of `version` has ended. Does nothing if that is known.
    ///
    /// # Errors
    ///
    /// Returns the reason of the end if the session does not reconnect.
    pub(super) fn lost(&self, version: u64, error: Error) -> Result<(), Error> {
        let mut state = self.lock();
        if !state.has_receiver {
            return Err(error);
        }
        if self.version() == version {
            if state.joined_at.elapsed() >= REFUSAL {
                state.backoff.reset();
            }
            state.retry(error);
            self.reconnector.changed();
        }
        Ok(())
    }

    /// Notes that the server let us in: the next wait is a short one.
    pub(super) fn admitted(&self) {
        self.lock().backoff.reset();
    }

    /// Polls for the next event; drives attempts while there is no connection.
    pub(super) fn poll_event(&self, cx: &Context<'_>) -> Poll<ReconnectEvent> {
        self.register(cx);
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Poll::Ready(event);
            }
            if !self.reconnector.drive(&mut state) {
                return Poll::Pending;
            }
        }
    }

    /// Polls for the sending half of a connection that was not taken before, and its version; drives
    /// attempts while there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the session does not reconnect.
    pub(super) fn poll_writer(&self, cx: &Context<'_>) -> Poll<Result<(JoinedWriter, u64), Error>> {
        self.register(cx);
        let mut state = self.lock();
        loop {
            if let Some(writer) = state.writer.take() {
                return Poll::Ready(Ok((writer, self.version())));
            }
            if !state.has_receiver || state.attempt.is_none() {
                return Poll::Ready(Err(Error::Closed));
            }
            if !self.reconnector.drive(&mut state) {
                return Poll::Pending;
            }
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let wakers = &self.reconnector.wakers;
        let slot = match self.side {
            Side::Sending => &wakers.sending,
            Side::Receiving => &wakers.receiving,
        };
        lock(slot).clone_from(cx.waker());
    }

    fn lock(&self) -> MutexGuard<'_, ReconnectorState> {
        lock(&self.reconnector.state)
    }
}

impl Drop for ReconnectHandle {
    fn drop(&mut self) {
        let mut state = self.lock();
        match self.side {
            // Dropping the sending half of a connection finishes it.
            Side::Sending => (state.has_sender, state.writer) = (false, None),
            Side::Receiving => {
                state.has_receiver = false;
                state.attempt = None;
                state.events.clear();
                self.reconnector.wakers.wake_by_ref();
            }
        }
    }
}

impl Reconnector {
    /// Polls the attempt, if there is one. Returns `true` if it got on.
    fn drive(&self, state: &mut ReconnectorState) -> bool {
        let Some(attempt) = &mut state.attempt else {
            return false;
        };
        let waker = Waker::from(self.wakers.clone());
        match attempt.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => state.retry(error),
            Poll::Ready(Ok(joined)) => {
                self.changed();
                state.joined(joined, self.version.load(Ordering::Relaxed));
            }
        }
        true
    }

    /// Counts that a connection was made or lost. The caller holds the lock.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.wakers.wake_by_ref();
    }
}

impl ReconnectorState {
    /// Begins another attempt after a connection was lost or an attempt failed.
    fn retry(&mut self, error: Error) {
        let retry_in = jittered(self.backoff.next_ceiling());
        // Nobody reads from a connection that has ended before its receiving side was taken.
        self.events
            .retain(|event| matches!(event, ReconnectEvent::Disconnected { .. }));
        if self.events.len() == MAX_LOSSES {
            self.events.pop_front();
        }
        self.events
            .push_back(ReconnectEvent::Disconnected { error, retry_in });
        self.writer = None;
        let (options, names) = (self.options.clone(), self.names.clone());
        let first = self.first.clone();
        self.attempt = Some(Box::pin(async move {
            tokio::time::sleep(retry_in).await;
            join(&options, &names, &first).await
        }));
    }

    /// Hands the halves of a new connection out.
    fn joined(&mut self, connection: JoinedConnection, version: u64) {
        let JoinedConnection { reader, writer } = connection;
        let cid = writer.identity.cid;
        self.attempt = None;
        self.joined_at = Instant::now();
        self.options.cid = CidChoice::Fixed(cid);
        self.first = Vec::new();
        // Without a sender that half is dropped here, which finishes the sending side.
        self.writer = self.has_sender.then_some(writer);
        self.events.push_back(ReconnectEvent::Reconnected {
            reader,
            cid,
            version,
        });
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for slot in [&self.sending, &self.receiving] {
            let waker = lock(slot).clone();
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ReconnectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectHandle")
            .field("side", &self.side)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
