//! The task of a connection on which HTTP is spoken: one request after the other, until one of them is an upgrade
//! to WebSocket, or the connection ends.
//!
//! What is read and written passes through hyper, which knows no deadlines of ours: they are kept here, by the
//! phase that the connection is in.
//!
//! | phase | ends after |
//! | --- | --- |
//! | waiting for the next request | `ping_timeout` |
//! | reading the head of a request | `join_deadline` |
//! | serving it | whoever serves it has deadlines of its own |
//! | sending the response | `frame_deadline` without progress |
//!
//! Invariants:
//!
//! * A connection that waits makes room at a limit as any other that has not joined, and one that reads as well.
//!   One whose request has proved that it may have what it asks for does not.
//! * A head is charged to the memory of those that have not joined. Besides that a connection has hyper's buffers:
//!   8 KiB to write from, and up to [`MAX_HEAD`] to read into.
//! * At a stop a request that has begun is answered, and nothing is read behind it.

mod head_memory;
mod io;
mod routes;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::time::{Instant, sleep_until};

use self::head_memory::HeadMemory;
use self::io::HttpIo;
use super::api::EventsRequest;
use super::connection::UpgradedConnection;
use super::first::tell_late;
use super::upgrade::UpgradeTerms;
use crate::shard::allowance::Overdrawn;
use crate::shard::layered::Layered;
use crate::shard::limits::{LimitReached, Stage};
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::{StreamReader, see_off};
use crate::shard::{BrokerPhase, Shard};
use crate::websocket::MAX_HEAD;

type Request = hyper::Request<Incoming>;
type Response = hyper::Response<Full<Bytes>>;
type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>>>>;

/// Phase of a connection, which decides what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for a request.
    Waiting,
    /// The head of a request has begun to come.
    Reading,
    /// A request is served, its body may still come.
    Serving,
    /// The response goes out.
    Answering,
}

/// Reason for which a connection ends.
enum End {
    /// Its last response has gone out, or it is gone.
    Over(hyper::Result<()>),
    /// It goes on as something else than HTTP.
    Taken,
    /// It has to make room.
    LetGo(LimitReached),
    /// The memory for its head was needed for others.
    Overdrawn,
    /// Its deadline has passed.
    Overdue,
}

/// The use of a connection after its last request.
enum NextUse {
    /// It is upgraded, and the response says so.
    WebSocket(UpgradeTerms),
    /// It is the response: a stream of events.
    Events(Box<EventsRequest>),
}

/// A connection on which HTTP is spoken: what its task, its socket and its requests share.
struct HttpConnection {
    shard: Rc<Shard>,
    layered: Rc<Layered>,
    pending: PendingJoin,
    phase: Cell<Phase>,
    /// When the phase ends at the latest, if it has an end.
    due: Cell<Option<Instant>>,
    /// Set when something has changed that the task waits for.
    has_changed: Cell<bool>,
    /// Set while the socket takes no more of a response.
    is_blocked: Cell<bool>,
    /// Set once everything that the library has written is in the socket.
    is_flushed: Cell<bool>,
    /// Requests that were begun since the task had its last turn.
    in_a_row: Cell<u32>,
    head: HeadMemory,
    /// Set when there was no memory for the head.
    is_overdrawn: Cell<bool>,
    /// Client of the last request.
    client: Cell<SocketAddr>,
    /// Set by the request that is the last one here.
    next_use: RefCell<Option<NextUse>>,
}

/// Serves a connection whose first request has begun with `early` and is no upgrade.
pub(super) async fn serve(
    shard: &Rc<Shard>,
    layered: Rc<Layered>,
    pending: PendingJoin,
    early: Bytes,
) {
    let connection = Rc::new(HttpConnection::new(shard, &layered, pending));
    let service = {
        let connection = connection.clone();
        service_fn(move |request| -> Answer { Box::pin(connection.clone().answer(request)) })
    };
    let io = HttpIo::new(connection.clone(), early);
    let mut http = http1::Builder::new()
        .half_close(true)
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);
    let task = ServingTask::new(shard.clone());
    let end = connection
        .drive(|cx, is_stopping| {
            if is_stopping {
                Pin::new(&mut http).graceful_shutdown();
            }
            Pin::new(&mut http).poll(cx)
        })
        .await;
    let behind = http.into_parts().read_buf;
    drop(task);
    if let Some(next_use) = connection.next_use.take() {
        return connection.pass_on(next_use, behind);
    }
    connection.note(end).await;
    layered.shut_down_write();
    let mut reader = StreamReader::Layered(layered);
    let permit = &connection.pending.permit;
    permit.unless_let_go(see_off(&mut reader)).await;
}

