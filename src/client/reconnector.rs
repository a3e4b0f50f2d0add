//! Coming back after a connection was lost, or before there ever was one.
//!
//! The halves of a session share a [`Reconnector`]. Whichever of them notices a loss tells it, and
//! whichever is polled drives the waits and attempts: neither waits for the other to be polled. Each
//! takes its half of a new connection when it is polled next.
//!
//! Invariants: attempts are made one at a time; both halves are woken by whatever an attempt waits
//! for, so that one that is no longer polled holds the other up by nothing; what the receiving half
//! has still to be told is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::admission::REFUSAL;
use super::config::Client;
use super::error::Error;
use super::halves::WriteHalf;
use super::identity::{CidChoice, Identity, Names};
use super::reconnect::Reconnect;
use super::session::{Joined, open};
use super::subscriber::Downlink;
use crate::backoff::{Backoff, jittered};
use crate::protocol::Cid;

/// Most losses that the receiving half is told of when it has not been polled for long: the newest.
const MAX_LOSSES: usize = 16;

/// A half of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sending,
    Receiving,
}

/// What the receiving half has still to be told.
pub(super) enum News {
    /// The connection was lost, or an attempt failed; when the next one is made.
    Lost { error: Error, retry_in: Duration },
    /// There is a connection again, of this version.
    Back {
        downlink: Downlink,
        cid: Cid,
        version: u64,
    },
}

/// The sending side of a new connection.
pub(super) struct Uplink {
    pub(super) writer: WriteHalf,
    pub(super) identity: Identity,
}

/// An attempt to come back, its wait included.
type Attempt = Pin<Box<dyn Future<Output = Result<Joined, Error>> + Send>>;

/// Brings connections back; shared by the halves of a session.
struct Reconnector {
    /// Counts the changes between connected (even) and not (odd).
    version: AtomicU64,
    inner: Mutex<Inner>,
    wakers: Arc<Wakers>,
}

struct Inner {
    client: Client,
    names: Names,
    cid: CidChoice,
    /// The message of the first join, until that has been sent.
    first: Vec<u8>,
    backoff: Backoff,
    joined_at: Instant,
    /// While there is no connection.
    attempt: Option<Attempt>,
    news: VecDeque<News>,
    /// Until the sending half takes it.
    uplink: Option<Uplink>,
    has_sender: bool,
    has_receiver: bool,
}

/// Who is to be polled when an attempt gets on: the tasks of both halves.
#[derive(Debug)]
struct Wakers {
    sending: Mutex<Waker>,
    receiving: Mutex<Waker>,
}

/// What a half of a session has of its reconnector. Without the receiving half nothing comes back:
/// nobody would read what a server sends.
pub(super) struct Handle {
    reconnector: Arc<Reconnector>,
    side: Side,
}

/// A session that reconnects, as it begins.
pub(super) struct Beginning {
    pub(super) sending: Handle,
    pub(super) receiving: Handle,
    pub(super) identity: Identity,
    /// The first connection, if there is one yet.
    pub(super) connection: Option<(Downlink, WriteHalf)>,
}

/// Begins a session of `client` with what came of its first attempt to join.
pub(super) fn begin(
    client: &Client,
    settings: &Reconnect,
    names: &Names,
    first: &[u8],
    attempt: Result<Joined, Error>,
) -> Beginning {
    let mut inner = Inner {
        client: client.clone(),
        names: names.clone(),
        cid: client.cid,
        first: Vec::new(),
        backoff: Backoff::new(settings.initial, settings.cap),
        joined_at: Instant::now(),
        attempt: None,
        news: VecDeque::new(),
        uplink: None,
        has_sender: true,
        has_receiver: true,
    };
    let (identity, connection, version) = match attempt {
        Ok(joined) => {
            inner.cid = CidChoice::Fixed(joined.identity.cid);
            (joined.identity, Some((joined.downlink, joined.writer)), 0)
        }
        Err(error) => {
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let identity = Identity::new(&client.keyring, client.cid, names, nowhere);
            if matches!(client.cid, CidChoice::Random) {
                inner.cid = CidChoice::Fixed(identity.cid);
            }
            inner.first = first.to_vec();
            inner.retry(error);
            (identity, None, 1)
        }
    };
    let reconnector = Arc::new(Reconnector {
        version: AtomicU64::new(version),
        inner: Mutex::new(inner),
        wakers: Arc::new(Wakers {
            sending: Mutex::new(Waker::noop().clone()),
            receiving: Mutex::new(Waker::noop().clone()),
        }),
    });
    let handle = |side| Handle {
        reconnector: reconnector.clone(),
        side,
    };
    Beginning {
        sending: handle(Side::Sending),
        receiving: handle(Side::Receiving),
        identity,
        connection,
    }
}

