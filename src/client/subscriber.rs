//! The receiving half of a session.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use tokio::io::AsyncReadExt as _;

use super::admission::{Admission, EarlyEnd, End};
use super::config::Client;
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::halves::ReadHalf;
use super::identity::Names;
use super::received::Received;
use super::reconnect::Reconnect;
use super::reconnector::{Handle, News};
use super::replay::Replay;
use super::transport;
use crate::protocol::{BodyError, Cid};

/// What happens on a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message came.
    Message(Received),
    /// A frame came whose body is no message: servers need not check what members send.
    Malformed {
        /// The whole frame.
        frame: Bytes,
        /// What is wrong with its body.
        error: BodyError,
    },
    /// The connection was lost, or an attempt to connect failed; only in sessions that reconnect. When
    /// these were many while the session was not read from, the oldest are left out.
    Disconnected {
        /// Why; [`Error::Closed`] when the server closed it in an orderly way.
        error: Error,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The session is back: connected, and the join sent again.
    Reconnected,
}

/// The receiving half of a session.
///
/// A [`Stream`] of messages, which ends when the server closes the session; in a session that
/// reconnects it does not end by itself.
pub struct Subscriber {
    state: State,
    buffer: FrameBuffer,
    comeback: Option<Box<Comeback>>,
    /// How long it may take to see whether a server still listens.
    patience: Duration,
}

enum State {
    Up(Downlink),
    /// The connection has ended early, and it is being found out what that means.
    Judging(Judgement),
    /// There is no connection, or another one; only in sessions that reconnect.
    Down,
    Over,
}

type Judgement = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The receiving side of a connection on which the join was sent.
pub(super) struct Downlink {
    pub(super) reader: ReadHalf,
    pub(super) admission: Admission,
}

/// What a read brought.
enum Came {
    Frame(Bytes),
    End(End),
}

/// What a session that reconnects has in addition.
pub(super) struct Comeback {
    handle: Handle,
    /// That of the connection, as the reconnector counts.
    version: u64,
    /// There was a connection before.
    has_begun: bool,
    /// The server has let us in on this connection.
    admitted: bool,
    replay: Replay,
    uid: Box<str>,
    cid: Cid,
}

impl Subscriber {
    pub(super) fn new(
        downlink: Option<Downlink>,
        client: &Client,
        comeback: Option<Comeback>,
    ) -> Self {
        Self {
            state: downlink.map_or(State::Down, State::Up),
            buffer: FrameBuffer::new(client.max_frame),
            comeback: comeback.map(Box::new),
            patience: client.connect_timeout,
        }
    }

