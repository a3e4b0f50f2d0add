//! The receiving half of a session.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;

use super::error::Error;
use super::event::Event;
use super::inbound::Inbound;
use super::received::Received;
use super::socket::ConnectInfo;
use super::tracked::{Core, TrackedHandle};
use crate::protocol::Position;

/// The receiving half of a session.
///
/// A [`Stream`] of messages, which ends when the server closes the session; in a session that
/// reconnects it does not end by itself.
pub struct Subscriber(Engine);

enum Engine {
    /// One connection, to itself.
    Plain(Box<Inbound>),
    /// A session that asks for positions.
    Tracked(TrackedHandle),
}

impl Subscriber {
    pub(super) fn plain(inbound: Inbound) -> Self {
        Self(Engine::Plain(Box::new(inbound)))
    }

    pub(super) const fn tracked(handle: TrackedHandle) -> Self {
        Self(Engine::Tracked(handle))
    }

    /// Waits for the next message: the history first, then live ones. Returns `None` when the server has
    /// closed the session. Malformed messages are skipped, as are all events that are no messages: a program that must
    /// not miss a gap calls [`next_event`](Self::next_event).
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

    /// Returns the position up to which this session has got everything, or was told what is missing. A later session
    /// goes on from there, see [`Client::since`](super::Client::since).
    ///
    /// `None` if the session does not ask for positions, or as long as no server has given one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.0 {
            Engine::Plain(_) => None,
            Engine::Tracked(handle) => handle.with(|core| core.position()),
        }
    }

    /// Notes that the sending side was closed: the server may close the connection in turn.
    pub(super) fn sending_finished(&mut self) {
        self.inbound(Inbound::sending_finished);
    }

    /// Reads and drops everything until the server has shown that it let us in.
    pub(super) async fn admission(&mut self) -> Result<(), Error> {
        while self.inbound(|inbound| inbound.is_admitted()) != Some(true) {
            if self.next_event().await?.is_none() {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Returns `true` if the connection has ended early, and it is not known yet if that is a refusal.
    pub(super) fn is_checking_refusal(&mut self) -> bool {
        self.inbound(|inbound| inbound.is_checking_refusal()) == Some(true)
    }

    /// Returns when silence is going to show that the server has let us in.
    pub(super) fn admission_deadline(&mut self) -> Option<Instant> {
        self.inbound(|inbound| inbound.admission_deadline())
            .flatten()
    }

    /// Returns the addresses of the connection, and about its round trip; `None` while there is none.
    pub(super) fn connection(&self) -> Option<ConnectInfo> {
        match &self.0 {
            Engine::Plain(inbound) => inbound.connection(),
            Engine::Tracked(handle) => handle.with(|core| core.inbound()?.connection()),
        }
    }

    /// Has the connection reset when it is dropped.
    pub(super) fn reset_on_drop(&mut self) {
        self.inbound(|inbound| inbound.reset_on_drop());
    }

    /// Lets the session end with its connection from now on.
    pub(super) fn stop_reconnecting(&mut self) {
        if let Engine::Tracked(handle) = &self.0 {
            handle.with(Core::stop_reconnecting);
        }
    }

    /// Looks at the connection, if there is one.
    fn inbound<T>(&mut self, look: impl FnOnce(&mut Inbound) -> T) -> Option<T> {
        match &mut self.0 {
            Engine::Plain(inbound) => Some(look(inbound)),
            Engine::Tracked(handle) => handle.with(|core| core.inbound().map(look)),
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
        match &mut self.0 {
            Engine::Plain(inbound) => {
                let frame = ready!(inbound.poll_frame(cx))?;
                Poll::Ready(Ok(frame.map(event)))
            }
            Engine::Tracked(handle) => handle.poll(cx, Core::next_event),
        }
    }
}

fn event(frame: Bytes) -> Event {
    match Received::new(frame) {
        Ok(message) => Event::Message(message),
        Err((frame, error)) => Event::Malformed { frame, error },
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
        let state = match &self.0 {
            Engine::Plain(inbound) => inbound.state(),
            Engine::Tracked(handle) => handle.with(|core| core.state()),
        };
        f.debug_struct("Subscriber")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