impl Handle {
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

    /// Tells that the connection of `version` has ended; nothing happens if that is known.
    ///
    /// # Errors
    ///
    /// The reason of the end, when nothing is going to come back.
    pub(super) fn lost(&self, version: u64, error: Error) -> Result<(), Error> {
        let mut inner = self.lock();
        if !inner.has_receiver {
            return Err(error);
        }
        if self.version() == version {
            if inner.joined_at.elapsed() >= REFUSAL {
                inner.backoff.reset();
            }
            inner.retry(error);
            self.reconnector.changed();
        }
        Ok(())
    }

    /// The server let us in: the next wait is a short one.
    pub(super) fn admitted(&self) {
        self.lock().backoff.reset();
    }

    /// The next thing to tell; drives attempts while there is no connection.
    pub(super) fn poll_news(&self, cx: &Context<'_>) -> Poll<News> {
        self.register(cx);
        let mut inner = self.lock();
        loop {
            if let Some(news) = inner.news.pop_front() {
                return Poll::Ready(news);
            }
            if !self.reconnector.drive(&mut inner) {
                return Poll::Pending;
            }
        }
    }

    /// The sending side of the present connection, which was not taken before, and its version;
    /// drives attempts while there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when nothing is going to come back.
    pub(super) fn poll_uplink(&self, cx: &Context<'_>) -> Poll<Result<(Uplink, u64), Error>> {
        self.register(cx);
        let mut inner = self.lock();
        loop {
            if let Some(uplink) = inner.uplink.take() {
                return Poll::Ready(Ok((uplink, self.version())));
            }
            if !inner.has_receiver || inner.attempt.is_none() {
                return Poll::Ready(Err(Error::Closed));
            }
            if !self.reconnector.drive(&mut inner) {
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.reconnector.inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inner = self.lock();
        match self.side {
            // Dropping the sending half of a connection finishes it.
            Side::Sending => (inner.has_sender, inner.uplink) = (false, None),
            Side::Receiving => {
                inner.has_receiver = false;
                inner.attempt = None;
                inner.news.clear();
                self.reconnector.wakers.wake_by_ref();
            }
        }
    }
}

impl Reconnector {
    /// Polls the attempt that there is; false when there is nothing to do but wait.
    fn drive(&self, inner: &mut Inner) -> bool {
        let Some(attempt) = &mut inner.attempt else {
            return false;
        };
        let waker = Waker::from(self.wakers.clone());
        match attempt.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => inner.retry(error),
            Poll::Ready(Ok(joined)) => {
                self.changed();
                inner.joined(joined, self.version.load(Ordering::Relaxed));
            }
        }
        true
    }

    /// There is a connection now, or there is none any more. The caller holds the lock.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.wakers.wake_by_ref();
    }
}

impl Inner {
    /// The connection was lost, or an attempt failed: the next one follows after a wait.
    fn retry(&mut self, error: Error) {
        let retry_in = jittered(self.backoff.next_ceiling());
        // Nobody reads from a connection that has ended before its receiving side was taken.
        self.news.retain(|news| matches!(news, News::Lost { .. }));
        if self.news.len() == MAX_LOSSES {
            self.news.pop_front();
        }
        self.news.push_back(News::Lost { error, retry_in });
        self.uplink = None;
        let (client, names, cid) = (self.client.clone(), self.names.clone(), self.cid);
        let first = self.first.clone();
        self.attempt = Some(Box::pin(async move {
            tokio::time::sleep(retry_in).await;
            open(&client, &names, cid, &first).await
        }));
    }

    fn joined(&mut self, joined: Joined, version: u64) {
        self.attempt = None;
        self.joined_at = Instant::now();
        self.cid = CidChoice::Fixed(joined.identity.cid);
        self.first = Vec::new();
        // Without a sender that half is dropped here, which finishes the sending side.
        self.uplink = self.has_sender.then_some(Uplink {
            writer: joined.writer,
            identity: joined.identity,
        });
        self.news.push_back(News::Back {
            downlink: joined.downlink,
            cid: joined.identity.cid,
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

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("side", &self.side)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
