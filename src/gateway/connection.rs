//! The task of a WebSocket connection: turns what its client sends into frames, and answers pings and
//! closes. What is queued for its sessions is written by the shard.
//!
//! The first message decides which protocol is spoken. A binary one is a body of Mles v1, and so are
//! all that follow; each (uid, channel) pair in them is a session of its own. Text is the greeting of
//! Mles v2, which opens the only session, and what follows is passed on as it is.
//!
//! Invariants:
//!
//! * The connection stays on the shard that accepted it, and all of its sessions with it.
//! * Before the first session joins, the connection lives no longer than `join_deadline`, and what it
//!   sends is charged to those that have not joined.
//! * Whatever is wrong with one session ends the connection: the protocols cannot tell a client of one.

mod closing;
mod held;
mod intake;
mod join;
mod token;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::framing;
use super::upgrade::UpgradeTerms;
use crate::protocol::{BodyPrefix, Key, Scan, Stop};
use crate::shard::allowance::evicted;
use crate::shard::frame_deadline::FrameDeadline;
use crate::shard::input::{CHUNK, Input, Next, ReadStep, Scanner};
use crate::shard::layered::Layered;
use crate::shard::limits::{Permit, Ticket, told};
use crate::shard::refusal::Refusal;
use crate::shard::session::Session;
use crate::shard::stream::StreamReader;
use crate::shard::turn;
use crate::shard::{BrokerPhase, Shard};
use crate::websocket::{Assembly, WsFrameError, max_payload, scan};
use closing::Closing;
pub(super) use closing::FAREWELL;
use held::HeldInput;
use intake::IncomingRun;

/// Time for which a client is not listened to while publishers are held back: most pauses are far shorter, and many.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// Length of the mark of a message, in bytes.
const MARK_LEN: usize = 1;

/// A WebSocket connection whose handshake is over.
#[derive(Debug)]
pub(crate) struct UpgradedConnection {
    pub(crate) layered: Rc<Layered>,
    /// Address of the client.
    pub(crate) peer: SocketAddr,
    /// The terms of the upgrade.
    pub(super) terms: UpgradeTerms,
    /// Bytes that came behind the handshake.
    pub(crate) early: Bytes,
    /// Time by which its first session must have joined.
    pub(crate) deadline: Instant,
    /// Counts the connection against the limits.
    pub(crate) permit: Permit,
}

/// A session of the connection.
#[derive(Clone, Debug)]
struct WsSession {
    session: Rc<Session>,
    /// The key in the headers of its frames.
    key: Key,
    /// The encoded `uid` and `channel` pairs that its bodies begin with.
    names: Rc<BodyPrefix>,
    /// Set if its client asks for positions.
    asks: bool,
}

/// The sessions of a connection.
#[derive(Debug)]
enum WsSessions {
    /// None has joined yet.
    None,
    /// Those of Mles v1, by channel, then by uid.
    Many(HashMap<Box<str>, HashMap<Box<str>, WsSession>>),
    /// That of Mles v2.
    One(WsSession),
    /// That of Mles v2 whose client marks what it sends.
    Marked(WsSession),
}

impl WsSessions {
    fn iter(&self) -> impl Iterator<Item = &WsSession> {
        let (many, one) = match self {
            Self::None => (None, None),
            Self::Many(many) => (Some(many), None),
            Self::One(one) | Self::Marked(one) => (None, Some(one)),
        };
        let many = many.into_iter().flatten();
        many.flat_map(|(_, sessions)| sessions.values()).chain(one)
    }
}

/// A WebSocket connection that is served.
struct WsConnection {
    shard: Rc<Shard>,
    layered: Rc<Layered>,
    reader: StreamReader,
    /// Address of the client.
    peer: SocketAddr,
    /// The terms of the upgrade.
    terms: UpgradeTerms,
    /// Bytes of a frame that has not come as a whole.
    input: Input,
    /// State between the fragments of a message.
    assembly: Assembly,
    /// Messages that are not published yet.
    incoming: IncomingRun,
    sessions: WsSessions,
    /// Counts the connection, and with it the first session.
    permit: Permit,
    /// Set once the first session has joined.
    has_joined: bool,
    /// Set once what came behind the handshake is taken in.
    is_listening: bool,
    /// What has come while publishers were held back, until it is taken in.
    held: Option<Box<HeldInput>>,
    /// Time by which it must have joined.
    deadline: Instant,
    /// When the client last sent something.
    heard: Instant,
    /// When the next ping is due.
    next_ping: Instant,
    /// Ends the connection if a message does not go on.
    frame_deadline: FrameDeadline,
}