impl HttpConnection {
    fn new(shard: &Rc<Shard>, layered: &Rc<Layered>, pending: PendingJoin) -> Self {
        Self {
            shard: shard.clone(),
            layered: layered.clone(),
            phase: Cell::new(Phase::Reading),
            due: Cell::new(Some(pending.deadline)),
            client: Cell::new(pending.peer),
            pending,
            has_changed: Cell::new(false),
            is_blocked: Cell::new(false),
            is_flushed: Cell::new(true),
            in_a_row: Cell::new(0),
            head: HeadMemory::new(shard.clone()),
            is_overdrawn: Cell::new(false),
            next_use: RefCell::default(),
        }
    }

    /// Drives the connection to its end. `poll` goes on with it, and is told when the server stops. It is called once each
    /// time that the task is woken: a client with many requests under way lets others have their turn in between.
    async fn drive(
        &self,
        mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<hyper::Result<()>>,
    ) -> End {
        let mut phase = self.shard.common.phase.subscribe();
        let mut is_stopping = false;
        let mut was_polled = false;
        loop {
            let due = self.due.get();
            let overdue = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let advanced = poll_fn(|cx| {
                // What it has changed was taken in since, and it will wake the task when it can go on.
                if std::mem::take(&mut was_polled) {
                    return Poll::Pending;
                }
                self.in_a_row.set(0);
                match poll(cx, is_stopping) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending if self.has_changed.take() => {
                        was_polled = true;
                        Poll::Ready(None)
                    }
                    Poll::Pending => Poll::Pending,
                }
            });
            tokio::select! {
                biased;
                why = self.pending.permit.let_go() => return End::LetGo(why),
                advanced = advanced => match advanced {
                    Some(_) if self.is_overdrawn.get() => return End::Overdrawn,
                    Some(result) => return End::Over(result),
                    None if self.is_taken() => return End::Taken,
                    None => {}
                },
                () = self.head.evicted() => return End::Overdrawn,
                _ = phase.wait_for(|&phase| phase >= BrokerPhase::Draining), if !is_stopping => {
                    is_stopping = true;
                }
                // It may have been put off since.
                () = overdue => if self.is_overdue() {
                    return End::Overdue;
                },
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.due.get().is_some_and(|due| due <= Instant::now())
    }

    fn enter(&self, phase: Phase) {
        let settings = self.shard.common.settings();
        let limit = match phase {
            Phase::Waiting => Some(settings.websocket.ping_timeout),
            Phase::Reading => Some(settings.limits.join_deadline),
            Phase::Serving => None,
            Phase::Answering => Some(settings.limits.frame_deadline),
        };
        self.phase.set(phase);
        self.due.set(limit.map(|limit| Instant::now() + limit));
        self.has_changed.set(true);
    }

    /// Records that hyper wants to read. Behind a response that has gone out that is the next request.
    fn wants_input(&self) {
        if self.phase.get() == Phase::Answering && !self.is_blocked.get() {
            self.enter(Phase::Waiting);
            let permit = &self.pending.permit;
            if permit.ticket().is_none() {
                permit.enter_stage(Stage::Joining);
            }
        }
    }

    /// Records that so many bytes have come.
    ///
    /// # Errors
    ///
    /// There is no memory for the head that they belong to.
    fn received(&self, bytes: usize) -> std::io::Result<()> {
        match self.phase.get() {
            Phase::Waiting => self.enter(Phase::Reading),
            Phase::Reading => {}
            Phase::Serving | Phase::Answering => return Ok(()),
        }
        self.has_changed.set(true);
        self.head.grow(bytes).map_err(|Overdrawn| {
            self.is_overdrawn.set(true);
            std::io::ErrorKind::OutOfMemory.into()
        })
    }

    /// Records that the head of a request is whole.
    fn begin_request(&self) {
        self.head.release();
        self.enter(Phase::Serving);
    }

    /// Records that there is a response. Before the client can know: a proxy may send its next request on another
    /// connection.
    fn end_request(&self) {
        let is_of_proxy = self.pending.may_serve_others(&self.shard.common.settings());
        if is_of_proxy && self.next_use.borrow().is_none() {
            self.pending.permit.unassign();
        }
        self.enter(Phase::Answering);
    }

    /// Records whether the socket takes more of a response.
    fn sent(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
        if !is_blocked && self.phase.get() == Phase::Answering {
            let limit = self.shard.read_limits().frame_deadline;
            self.due.set(Some(Instant::now() + limit));
        }
    }

    /// Records that the library had something to write.
    fn writes(&self) {
        self.is_flushed.set(false);
    }

    /// Records that everything that the library has written is in the socket.
    fn flushed(&self) {
        self.is_flushed.set(true);
        if self.is_taken() {
            self.has_changed.set(true);
        }
    }

    /// Returns `true` once the library has no more to do with the connection: a stream of events is to follow, and the
    /// responses before it have gone out.
    fn is_taken(&self) -> bool {
        self.is_flushed.get() && matches!(*self.next_use.borrow(), Some(NextUse::Events(_)))
    }

    /// Passes the connection on: `behind` has come behind the request.
    fn pass_on(self: Rc<Self>, next_use: NextUse, behind: Bytes) {
        let shard = self.shard.clone();
        // What else has it belongs to the library, which is done.
        let Some(connection) = Rc::into_inner(self) else {
            return;
        };
        match next_use {
            NextUse::WebSocket(terms) => connection.upgrade(&shard, terms, behind),
            NextUse::Events(request) => {
                let permit = connection.pending.permit;
                shard.serve_events(connection.layered, permit, request);
            }
        }
    }

    fn upgrade(self, shard: &Rc<Shard>, terms: UpgradeTerms, behind: Bytes) {
        let deadline = Instant::now() + shard.common.settings().limits.join_deadline;
        let connection = self;
        shard.serve_websocket(UpgradedConnection {
            layered: connection.layered,
            peer: connection.client.get(),
            terms,
            early: behind,
            deadline,
            permit: connection.pending.permit,
        });
    }

    /// Counts and logs the end, and tells the client what it can still be told.
    async fn note(&self, end: End) {
        let peer = self.client.get();
        let refusal = match end {
            End::Over(Ok(())) | End::Taken => return,
            // The client has been told by the library.
            End::Over(Err(error)) if error.is_parse() => {
                Refusal::Fault(format!("not an HTTP request: {error}"))
            }
            End::Over(Err(error)) => {
                return tracing::debug!(%peer, %error, "HTTP connection ended");
            }
            End::LetGo(full) => Refusal::LetGo(full),
            End::Overdrawn => {
                self.shard.stats().partials_evicted.add(1);
                tell_late(&self.layered, Refusal::Overdrawn).await;
                Refusal::Overdrawn
            }
            End::Overdue => match self.phase.get() {
                Phase::Waiting => return,
                Phase::Reading => {
                    let awaited = "whole request";
                    tell_late(&self.layered, Refusal::TooSlow { awaited }).await;
                    Refusal::TooSlow { awaited }
                }
                Phase::Serving | Phase::Answering => {
                    return tracing::debug!(%peer, "HTTP client was too slow to take its answer");
                }
            },
        };
        self.shard.note_refusal(peer, Attempt::Request, &refusal);
    }
}

/// Keeps a stop waiting until the requests that have begun are answered.
struct ServingTask(Rc<Shard>);

impl ServingTask {
    fn new(shard: Rc<Shard>) -> Self {
        shard.task_began();
        Self(shard)
    }
}

impl Drop for ServingTask {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}
