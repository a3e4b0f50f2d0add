//! The task of a WebSocket session: what its client sends becomes frames, and pings and closes are
//! answered. What members get is made by [`Encoding`](crate::channel::Encoding) and written by the flusher.
//!
//! The first message says which protocol is spoken. A binary one is a body of Mles v1, and so are
//! all that follow; the session has a seat for each (uid, channel) pair that it names. Text is the
//! greeting of Mles v2, with one seat, and all that follows is passed on as it is.
//!
//! Invariants:
//!
//! * The connection stays on the shard that accepted it, and with it all of its seats.
//! * Before the first seat the session lives no longer than `join_deadline`, and what it sends is
//!   charged to those who have not joined.
//! * Whatever is wrong with one seat ends the session: the protocols have no way to tell it of one.

mod closing;
mod intake;
mod join;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::framing;
use crate::access::RequestProof;
use crate::protocol::{BodyPrefix, Key, Scan, Stop};
use crate::shard::allowance::evicted;
use crate::shard::frame_deadline::FrameDeadline;
use crate::shard::input::{Input, Next, ReadStep, Scanner};
use crate::shard::layered::Layered;
use crate::shard::limits::{Permit, Ticket, told};
use crate::shard::refusal::Refusal;
use crate::shard::session::Session;
use crate::shard::stream::StreamReader;
use crate::shard::turn;
use crate::shard::{BrokerPhase, Shard};
use crate::websocket::{Assembly, WsFrameError, max_payload, scan};
use closing::Closing;
use intake::IncomingRun;

/// A WebSocket connection whose handshake is over.
#[derive(Debug)]
pub(crate) struct UpgradedConnection {
    /// The connection.
    pub(crate) layered: Rc<Layered>,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// What its request has proved.
    pub(crate) proof: RequestProof,
    /// Bytes that came behind the handshake.
    pub(crate) early: Bytes,
    /// When it must have joined.
    pub(crate) deadline: Instant,
    /// Counts the connection.
    pub(crate) permit: Permit,
}

/// A member for whom the session speaks.
#[derive(Clone, Debug)]
struct WsSession {
    session: Rc<Session>,
    /// What its frames carry.
    key: Key,
    /// What its bodies begin with.
    names: Rc<BodyPrefix>,
}

/// Who the session speaks for.
#[derive(Debug)]
enum WsSessions {
    /// Nobody yet.
    None,
    /// v1: by channel, then by uid.
    Many(HashMap<Box<str>, HashMap<Box<str>, WsSession>>),
    /// v2.
    One(WsSession),
}

impl WsSessions {
    fn iter(&self) -> impl Iterator<Item = &WsSession> {
        let (many, one) = match self {
            Self::None => (None, None),
            Self::Many(many) => (Some(many), None),
            Self::One(one) => (None, Some(one)),
        };
        let many = many.into_iter().flatten();
        many.flat_map(|(_, seats)| seats.values()).chain(one)
    }
}

struct WsConnection {
    shard: Rc<Shard>,
    layered: Rc<Layered>,
    reader: StreamReader,
    peer: SocketAddr,
    proof: RequestProof,
    input: Input,
    assembly: Assembly,
    batch: IncomingRun,
    seats: WsSessions,
    /// Counts the connection, and with it the first seat.
    permit: Permit,
    /// Whether there is a seat, or was one.
    has_joined: bool,
    /// When it must have joined.
    deadline: Instant,
    /// When the client last sent something.
    heard: Instant,
    /// When the next ping is due.
    next_ping: Instant,
    frame_deadline: FrameDeadline,
}

impl Shard {
    /// Serves a WebSocket connection until it ends.
    pub(crate) fn serve_websocket(self: &Rc<Self>, visitor: UpgradedConnection) {
        let now = Instant::now();
        visitor.layered.over();
        let connection = Box::new(WsConnection {
            shard: self.clone(),
            reader: StreamReader::Layered(visitor.layered.clone()),
            layered: visitor.layered,
            peer: visitor.peer,
            proof: visitor.proof,
            input: Input::default(),
            assembly: Assembly::default(),
            batch: IncomingRun::default(),
            seats: WsSessions::None,
            permit: visitor.permit,
            has_joined: false,
            deadline: visitor.deadline,
            heard: now,
            next_ping: now + self.common.settings.websocket.ping_interval,
            frame_deadline: FrameDeadline::default(),
        });
        self.sessions.set(self.sessions.get() + 1);
        self.spawn(connection.run(visitor.early));
    }
}

