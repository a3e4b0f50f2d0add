//! The receiving half of a session.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::io::AsyncReadExt as _;

use super::admission::Admission;
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::halves::ReadHalf;
use super::received::Received;
use super::reconnect::{Attempt, Reconnector};
use super::session::Joined;
use crate::protocol::BodyError;

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
    /// The connection was lost, or an attempt to come back failed; only in sessions that reconnect.
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
    reconnector: Option<Box<Reconnector>>,
    /// Whether anything ever showed that the server lets us in.
    admitted: bool,
}

enum State {
    Up(Downlink),
    Down(Attempt),
    Over,
}

/// The receiving side of a connection on which the join was sent.
pub(super) struct Downlink {
    pub(super) reader: ReadHalf,
    pub(super) admission: Admission,
}

impl Subscriber {
    pub(super) fn new(
        downlink: Downlink,
        max_frame: usize,
        reconnector: Option<Box<Reconnector>>,
    ) -> Self {
        Self {
            state: State::Up(downlink),
            buffer: FrameBuffer::new(max_frame),
            reconnector,
            admitted: false,
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
    /// In a session that reconnects only a refusal of the first join is an error, the others are
    /// [`Event::Disconnected`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing, and a wait or an attempt to come back goes
    /// on with the next call.
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

    /// From now on a lost connection is the end.
    pub(super) fn stop_reconnecting(&mut self) {
        self.reconnector = None;
        if matches!(self.state, State::Down(_)) {
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
            let event = match &mut self.state {
                State::Over => return Poll::Ready(Ok(None)),
                State::Down(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(joined) => Ok(Some(self.rejoined(joined))),
                    Err(error) => self.lost(Err(error)),
                },
                State::Up(downlink) => match ready!(downlink.poll_frame(&mut self.buffer, cx)) {
                    Ok(Some(frame)) => match self.received(frame) {
                        Some(event) => Ok(Some(event)),
                        None => continue,
                    },
                    Ok(None) => self.lost(Ok(())),
                    Err(error) => self.lost(Err(error)),
                },
            };
            return Poll::Ready(event);
        }
    }

    /// What a frame means to the user; nothing when it was delivered before.
    fn received(&mut self, frame: Bytes) -> Option<Event> {
        self.note_admission();
        match Received::new(frame) {
            Ok(message) => {
                let is_new = match &mut self.reconnector {
                    Some(reconnector) => reconnector.accept(&message),
                    None => true,
                };
                is_new.then_some(Event::Message(message))
            }
            Err((frame, error)) => Some(Event::Malformed { frame, error }),
        }
    }

    fn note_admission(&mut self) {
        self.admitted = true;
        if let Some(reconnector) = &mut self.reconnector {
            reconnector.admitted();
        }
    }

    /// The connection has ended, or could not be had.
    fn lost(&mut self, how: Result<(), Error>) -> Result<Option<Event>, Error> {
        if matches!(&self.state, State::Up(downlink) if downlink.admission.granted()) {
            self.note_admission();
        }
        match &mut self.reconnector {
            Some(reconnector) if self.admitted => {
                let (retry_in, attempt) = reconnector.retry();
                self.state = State::Down(attempt);
                let error = how.err().unwrap_or(Error::Closed);
                Ok(Some(Event::Disconnected { error, retry_in }))
            }
            _ => {
                self.state = State::Over;
                self.reconnector = None;
                how.map(|()| None)
            }
        }
    }

    fn rejoined(&mut self, joined: Joined) -> Event {
        self.buffer.clear();
        self.state = State::Up(joined.downlink);
        if let Some(reconnector) = &mut self.reconnector {
            reconnector.joined(joined.writer, joined.identity.key);
        }
        Event::Reconnected
    }
}

impl Downlink {
    /// The next whole frame; `None` when the server has closed the connection.
    fn poll_frame(
        &mut self,
        buffer: &mut FrameBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(frame) = buffer.next_frame()? {
                return Poll::Ready(Ok(Some(frame)));
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

    fn ended(&self, how: io::Result<()>, buffer: &FrameBuffer) -> Result<Option<Bytes>, Error> {
        self.admission.ended(how)?;
        if buffer.is_mid_frame() {
            return Err(Error::Cut);
        }
        Ok(None)
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
            State::Down(_) => "coming back",
            State::Over => "over",
        };
        f.debug_struct("Subscriber")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
