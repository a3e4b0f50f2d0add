//! The receiving half of a session.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;

use super::admission::{ConnectionEnd, EarlyEnd};
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::identity::Names;
use super::join::{JoinedReader, ReadOutcome};
use super::options::SessionOptions;
use super::received::Received;
use super::reconnect::Reconnect;
use super::reconnector::{ReconnectEvent, ReconnectHandle};
use super::replay::ReplayMatcher;
use super::socket::ConnectInfo;
use super::transport;
use crate::protocol::{BodyError, Cid};

/// An event of a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message was received.
    Message(Received),
    /// A frame was received whose body is no message: servers need not check what members send.
    Malformed {
        /// The whole frame.
        frame: Bytes,
        /// The fault of its body.
        error: BodyError,
    },
    /// The connection was lost, or an attempt to connect failed; only in sessions that reconnect. If
    /// there were many while the session was not read from, the oldest are left out.
    Disconnected {
        /// The reason; [`Error::Closed`] if the server closed it in an orderly way.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The session is connected again, and the join was sent.
    Reconnected,
}

/// The receiving half of a session.
///
/// A [`Stream`] of messages, which ends when the server closes the session; in a session that
/// reconnects it does not end by itself.
pub struct Subscriber {
    state: SubscriberState,
    buffer: FrameBuffer,
    reconnection: Option<Box<Reconnection>>,
    /// How long it may take to find out if a server still listens.
    patience: Duration,
}

enum SubscriberState {
    Up(JoinedReader),
    /// The connection has ended early, which may be a refusal.
    CheckingRefusal(RefusalCheck),
    /// There is no connection, or another one; only in sessions that reconnect.
    Down,
    Over,
}

type RefusalCheck = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The state that only sessions have that reconnect.
pub(super) struct Reconnection {
    handle: ReconnectHandle,
    /// The number of the connection, as the reconnector counts.
    version: u64,
    /// `true` once there was a connection.
    has_begun: bool,
    /// `true` once the server has let us in on this connection.
    admitted: bool,
    replay: ReplayMatcher,
    uid: Box<str>,
    cid: Cid,
}

impl Subscriber {
    pub(super) fn new(
        reader: Option<JoinedReader>,
        options: &SessionOptions,
        reconnection: Option<Reconnection>,
    ) -> Self {
        Self {
            state: reader.map_or(SubscriberState::Down, SubscriberState::Up),
            buffer: FrameBuffer::new(options.max_frame),
            reconnection: reconnection.map(Box::new),
            patience: options.connect_timeout,
        }
    }

    /// Waits for the next message: the history first, then live ones. Returns `None` when the server has
    /// closed the session. Malformed messages are skipped, as are the events of a session that
    /// reconnects.
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

    /// Waits for the next event. Returns `None` when the server has closed the session.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the join was refused, [`Error::Received`] when the server sent something
    /// that is no frame, [`Error::Cut`] and [`Error::Io`] when the connection was lost. The session is
    /// over after any of them. A session that reconnects reports them as [`Event::Disconnected`] and
    /// goes on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing, and a wait or an attempt to reconnect goes on
    /// with the next call of either half.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Reads and drops everything until the session is over. Sessions that only publish must be read
    /// from all the same.
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

    /// Notes that the sending side was closed: the server may close the connection in turn.
    pub(super) fn sending_finished(&mut self) {
        if let SubscriberState::Up(reader) = &mut self.state {
            reader.admission.finished();
        }
    }

