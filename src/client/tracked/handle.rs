//! The share that each half of a session has in its core.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::core::Core;
use super::outgoing::Outgoing;
use super::tracker::Tracker;
use crate::client::error::Error;
use crate::client::identity::{CidChoice, Names, SessionIdentity};
use crate::client::join::join;
use crate::client::options::SessionOptions;
use crate::client::replay::ReplayMatcher;

/// A half of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sending,
    Receiving,
}

/// What both halves of a session share.
struct Shared {
    core: Mutex<Core>,
    wakers: Arc<Wakers>,
}

/// The tasks that wait in a call of a half, if any.
#[derive(Debug, Default)]
struct Wakers {
    sending: Mutex<Option<Waker>>,
    receiving: Mutex<Option<Waker>>,
}

/// A half's share in the core. Once the receiving half is dropped the session does not reconnect: nobody would read
/// what a server sends.
pub(in crate::client) struct TrackedHandle {
    shared: Arc<Shared>,
    side: Side,
}

/// Joins, and returns the shares of the sending and of the receiving half. A session that reconnects begins even if
/// there is no connection yet.
///
/// # Errors
///
/// As for [`Client::join`](crate::client::Client::join).
pub(in crate::client) async fn open(
    options: &SessionOptions,
    names: &Names,
    first: &[u8],
) -> Result<(TrackedHandle, TrackedHandle), Error> {
    let mut options = options.clone();
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let identity = SessionIdentity::new(&options.keyring, options.cid, names, nowhere);
    if matches!(options.cid, CidChoice::Random) {
        options.cid = CidChoice::Fixed(identity.cid);
    }
    let reconnect = options.reconnect.as_ref();
    let publisher = reconnect.map(|_| rand::random());
    let matcher = reconnect.map(|reconnect| ReplayMatcher::new(reconnect.remembered()));
    let mut outgoing = Outgoing::new(names.clone(), identity, publisher.is_some());
    if !first.is_empty() {
        outgoing.push(first)?;
    }
    let tracker = Tracker::new(
        names.uid.clone(),
        options.since,
        publisher,
        matcher,
        outgoing,
    )
    .with_members(options.members);
    let attempt = join(&options, names, first, Some(&tracker.request())).await;
    let mut core = Core::new(&options, names.clone(), first, tracker);
    match attempt {
        Ok(connection) => core.joined(connection),
        Err(error) if options.reconnect.is_none() || error.is_final() => return Err(error),
        Err(error) => core.retry(error),
    }
    let shared = Arc::new(Shared {
        core: Mutex::new(core),
        wakers: Arc::default(),
    });
    let handle = |side| TrackedHandle {
        shared: shared.clone(),
        side,
    };
    Ok((handle(Side::Sending), handle(Side::Receiving)))
}

impl TrackedHandle {
    /// Drives the core until `ready` returns something.
    pub(in crate::client) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut ready: impl FnMut(&mut Core) -> Option<T>,
    ) -> Poll<T> {
        let wakers = &self.shared.wakers;
        *lock(wakers.of(self.side)) = Some(cx.waker().clone());
        let waker = Waker::from(wakers.clone());
        let mut both = Context::from_waker(&waker);
        let mut core = self.core();
        let mut has_advanced = false;
        let result = loop {
            if let Some(result) = ready(&mut core) {
                break Poll::Ready(result);
            }
            if !core.advance(&mut both) {
                break Poll::Pending;
            }
            has_advanced = true;
        };
        drop(core);
        if result.is_ready() {
            *lock(wakers.of(self.side)) = None;
        }
        if has_advanced {
            wakers.wake_side(self.side.other());
        }
        result
    }

    /// Looks at the core, or changes it, without driving it.
    pub(in crate::client) fn with<T>(&self, look: impl FnOnce(&mut Core) -> T) -> T {
        look(&mut self.core())
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.shared.core)
    }
}

impl Drop for TrackedHandle {
    fn drop(&mut self) {
        self.with(|core| match self.side {
            Side::Sending => core.sender_dropped(),
            Side::Receiving => core.receiver_dropped(),
        });
        self.shared.wakers.wake_side(self.side.other());
    }
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Sending => Self::Receiving,
            Self::Receiving => Self::Sending,
        }
    }
}

impl Wakers {
    const fn of(&self, side: Side) -> &Mutex<Option<Waker>> {
        match side {
            Side::Sending => &self.sending,
            Side::Receiving => &self.receiving,
        }
    }

    fn wake_side(&self, side: Side) {
        let waker = lock(self.of(side)).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for side in [Side::Sending, Side::Receiving] {
            self.wake_side(side);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for TrackedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedHandle")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}
