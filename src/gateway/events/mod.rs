//! Event streams (`text/event-stream`): the messages and notices of a channel, for clients that only receive.
//!
//! A stream is a session like any other. Once its request is accepted, its connection is taken from the HTTP library,
//! and the shard writes to it what is queued for the session: the same queue, limits, policies and turns as for members
//! over WebSocket, with another encoding. So the response has neither a length nor chunks, and the end of the connection
//! is that of the stream, as HTTP/1.0 has it and every proxy passes on.
//!
//! Invariants:
//!
//! * The head of the response goes out with the first bytes of the queue, so a client whose session gets no seat is told
//!   with a status.
//! * What a client sends behind its request is thrown away. The end of it ends the session.

mod encoding;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use self::encoding::COMMENT;
pub(super) use self::encoding::EVENTS;
use super::api::EventsRequest;
use super::connection::FAREWELL;
use super::response::{encode_head, encode_last};
use crate::shard::Shard;
use crate::shard::ended::Ended;
use crate::shard::layered::Layered;
use crate::shard::limits::Permit;
use crate::shard::session::Session;
use crate::shard::stream::{StreamReader, see_off};
use crate::shard::turn;

/// Longest time between two comments, by which proxies see that the stream lives, and the kernel that the client does.
const MOST_SILENCE: Duration = Duration::from_secs(15);
/// Bytes that are thrown away at once.
const CHUNK: usize = 4 << 10;

/// A connection whose response is a stream of events.
struct EventStream {
    shard: Rc<Shard>,
    layered: Rc<Layered>,
    reader: StreamReader,
    /// Counts the connection, and with it the session.
    permit: Permit,
}

impl Shard {
    /// Serves a connection whose request for an event stream was accepted, until it ends.
    pub(super) fn serve_events(
        self: &Rc<Self>,
        layered: Rc<Layered>,
        permit: Permit,
        request: Box<EventsRequest>,
    ) {
        // From now on it is the task that closes the connection.
        layered.over();
        let stream = EventStream {
            shard: self.clone(),
            reader: StreamReader::Layered(layered.clone()),
            layered,
            permit,
        };
        self.task_began();
        self.spawn(Box::new(stream).run(request));
    }
}

impl EventStream {
    /// Serves the stream until it ends. What happens once is boxed: there is one of these futures for every stream, idle
    /// or not.
    async fn run(mut self: Box<Self>, request: Box<EventsRequest>) {
        if let Some(session) = Box::pin(self.join(request)).await {
            let ended = self.wait_for_end().await;
            let is_gone = ended.is_some();
            let ended = ended.unwrap_or(Ended::Stopping);
            // Does nothing if that is over already.
            self.shard.end(&session, ended);
            if is_gone {
                return self.layered.shut_down_write();
            }
        }
        Box::pin(self.see_off()).await;
    }

    /// Gets a seat for the session. A client that gets none is told why.
    async fn join(&self, request: Box<EventsRequest>) -> Option<Rc<Session>> {
        let (new, origin) = request.into_session();
        self.layered.set_framing(&EVENTS);
        self.layered.hold(encode_head(&origin.response()).into());
        let (arrival, _) = new.arrive(&self.shard, &self.layered, None);
        match self.shard.join_in_place(arrival).await {
            Ok(session) => Some(session),
            Err(refusal) => {
                let answer = encode_last(&origin.refuse(refusal), true);
                self.layered.hold(answer.into());
                None
            }
        }
    }

    /// Waits until the stream ends, and sends a comment from time to time. Returns how the client has ended it; `None` if
    /// another part of the shard has ended the session.
    async fn wait_for_end(&mut self) -> Option<Ended> {
        let shard = self.shard.clone();
        let interval = || shard.read_limits().ping_interval.min(MOST_SILENCE);
        let layered = self.layered.clone();
        let mut next = Instant::now() + interval();
        loop {
            tokio::select! {
                () = layered.over().notified() => return None,
                end = poll_fn(|cx| self.poll_end(cx)) => return Some(Ended::ByPeer(end)),
                () = sleep_until(next) => {
                    layered.ping(COMMENT);
                    next += interval();
                }
            }
        }
    }

    /// Throws away what the client sends, until its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if turn::is_expensive() {
                self.shard.yield_once(cx);
                return Poll::Pending;
            }
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            if let Err(error) = ready!(Pin::new(&mut self.reader).poll_read(cx, &mut read)) {
                return Poll::Ready(error);
            }
            if read.filled().is_empty() {
                return Poll::Ready(io::ErrorKind::UnexpectedEof.into());
            }
            turn::spend(turn::SYSTEM_CALL);
            turn::spend_bytes(read.filled().len());
        }
    }

    /// Lets the socket take what was said last, and closes the connection.
    async fn see_off(&mut self) {
        let farewell = async {
            // A client that does not take it now never will.
            let _ = timeout(FAREWELL, self.layered.flushed()).await;
            self.layered.shut_down_write();
            see_off(&mut self.reader).await;
        };
        self.permit.unless_let_go(farewell).await;
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shard.task_ended();
    }
}
