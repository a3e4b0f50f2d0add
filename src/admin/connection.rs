//! One connection of the admin listener: its phases, and the time that each may take.
//!
//! | phase | ends after |
//! | --- | --- |
//! | waiting for the next request | [`IDLE`] |
//! | reading a request | [`READ`] |
//! | serving it | [`SERVE`] |
//! | sending the response | [`SEND`] without progress |

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::io::AdminIo;
use super::route::answer;
use super::server::AdminState;

/// Time that a connection may wait for its next request. Scrapers ask every minute at least.
const IDLE: Duration = Duration::from_secs(90);
/// Time that the head of a request may take.
const READ: Duration = Duration::from_secs(10);
/// Time that a request may be served for. Whoever is asked for it has deadlines of its own, which are shorter.
const SERVE: Duration = Duration::from_secs(60);
/// Time for which a client may take nothing of its response.
const SEND: Duration = Duration::from_secs(10);
/// Time between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Most bytes of a head, and of what is buffered of a response.
const MAX_BUFFER: usize = 16 << 10;

/// Phase of a connection, which decides what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for a request.
    Waiting,
    /// A request has begun to come.
    Reading,
    /// A request is served.
    Serving,
    /// The response goes out.
    Sending,
}

/// A connection, as its task, its socket and the list of connections share it.
#[derive(Debug)]
pub(super) struct Shared {
    phase: Cell<Phase>,
    /// When the phase ends at the latest.
    due: Cell<Instant>,
    /// Set while the socket takes no more of a response.
    is_blocked: Cell<bool>,
    /// Told when the connection has to make room.
    let_go: Notify,
}

impl Shared {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Reading),
            due: Cell::new(Instant::now() + READ),
            is_blocked: Cell::new(false),
            let_go: Notify::new(),
        })
    }

    fn enter(&self, phase: Phase) {
        let limit = match phase {
            Phase::Waiting => IDLE,
            Phase::Reading => READ,
            Phase::Serving => SERVE,
            Phase::Sending => SEND,
        };
        self.phase.set(phase);
        self.due.set(Instant::now() + limit);
    }

    /// Returns `true` if the connection may go to make room: no request of it is being served.
    pub(super) fn may_go(&self) -> bool {
        self.phase.get() != Phase::Serving
    }

    /// Has the connection end.
    pub(super) fn let_go(&self) {
        self.let_go.notify_one();
    }

    /// Records that hyper wants to read: behind a response that has gone out, the next request.
    pub(super) fn wants_input(&self) {
        if self.phase.get() == Phase::Sending && !self.is_blocked.get() {
            self.enter(Phase::Waiting);
        }
    }

    /// Records that something has come.
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Waiting {
            self.enter(Phase::Reading);
        }
    }

    /// Records whether the socket takes more of a response.
    pub(super) fn sent(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
        if !is_blocked && self.phase.get() == Phase::Sending {
            self.enter(Phase::Sending);
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, shared: Rc<Shared>, state: Rc<AdminState>) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, state) = (shared.clone(), state.clone());
        async move {
            shared.enter(Phase::Serving);
            let (parts, _body) = request.into_parts();
            let response = answer(&state, &parts).await;
            shared.enter(Phase::Sending);
            Ok::<_, Infallible>(response.map(Full::<Bytes>::new))
        }
    });
    let io = AdminIo::new(stream, shared.clone());
    let http = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);
    let mut http = pin!(http);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // How it ends is the client's affair.
            _ = http.as_mut() => return,
            () = shared.let_go.notified() => return,
            now = ticks.tick() => if now >= shared.due.get() {
                return;
            },
        }
    }
}