/// The frames of clients.
struct ClientFrames {
    max_payload: usize,
}

impl Scanner for ClientFrames {
    type Error = WsFrameError;

    fn scan(&self, buf: &[u8]) -> Scan<WsFrameError> {
        scan(buf, self.max_payload)
    }
}

impl WsConnection {
    /// What happens once in a session's life is boxed, here and below: there is one of these futures
    /// for every connection, idle or not.
    async fn run(mut self: Box<Self>, early: Bytes) {
        let taken = if early.is_empty() {
            Ok(())
        } else {
            Box::pin(self.take_early(early)).await
        };
        let end = match taken {
            Ok(()) => self.converse().await,
            Err(end) => end,
        };
        Box::pin(self.end(end)).await;
    }

    /// Largest message of a client, in bytes.
    fn max_message(&self) -> usize {
        let max_body = self.shard.max_body();
        let fitting = match &self.seats {
            WsSessions::One(seat) => max_payload(max_body, &seat.names),
            WsSessions::None | WsSessions::Many(_) => max_body,
        };
        fitting.min(self.shard.common.settings.websocket.max_message)
    }

    fn frames(&self) -> ClientFrames {
        ClientFrames {
            max_payload: self.max_message(),
        }
    }

    fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Takes in what came behind the handshake.
    async fn take_early(&mut self, early: Bytes) -> Result<(), Closing> {
        let found = self.frames().scan(&early);
        self.take(early.slice(..found.run.len), found.run.frames)
            .await?;
        if let Stop::Bad(error) = found.stop {
            return Err(error.into());
        }
        let rest = &early[found.run.len..];
        // What may come has changed with the first message.
        let frames = self.frames();
        if let Stop::Bad(error) = frames.scan(rest).stop {
            return Err(error.into());
        }
        let shard = self.shard.clone();
        let mut scratch = shard.scratch_of(self.has_joined()).borrow_mut();
        let kept = self.input.resume(rest, &mut scratch, &frames);
        kept.map_err(|_| Closing::Overdrawn)
    }