impl Shard {
    /// Serves a WebSocket connection until it ends.
    pub(crate) fn serve_websocket(self: &Rc<Self>, upgraded: UpgradedConnection) {
        let now = Instant::now();
        upgraded.layered.over();
        let connection = Box::new(WsConnection {
            shard: self.clone(),
            reader: StreamReader::Layered(upgraded.layered.clone()),
            layered: upgraded.layered,
            peer: upgraded.peer,
            terms: upgraded.terms,
            input: Input::default(),
            assembly: Assembly::default(),
            incoming: IncomingRun::default(),
            sessions: WsSessions::None,
            permit: upgraded.permit,
            has_joined: false,
            is_listening: false,
            held: None,
            deadline: upgraded.deadline,
            heard: now,
            next_ping: now + self.read_limits().ping_interval,
            frame_deadline: FrameDeadline::default(),
        });
        self.task_began();
        self.spawn(connection.run(upgraded.early));
    }
}

/// Scans for the frames of a client.
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
    /// Serves the connection until it ends. What happens once is boxed, here and below: there is one of these
    /// futures for every connection, idle or not.
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

    /// Returns the largest message of a client, in bytes.
    fn max_message(&self) -> usize {
        let limits = self.shard.read_limits();
        let max_body = limits.max_body;
        let fitting = match &self.sessions {
            WsSessions::One(member) => max_payload(max_body, &member.names),
            WsSessions::Marked(member) => MARK_LEN + max_payload(max_body, &member.names),
            WsSessions::None | WsSessions::Many(_) => max_body,
        };
        fitting.min(limits.max_message)
    }

    fn frames(&self) -> ClientFrames {
        ClientFrames {
            max_payload: self.max_message(),
        }
    }

    fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Takes in the bytes that came behind the handshake.
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

    /// Reads until something ends the connection.
    async fn converse(&mut self) -> Closing {
        let outside = Outside {
            layered: self.layered.clone(),
            phase: self.shard.common.phase.subscribe(),
            ticket: self.permit.ticket(),
        };
        self.is_listening = true;
        loop {
            let has_joined = self.has_joined();
            if self.is_paused() {
                let passed = tokio::select! {
                    passed = Box::pin(self.wait_for_pauses()) => passed,
                    end = outside.end(has_joined) => return end,
                };
                if let Err(end) = passed {
                    return end;
                }
            }
            if self.held.is_some() {
                if let Err(end) = Box::pin(self.go_on_with_held()).await {
                    return end;
                }
                continue;
            }
            let due = self.due();
            let step = tokio::select! {
                // What has come is a sign of life, however late it is read.
                biased;
                end = outside.end(has_joined) => return end,
                step = self.read(CHUNK) => step,
                () = sleep_until(due) => match self.check_alive().and_then(|()| self.check_frame()) {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
            };
            if let Err(end) = self.take_step(step).await {
                return end;
            }
        }
    }

    /// Returns `true` while the shard or a channel holds publishers back.
    fn is_paused(&self) -> bool {
        let mut sessions = self.sessions.iter();
        self.shard.congestion().is_on()
            || sessions.any(|ws| ws.session.pause().is_some() || self.shard.is_held(&ws.session))
    }

    /// Waits until nothing holds publishers back, and answers pings meanwhile. Cancel safe.
    async fn wait_for_pauses(&mut self) -> Result<(), Closing> {
        let sessions = self.sessions.iter().map(|ws| ws.session.clone()).collect();
        let mut over = pin!(pauses_over(self.shard.clone(), sessions));
        let scratch = self.shard.scratch_of(self.has_joined());
        tokio::select! {
            () = &mut over => {}
            () = evicted(scratch, [self.input.share(), &self.incoming.share]) => {
                return Err(Closing::Overdrawn);
            }
            () = sleep(SHORT_PAUSE) => self.listen_until(over).await?,
        }
        // It may have said something that was not read.
        self.heard = Instant::now();
        self.frame_deadline.reset();
        Ok(())
    }

    /// Takes in what has come while publishers were held back.
    async fn go_on_with_held(&mut self) -> Result<(), Closing> {
        match self.take_held() {
            Some((run, frames)) => self.take(run, frames).await,
            None => self.take_held_end().map_or(Ok(()), Err),
        }
    }

    /// Reads up to `room` bytes, or of a long frame what has come. Cancel safe.
    async fn read(&mut self, room: usize) -> std::io::Result<ReadStep<WsFrameError>> {
        let (frames, has_joined) = (self.frames(), self.has_joined());
        poll_fn(|cx| {
            let scratch = &mut self.shard.scratch_of(has_joined).borrow_mut();
            if scratch.allowance.is_evicted(&self.incoming.share, cx) {
                return Poll::Ready(Ok(ReadStep::overdrawn()));
            }
            self.input
                .poll_read_up_to(room, cx, &mut self.reader, scratch, &frames)
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
        self.check_alive()?;
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

    /// Returns when [`WsConnection::check_alive`] or [`WsConnection::check_frame`] has something to do.
    fn due(&mut self) -> Instant {
        let limits = self.shard.read_limits();
        let silent = self.heard + limits.ping_timeout;
        let due = self.next_ping.min(silent);
        if self.has_joined() {
            let received = self.incoming.received(self.input.received());
            let frame = self.frame_deadline.due(received, limits.frame_deadline);
            frame.map_or(due, |frame| frame.min(due))
        } else {
            due.min(self.deadline)
        }
    }

    /// Sends a ping if nothing has come for a while.
    ///
    /// # Errors
    ///
    /// The client has been silent for too long, or has not joined in time.
    fn check_alive(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        if !self.has_joined() && now >= self.deadline {
            let awaited = "join";
            return Err(Closing::Refused(Refusal::TooSlow { awaited }));
        }
        let limits = self.shard.read_limits();
        if now.duration_since(self.heard) >= limits.ping_timeout {
            return Err(Closing::Silent);
        }
        if now.duration_since(self.heard) >= limits.ping_interval {
            self.layered.ping(framing::ping());
            self.next_ping = now + limits.ping_interval;
        } else {
            self.next_ping = self.heard + limits.ping_interval;
        }
        Ok(())
    }

    /// Checks that an incomplete message goes on. Before the join there is `join_deadline`.
    fn check_frame(&mut self) -> Result<(), Closing> {
        let received = self.incoming.received(self.input.received());
        let checked = self.frame_deadline.check(received);
        checked.map_err(|_| Closing::Overdue)
    }

    /// Gives the memory of incomplete messages back.
    fn release(&mut self) {
        let scratch = &mut self.shard.scratch_of(self.has_joined()).borrow_mut();
        self.input.release(scratch);
        self.incoming.release(scratch);
    }
}

/// Waits until nothing holds these publishers of a connection back. Cancel safe.
async fn pauses_over(shard: Rc<Shard>, sessions: Vec<Rc<Session>>) {
    shard.congestion().over().await;
    let paused = || sessions.iter().filter_map(|session| session.pause());
    if let Some(limit) = paused().map(|(_, limit)| limit).max() {
        let all = async {
            for (pause, _) in paused() {
                pause.over().await;
            }
        };
        // Past the limit it goes on all the same.
        let _ = timeout(limit, all).await;
        for (pause, _) in paused() {
            pause.limited().await;
        }
    }
    for session in &sessions {
        shard.hold_over(session).await;
    }
}

/// The events that end a connection from outside.
struct Outside {
    layered: Rc<Layered>,
    phase: watch::Receiver<BrokerPhase>,
    /// Until it has joined.
    ticket: Option<Arc<Ticket>>,
}

impl Outside {
    /// Waits until the connection has to end. Cancel safe.
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
                _ = phase.wait_for(|&phase| phase >= BrokerPhase::Draining) => Closing::RefusedByChannel(Refusal::Stopping),
            }
        })
        .await
    }
}

impl Drop for WsConnection {
    fn drop(&mut self) {
        self.release();
        self.shard.task_ended();
    }
}