    /// Reads and drops everything until the server has shown that it let us in.
    pub(super) async fn admission(&mut self) -> Result<(), Error> {
        while !matches!(&self.state, SubscriberState::Up(reader) if reader.admission.granted()) {
            if self.next_event().await?.is_none() {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Returns `true` if the connection has ended early, and it is not known yet if that is a refusal.
    pub(super) const fn is_checking_refusal(&self) -> bool {
        matches!(self.state, SubscriberState::CheckingRefusal(_))
    }

    /// Returns when silence is going to show that the server has let us in.
    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        match &self.state {
            SubscriberState::Up(reader) => Some(reader.admission.deadline()),
            _ => None,
        }
    }

    /// Returns the addresses of the connection, and about its round trip; `None` while there is none.
    pub(super) fn connection(&self) -> Option<ConnectInfo> {
        match &self.state {
            SubscriberState::Up(reader) => Some(reader.info),
            _ => None,
        }
    }

    /// Has the connection reset when it is dropped.
    pub(super) fn reset_on_drop(&self) {
        if let SubscriberState::Up(reader) = &self.state {
            // Where that fails, the connection is closed as any other.
            let _ = reader.half.reset_on_drop();
        }
    }

    /// Lets the session end with its connection from now on.
    pub(super) fn stop_reconnecting(&mut self) {
        self.reconnection = None;
        if matches!(self.state, SubscriberState::Down) {
            self.state = SubscriberState::Over;
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
                SubscriberState::Over => return Poll::Ready(Ok(None)),
                SubscriberState::Down => return self.poll_reconnection(cx).map(Ok),
                SubscriberState::CheckingRefusal(check) => {
                    let how = ready!(check.as_mut().poll(cx));
                    self.lost(how)?;
                }
                SubscriberState::Up(reader) => match reader.poll_frame(&mut self.buffer, cx) {
                    Poll::Ready(Ok(ReadOutcome::Frame(frame))) => {
                        if let Some(event) = self.received(frame) {
                            return Poll::Ready(Ok(Some(event)));
                        }
                    }
                    Poll::Ready(Ok(ReadOutcome::End(ConnectionEnd::Plain(how)))) => {
                        self.lost(how)?
                    }
                    Poll::Ready(Ok(ReadOutcome::End(ConnectionEnd::Early(end)))) => {
                        self.state =
                            SubscriberState::CheckingRefusal(check_refusal(end, self.patience));
                    }
                    Poll::Ready(Err(error)) => self.lost(Err(error))?,
                    Poll::Pending => match &self.reconnection {
                        // The publisher has noticed the end of the connection first.
                        Some(reconnection)
                            if !reconnection.handle.is_current(reconnection.version, cx) =>
                        {
                            self.state = SubscriberState::Down;
                        }
                        _ => return Poll::Pending,
                    },
                },
            }
        }
    }

    /// Returns the event of a frame; `None` if it was delivered before.
    fn received(&mut self, frame: Bytes) -> Option<Event> {
        match Received::new(frame) {
            Ok(message) => {
                let is_new = match &mut self.reconnection {
                    Some(reconnection) => reconnection.accept(&message),
                    None => true,
                };
                is_new.then_some(Event::Message(message))
            }
            Err((frame, error)) => Some(Event::Malformed { frame, error }),
        }
    }

    /// Reports the end of the connection; an error if the session ends with it, and with one.
    fn lost(&mut self, how: Result<(), Error>) -> Result<(), Error> {
        self.state = SubscriberState::Over;
        let Some(reconnection) = &self.reconnection else {
            return how;
        };
        let error = how.err().unwrap_or(Error::Closed);
        reconnection.handle.lost(reconnection.version, error)?;
        self.state = SubscriberState::Down;
        Ok(())
    }

    /// Polls for the next event while there is no connection.
    fn poll_reconnection(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let Some(reconnection) = &mut self.reconnection else {
            self.state = SubscriberState::Over;
            return Poll::Ready(None);
        };
        match ready!(reconnection.handle.poll_event(cx)) {
            ReconnectEvent::Disconnected { error, retry_in } => {
                Poll::Ready(Some(Event::Disconnected { error, retry_in }))
            }
            ReconnectEvent::Reconnected {
                reader,
                cid,
                version,
            } => {
                reconnection.joined(cid, version);
                self.buffer.clear();
                self.state = SubscriberState::Up(reader);
                Poll::Ready(Some(Event::Reconnected))
            }
        }
    }
}

/// Finds out if an early end was a refusal.
fn check_refusal(end: EarlyEnd, patience: Duration) -> RefusalCheck {
    Box::pin(async move {
        let is_listening = transport::is_listening(end.server(), patience).await;
        end.resolve(is_listening)
    })
}

impl Reconnection {
    /// Begins a session as `cid`, with a connection or without.
    pub(super) fn new(
        handle: ReconnectHandle,
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
            replay: ReplayMatcher::new(settings.remembered()),
            uid: names.uid.clone(),
            cid,
        }
    }

    /// Notes that there is another connection.
    fn joined(&mut self, cid: Cid, version: u64) {
        (self.cid, self.version, self.admitted) = (cid, version, false);
        if std::mem::replace(&mut self.has_begun, true) {
            self.replay.restart(Instant::now());
        }
    }

    /// Takes a message that was received. Returns `true` if it is to be delivered.
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

impl Stream for Subscriber {
    type Item = Result<Received, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            SubscriberState::Up(_) => "connected",
            SubscriberState::CheckingRefusal(_) => "ended",
            SubscriberState::Down => "coming back",
            SubscriberState::Over => "over",
        };
        f.debug_struct("Subscriber")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