    /// Reads until something ends the session.
    async fn converse(&mut self) -> Closing {
        let outside = Outside {
            layered: self.layered.clone(),
            phase: self.shard.common.phase.subscribe(),
            ticket: self.permit.ticket(),
        };
        loop {
            let has_joined = self.has_joined();
            if self.is_paused() {
                let passed = tokio::select! {
                    passed = Box::pin(self.pass_gates()) => passed,
                    end = outside.end(has_joined) => return end,
                };
                if let Err(end) = passed {
                    return end;
                }
            }
            let due = self.due();
            let step = tokio::select! {
                // What has come is a sign of life, however late it is read.
                biased;
                end = outside.end(has_joined) => return end,
                step = self.read() => step,
                () = sleep_until(due) => match self.beat().and_then(|()| self.check_frame()) {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
            };
            if let Err(end) = self.take_step(step).await {
                return end;
            }
        }
    }

    /// Whether the shard or a channel holds publishers back.
    fn is_paused(&self) -> bool {
        self.shard.congestion.is_on() || self.seats.iter().any(|seat| seat.session.pause.is_on())
    }

    /// Waits while that is so. Cancel safe.
    async fn pass_gates(&mut self) -> Result<(), Closing> {
        let scratch = self.shard.scratch_of(self.has_joined());
        tokio::select! {
            () = self.gates() => {}
            () = evicted(scratch, [self.input.share(), &self.batch.share]) => {
                return Err(Closing::Overdrawn);
            }
        }
        // It may have said something that was not read.
        self.heard = Instant::now();
        self.frame_deadline.reset();
        Ok(())
    }

    async fn gates(&self) {
        self.shard.congestion.over().await;
        let held = self.seats.iter().filter(|seat| seat.session.pause.is_on());
        let Some(limit) = held.map(|seat| seat.session.pause_limit).max() else {
            return;
        };
        let all = async {
            for seat in self.seats.iter() {
                seat.session.pause.over().await;
            }
        };
        // Past the limit it goes on all the same.
        let _ = timeout(limit, all).await;
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self) -> std::io::Result<ReadStep<WsFrameError>> {
        let (frames, has_joined) = (self.frames(), self.has_joined());
        poll_fn(|cx| {
            let scratch = &mut self.shard.scratch_of(has_joined).borrow_mut();
            if scratch.allowance.is_evicted(&self.batch.share, cx) {
                return Poll::Ready(Ok(ReadStep::overdrawn()));
            }
            self.input.poll_read(cx, &mut self.reader, scratch, &frames)
        })
        .await
    }

    async fn take_step(
        &mut self,
        step: std::io::Result<ReadStep<WsFrameError>>,
    ) -> Result<(), Closing> {
        let step = step.map_err(Closing::Gone)?;
        self.heard = Instant::now();
        // A client that sends all the time must not put this off.
        self.beat()?;
        if let Some(run) = step.run {
            self.take(run.bytes().clone(), run.frames()).await?;
        }
        match step.next {
            Next::Wait if !turn::is_expensive() => Ok(()),
            Next::Wait | Next::Again => {
                self.shard.yield_turn().await;
                // It was not listened to meanwhile.
                self.heard = Instant::now();
                Ok(())
            }
            Next::Eof { .. } => Err(Closing::Gone(std::io::ErrorKind::UnexpectedEof.into())),
            Next::Bad(error) => Err(error.into()),
            Next::Overdrawn => Err(Closing::Overdrawn),
        }
    }

    /// When [`WsConnection::beat`] or [`WsConnection::check_frame`] has something to do.
    fn due(&mut self) -> Instant {
        let settings = &self.shard.common.settings;
        let silent = self.heard + settings.websocket.ping_timeout;
        let due = self.next_ping.min(silent);
        if self.has_joined() {
            let received = self.batch.received(self.input.received());
            let limit = settings.limits.frame_deadline;
            let frame = self.frame_deadline.due(received, limit);
            frame.map_or(due, |frame| frame.min(due))
        } else {
            due.min(self.deadline)
        }
    }

    /// Sends a ping when nothing has come for a while, and ends what has been silent for too long.
    fn beat(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        if !self.has_joined() && now >= self.deadline {
            let awaited = "join";
            return Err(Closing::Refused(Refusal::TooSlow { awaited }));
        }
        let settings = &self.shard.common.settings.websocket;
        if now.duration_since(self.heard) >= settings.ping_timeout {
            return Err(Closing::Silent);
        }
        if now.duration_since(self.heard) >= settings.ping_interval {
            self.layered.ping(framing::ping());
            self.next_ping = now + settings.ping_interval;
        } else {
            self.next_ping = self.heard + settings.ping_interval;
        }
        Ok(())
    }

    /// Ends the session if a message does not go on. Before the join there is `join_deadline`.
    fn check_frame(&mut self) -> Result<(), Closing> {
        let received = self.batch.received(self.input.received());
        let checked = self.frame_deadline.check(received);
        checked.map_err(|_| Closing::Overdue)
    }

    /// Gives the memory of incomplete messages back.
    fn release(&mut self) {
        let scratch = &mut self.shard.scratch_of(self.has_joined()).borrow_mut();
        self.input.release(scratch);
        self.batch.release(scratch);
    }
}

/// What ends a session from outside.
struct Outside {
    layered: Rc<Layered>,
    phase: watch::Receiver<BrokerPhase>,
    /// Until it has joined.
    ticket: Option<Arc<Ticket>>,
}

impl Outside {
    /// Waits for it. Cancel safe.
    async fn end(&self, has_joined: bool) -> Closing {
        let over = self.layered.over().notified();
        if has_joined {
            // Members are let go one by one.
            over.await;
            return Closing::Ended;
        }
        // What only a connection that has not joined needs takes no room in those that have.
        Box::pin(async {
            let mut phase = self.phase.clone();
            tokio::select! {
                () = over => Closing::Ended,
                why = told(self.ticket.as_deref()) => Closing::Refused(Refusal::LetGo(why)),
                _ = phase.wait_for(|&phase| phase != BrokerPhase::Running) => Closing::NoSeat(Refusal::Stopping),
            }
        })
        .await
    }
}

impl Drop for WsConnection {
    fn drop(&mut self) {
        self.release();
        self.shard.sessions.set(self.shard.sessions.get() - 1);
    }
}