    /// The next message: the history first, then live ones; `None` when the server has closed the
    /// session. Malformed messages are skipped, as are the events of a session that reconnects.
    ///
    /// # Errors
    ///
    /// As for [`next_event`](Self::next_event).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing.
    pub async fn recv(&mut self) -> Result<Option<Received>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next thing that happens; `None` when the server has closed the session.
    ///
    /// # Errors
    ///
    /// The session is over after any of them:
    /// [`Error::Refused`] when the join was refused, [`Error::Received`] when the server sent
    /// something that is no frame, [`Error::Cut`] and [`Error::Io`] when the connection was lost.
    /// In a session that reconnects they are [`Event::Disconnected`], and it goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing, and a wait or an attempt to come back goes
    /// on with the next call of either half.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Reads and drops everything until the session is over: for sessions that only publish, which
    /// have to be read from all the same.
    ///
    /// # Errors
    ///
    /// As for [`next_event`](Self::next_event).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn drain(&mut self) -> Result<(), Error> {
        while self.next_event().await?.is_some() {}
        Ok(())
    }

    /// The sending side was closed: the server may close the connection in turn.
    pub(super) fn sending_finished(&mut self) {
        if let State::Up(downlink) = &mut self.state {
            downlink.admission.finished();
        }
    }

    /// Reads and drops everything until the server has shown that it let us in.
    pub(super) async fn admission(&mut self) -> Result<(), Error> {
        while !matches!(&self.state, State::Up(downlink) if downlink.admission.granted()) {
            if self.next_event().await?.is_none() {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Returns when silence is going to show that the server has let us in.
    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Up(downlink) => Some(downlink.admission.deadline()),
            _ => None,
        }
    }

    /// From now on a lost connection is the end.
    pub(super) fn stop_reconnecting(&mut self) {
        self.comeback = None;
        if matches!(self.state, State::Down) {
            self.state = State::Over;
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, Error>> {
        loop {
            match ready!(self.poll_event(cx))? {
                Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                Some(_) => {}
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(Ok(None)),
                State::Down => return self.poll_comeback(cx).map(Ok),
                State::Judging(judgement) => {
                    let how = ready!(judgement.as_mut().poll(cx));
                    self.lost(how)?;
                }
                State::Up(downlink) => match downlink.poll_frame(&mut self.buffer, cx) {
                    Poll::Ready(Ok(Came::Frame(frame))) => {
                        if let Some(event) = self.received(frame) {
                            return Poll::Ready(Ok(Some(event)));
                        }
                    }
                    Poll::Ready(Ok(Came::End(End::Plain(how)))) => self.lost(how)?,
                    Poll::Ready(Ok(Came::End(End::Early(end)))) => {
                        self.state = State::Judging(judge(end, self.patience));
                    }
                    Poll::Ready(Err(error)) => self.lost(Err(error))?,
                    Poll::Pending => match &self.comeback {
                        // The publisher has noticed the end of the connection first.
                        Some(comeback) if !comeback.handle.is_current(comeback.version, cx) => {
                            self.state = State::Down;
                        }
                        _ => return Poll::Pending,
                    },
                },
            }
        }
    }

    /// What a frame means to the user; nothing when it was delivered before.
    fn received(&mut self, frame: Bytes) -> Option<Event> {
        match Received::new(frame) {
            Ok(message) => {
                let is_new = match &mut self.comeback {
                    Some(comeback) => comeback.accept(&message),
                    None => true,
                };
                is_new.then_some(Event::Message(message))
            }
            Err((frame, error)) => Some(Event::Malformed { frame, error }),
        }
    }

    /// The connection has ended: an error if the session ends with it, and with one.
    fn lost(&mut self, how: Result<(), Error>) -> Result<(), Error> {
        self.state = State::Over;
        let Some(comeback) = &self.comeback else {
            return how;
        };
        let error = how.err().unwrap_or(Error::Closed);
        comeback.handle.lost(comeback.version, error)?;
        self.state = State::Down;
        Ok(())
    }

    /// What happens while there is no connection.
    fn poll_comeback(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let Some(comeback) = &mut self.comeback else {
            self.state = State::Over;
            return Poll::Ready(None);
        };
        match ready!(comeback.handle.poll_news(cx)) {
            News::Lost { error, retry_in } => {
                Poll::Ready(Some(Event::Disconnected { error, retry_in }))
            }
            News::Back {
                downlink,
                cid,
                version,
            } => {
                comeback.joined(cid, version);
                self.buffer.clear();
                self.state = State::Up(downlink);
                Poll::Ready(Some(Event::Reconnected))
            }
        }
    }
}

/// Finds out whether an early end was a refusal.
fn judge(end: EarlyEnd, patience: Duration) -> Judgement {
    Box::pin(async move {
        let is_listening = transport::is_listening(end.server(), patience).await;
        end.judged(is_listening)
    })
}

impl Comeback {
    /// For a session that begins as `cid`, with a connection or without.
    pub(super) fn new(
        handle: Handle,
        settings: &Reconnect,
        names: &Names,
        cid: Cid,
        is_connected: bool,
    ) -> Self {
        Self {
            handle,
            version: 0,
            has_begun: is_connected,
            admitted: false,
            replay: Replay::new(settings.remembered()),
            uid: names.uid.clone(),
            cid,
        }
    }

    /// There is another connection.
    fn joined(&mut self, cid: Cid, version: u64) {
        (self.cid, self.version, self.admitted) = (cid, version, false);
        if std::mem::replace(&mut self.has_begun, true) {
            self.replay.restart(Instant::now());
        }
    }

    /// Takes a message that came; false when it is not to be delivered.
    fn accept(&mut self, message: &Received) -> bool {
        if !self.admitted {
            self.admitted = true;
            self.handle.admitted();
        }
        if self.replay.is_matching(Instant::now()) {
            let own = message.cid() == Some(self.cid) && *message.uid() == *self.uid;
            // The history holds this session's own messages, and in some servers old announcements.
            if own || message.is_announcement() {
                return false;
            }
        }
        message.is_announcement() || self.replay.accept(message.frame())
    }
}

impl Downlink {
    /// The next whole frame, or the end of the connection.
    fn poll_frame(
        &mut self,
        buffer: &mut FrameBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Came, Error>> {
        loop {
            if let Some(frame) = buffer.next_frame()? {
                return Poll::Ready(Ok(Came::Frame(frame)));
            }
            // The future of one read borrows and keeps nothing, so a new one can poll each time.
            let read = pin!(self.reader.read_buf(buffer.space())).poll(cx);
            match read {
                Poll::Pending => {
                    buffer.release();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(len)) if len > 0 => {
                    self.admission.heard();
                    buffer.filled(len);
                }
                Poll::Ready(end) => return Poll::Ready(self.ended(end.map(drop), buffer)),
            }
        }
    }

    fn ended(&self, how: io::Result<()>, buffer: &FrameBuffer) -> Result<Came, Error> {
        match self.admission.ended(how) {
            End::Plain(Ok(())) if buffer.is_mid_frame() => Err(Error::Cut),
            end => Ok(Came::End(end)),
        }
    }
}

impl Stream for Subscriber {
    type Item = Result<Received, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Up(_) => "connected",
            State::Judging(_) => "ended",
            State::Down => "coming back",
            State::Over => "over",
        };
        f.debug_struct("Subscriber")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
