//! Output of a layered connection besides its members' queues, and whose turn to write it is.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};

use crate::channel::SessionId;

/// Output that goes out before anything that is queued for members.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// The rest of a unit of which the socket has taken a part.
    pub(super) rest: Bytes,
    /// Control frames of WebSocket; none while nothing is to be said.
    pub(super) control: Option<Box<Control>>,
    /// Set once a close frame is among them, or has gone out.
    pub(super) is_closed: bool,
    /// Of several sessions those that wait for the socket, in the order in which they write again:
    /// each once, then it is the next one's turn.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 32 in every connection"
    )]
    waiting: Option<Box<VecDeque<WaitingSession>>>,
}

/// A session that waits for its turn.
#[derive(Debug)]
struct WaitingSession {
    session: SessionId,
    waker: Option<Waker>,
}

impl WaitingSession {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// At most one frame of each kind: of pings that were not answered in time only the last one
/// needs an answer (RFC 6455, 5.5.3).
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) pong: Bytes,
    pub(super) ping: Bytes,
    pub(super) close: Bytes,
}

impl Out {
    /// Returns the bytes that go out next.
    pub(super) fn front(&mut self) -> Option<&mut Bytes> {
        if !self.rest.is_empty() {
            return Some(&mut self.rest);
        }
        let Control { pong, ping, close } = self.control.as_deref_mut()?;
        [pong, ping, close]
            .into_iter()
            .find(|next| !next.is_empty())
    }

    /// Takes `n` written bytes off what goes out next. The rest of a control frame that has begun
    /// cannot be replaced by another any more.
    pub(super) fn advance(&mut self, n: usize) {
        if let Some(next) = self.front() {
            next.advance(n);
            let rest = std::mem::take(next);
            self.rest = rest;
        }
    }

    /// Has a session wait behind those that wait already.
    pub(super) fn wait(&mut self, session: SessionId) {
        let waiting = self.waiting.get_or_insert_default();
        if !waiting.iter().any(|other| other.session == session) {
            waiting.push_back(WaitingSession {
                session,
                waker: None,
            });
        }
    }

    /// Gives up the place of a session.
    pub(super) fn wait_no_more(&mut self, session: SessionId) {
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        let at = waiting.iter().position(|other| other.session == session);
        if let Some(mut gone) = at.and_then(|at| waiting.remove(at)) {
            gone.wake();
        }
        match waiting.front_mut() {
            Some(next) => next.wake(),
            None => self.waiting = None,
        }
    }

    /// Lets all go that wait: nothing will be written.
    pub(super) fn let_all_go(&mut self) {
        let waiting = self.waiting.take();
        waiting
            .into_iter()
            .flat_map(|all| *all)
            .for_each(|mut waiting| waiting.wake());
    }

    /// Returns `true` if no other session is to write first.
    pub(super) fn is_turn_of(&self, session: SessionId) -> bool {
        let first = self.waiting.as_ref().and_then(|waiting| waiting.front());
        first.is_none_or(|first| first.session == session)
    }

    /// Waits for that, or until the session waits no more. Ready does not mean that the socket is.
    pub(super) fn poll_turn(&mut self, session: SessionId, cx: &Context<'_>) -> Poll<()> {
        if self.is_turn_of(session) {
            return Poll::Ready(());
        }
        let waiting = self
            .waiting
            .iter_mut()
            .flat_map(|waiting| waiting.iter_mut());
        match waiting.into_iter().find(|other| other.session == session) {
            Some(this) => {
                this.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}
