//! The connection of a session that asks for positions, and what waits for its halves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite as _;
use tokio::time::{Sleep, sleep, sleep_until};

use super::inbox::Inbox;
use super::outgoing::{Outcome, Outgoing};
use super::token_refresh::TokenRefresh;
use super::tracker::{Offer, Tracker};
use crate::backoff::{Backoff, jittered};
use crate::client::admission::REFUSAL;
use crate::client::error::Error;
use crate::client::event::Event;
use crate::client::frame_buffer::FrameBuffer;
use crate::client::halves::WriteHalf;
use crate::client::identity::{CidChoice, Names};
use crate::client::inbound::Inbound;
use crate::client::join::{JoinedConnection, join};
use crate::client::options::SessionOptions;
use crate::client::reconnect::Reconnect;
use crate::protocol::{Position, encode_token};

/// How long a server that has given positions before may take to say that it does so again.
const WELCOME_PATIENCE: Duration = Duration::from_secs(30);

/// A wait, and then an attempt to join.
type JoinAttempt = Pin<Box<dyn Future<Output = Result<JoinedConnection, Error>> + Send>>;

/// A session that asks for positions.
pub(in crate::client) struct Core {
    /// The connection id is that of the first connection, once it is known.
    options: SessionOptions,
    names: Names,
    /// The message of the first join, until it was sent. It is the first of the outgoing ones as well.
    first: Vec<u8>,
    /// Set if the session reconnects.
    backoff: Option<Backoff>,
    joined_at: Instant,
    link: Link,
    tracker: Tracker,
    /// What the receiving half has not taken.
    inbox: Inbox,
    /// Events of a step; empty between steps, and kept for its memory.
    told: Vec<Event>,
    /// The reason for which the session is over; the receiving half takes it.
    end: Option<Error>,
    /// The reason for which nothing can be written; the sending half takes it.
    write_error: Option<Error>,
    /// Fires when silence shows that the server gives no positions.
    silence: Option<Pin<Box<Sleep>>>,
    /// The token of the connection, if it has one.
    token: Option<TokenRefresh>,
    /// The rest of a frame that shows a token.
    token_frame: Vec<u8>,
    /// Set while what is queued is to be written.
    wants_flush: bool,
    /// Set while something that was written may not be on its way.
    is_unflushed: bool,
    has_sender: bool,
    has_receiver: bool,
}

enum Link {
    Up {
        inbound: Box<Inbound>,
        /// Gone once the sending side is finished, or broken.
        writer: Option<WriteHalf>,
    },
    /// There is no connection; only in sessions that reconnect.
    Down(JoinAttempt),
    Over,
}

impl Core {
    /// Begins a session without a connection, and publishes `first` with its join.
    pub(in crate::client) fn new(
        options: &SessionOptions,
        names: Names,
        first: &[u8],
        tracker: Tracker,
    ) -> Self {
        let backoff = |reconnect: &Reconnect| Backoff::new(reconnect.initial, reconnect.cap);
        Self {
            options: options.clone(),
            names,
            first: first.to_vec(),
            backoff: options.reconnect.as_ref().map(backoff),
            joined_at: Instant::now(),
            link: Link::Over,
            tracker,
            inbox: Inbox::default(),
            told: Vec::new(),
            end: None,
            write_error: None,
            silence: None,
            token: None,
            token_frame: Vec::new(),
            wants_flush: false,
            is_unflushed: false,
            has_sender: true,
            has_receiver: true,
        }
    }

    /// Takes a connection on which the join was sent.
    pub(in crate::client) fn joined(&mut self, connection: JoinedConnection) {
        let JoinedConnection {
            reader,
            writer,
            token,
        } = connection;
        let source = self.options.token.as_ref();
        self.token = source
            .zip(token)
            .map(|(source, shown)| TokenRefresh::new(source.clone(), shown));
        self.token_frame.clear();
        self.joined_at = Instant::now();
        self.options.cid = CidChoice::Fixed(writer.identity.cid);
        self.tracker.joined(writer.identity, self.joined_at);
        if !std::mem::take(&mut self.first).is_empty() {
            self.tracker.outgoing_mut().first_was_sent();
        }
        // Nobody may ask for a flush of what has to be sent again.
        self.wants_flush |= self.tracker.outgoing().is_in_flight();
        self.is_unflushed = false;
        let deadline = if self.tracker.was_offered() {
            self.joined_at + WELCOME_PATIENCE
        } else {
            reader.admission.deadline()
        };
        self.silence = Some(Box::pin(sleep_until(deadline.into())));
        let buffer = FrameBuffer::new(self.options.max_frame).with_notices();
        self.link = Link::Up {
            inbound: Box::new(Inbound::new(reader, buffer, self.options.connect_timeout)),
            writer: Some(writer.half),
        };
        self.finish_if_done();
    }

    /// Begins another attempt after a connection was lost or an attempt failed.
    pub(in crate::client) fn retry(&mut self, error: Error) {
        let Some(backoff) = self.backoff.as_mut().filter(|_| self.has_receiver) else {
            self.link = Link::Over;
            self.write_error = Some(error);
            return;
        };
        let retry_in = match self.tracker.take_retry() {
            Some(retry) => wait_for_server(retry, backoff.cap()),
            None => jittered(backoff.next_ceiling()),
        };
        self.inbox.forget_old_losses();
        self.tell(Event::Disconnected { error, retry_in });
        self.silence = None;
        let (options, names) = (self.options.clone(), self.names.clone());
        let (first, request) = (self.first.clone(), self.tracker.request());
        self.link = Link::Down(Box::pin(async move {
            sleep(retry_in).await;
            join(&options, &names, &first, Some(&request)).await
        }));
    }

    /// Gets on with whatever there is to do. Returns `true` if anything was done.
    pub(in crate::client) fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.link {
            Link::Over => false,
            Link::Down(attempt) => {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Err(error)) => self.retry(error),
                    Poll::Ready(Ok(connection)) => {
                        self.joined(connection);
                        self.tell(Event::Reconnected);
                    }
                }
                true
            }
            Link::Up { .. } => {
                let has_decided = self.decide(cx);
                let has_read = self.read(cx);
                let has_token = self.refresh_token(cx);
                self.write(cx) || has_read || has_decided || has_token
            }
        }
    }

    /// Takes silence for a no, when its time has come.
    fn decide(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(silence) = &mut self.silence else {
            return false;
        };
        if self.tracker.offer() != Offer::Open {
            self.silence = None;
            return false;
        }
        if silence.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.silence = None;
        self.track(Tracker::silent);
        true
    }

    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let is_full = self.inbox.is_full();
        let Link::Up { inbound, .. } = &mut self.link else {
            return false;
        };
        // The answer to the join is for the sending half as well.
        if is_full && self.tracker.offer() != Offer::Open {
            return false;
        }
        match inbound.poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Some(frame))) => {
                if let Some(backoff) = &mut self.backoff {
                    backoff.reset();
                }
                let now = Instant::now();
                self.track(|tracker, told| tracker.take(frame, now, told));
            }
            Poll::Ready(Ok(None)) => self.lost(None),
            Poll::Ready(Err(error)) => self.lost(Some(error)),
        }
        true
    }

    /// Gets another token to show, when it is time for that.
    fn refresh_token(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(token) = &mut self.token else {
            return false;
        };
        if let Some(ttl) = self.tracker.take_token_ttl() {
            token.counts_for(Duration::from_millis(ttl));
        }
        let Poll::Ready(token) = token.poll(cx) else {
            return false;
        };
        // One that is too long for a frame is refused by nobody, and another one is asked for at the next join.
        self.token_frame = encode_token(&token).unwrap_or_default();
        true
    }

    /// Writes the frame that shows a token, between the frames of messages. `None` if there is nothing of it to write now.
    fn write_token(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let Link::Up {
            writer: Some(writer),
            ..
        } = &mut self.link
        else {
            return None;
        };
        if self.token_frame.is_empty() {
            return None;
        }
        let rest = self.tracker.outgoing().rest_of_frame();
        let wrote = if rest > 0 {
            let unwritten = &self.tracker.outgoing().unwritten()[..rest];
            Pin::new(writer).poll_write(cx, unwritten)
        } else {
            Pin::new(writer).poll_write(cx, &self.token_frame)
        };
        match wrote {
            Poll::Pending => return Some(false),
            Poll::Ready(Ok(len)) => {
                self.is_unflushed = true;
                if rest > 0 {
                    self.tracker.outgoing_mut().advance(len);
                } else {
                    self.token_frame.drain(..len);
                }
            }
            Poll::Ready(Err(error)) => self.cannot_write(error),
        }
        Some(true)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(has_written) = self.write_token(cx) {
            return has_written;
        }
        let Link::Up {
            writer: Some(writer),
            ..
        } = &mut self.link
        else {
            return false;
        };
        let outgoing = self.tracker.outgoing();
        let unwritten = outgoing.unwritten();
        let wrote = if self.wants_flush && !unwritten.is_empty() {
            if !self.tracker.may_publish() {
                return false;
            }
            Pin::new(writer).poll_write(cx, unwritten)
        } else if self.is_unflushed {
            Pin::new(writer).poll_flush(cx).map_ok(|()| 0)
        } else {
            return false;
        };
        match wrote {
            Poll::Pending => return false,
            Poll::Ready(Ok(len)) => {
                self.tracker.outgoing_mut().advance(len);
                self.is_unflushed = len > 0;
                self.wants_flush = !self.tracker.outgoing().unwritten().is_empty();
                self.finish_if_done();
            }
            Poll::Ready(Err(error)) => self.cannot_write(error),
        }
        true
    }

    fn cannot_write(&mut self, error: io::Error) {
        if self.backoff.is_some() && self.has_receiver {
            self.lost(Some(Error::Io(error)));
        } else if let Link::Up { writer, .. } = &mut self.link {
            // The receiving side finds out why.
            *writer = None;
            self.write_error = Some(Error::Io(error));
        }
    }

    /// Ends the connection, and the session if it does not reconnect.
    fn lost(&mut self, error: Option<Error>) {
        let error = self.tracker.take_reason().or(error);
        if self.backoff.is_none() || !self.has_receiver {
            self.link = Link::Over;
            self.end = error;
            return;
        }
        if let Some(backoff) = &mut self.backoff
            && self.joined_at.elapsed() >= REFUSAL
        {
            backoff.reset();
        }
        self.retry(error.unwrap_or(Error::Closed));
    }

    /// Takes a step of the tracker, and tells the events that follow from it.
    fn track(&mut self, step: impl FnOnce(&mut Tracker, &mut Vec<Event>)) {
        let before = self.tracker.position();
        let mut told = std::mem::take(&mut self.told);
        step(&mut self.tracker, &mut told);
        for event in told.drain(..) {
            self.tell_at(event, before);
        }
        self.told = told;
    }

    fn tell(&mut self, event: Event) {
        self.tell_at(event, self.tracker.position());
    }

    /// Keeps an event for the receiving half, with the position before it.
    fn tell_at(&mut self, event: Event, before: Option<Position>) {
        if self.has_receiver {
            self.inbox.push(event, before);
        }
    }

    /// Drops the sending side once there is nothing more to send, which tells the server so.
    fn finish_if_done(&mut self) {
        if let Link::Up { writer, .. } = &mut self.link
            && !self.has_sender
            && !self.is_unflushed
            && self.tracker.outgoing().unwritten().is_empty()
        {
            *writer = None;
        }
    }
}

/// Returns how long to wait where a server that stops has said after how many milliseconds to come back: that long, and
/// up to a quarter more by chance, but no longer than the client waits at most.
fn wait_for_server(retry: u64, most: Duration) -> Duration {
    let wait = Duration::from_millis(retry).min(most);
    wait.saturating_add(jittered(wait / 4)).min(most)
}

/// What the receiving half calls.
impl Core {
    /// Returns the next event; `None` in it once the session is over.
    ///
    /// # Errors
    ///
    /// Once: the reason for which the session is over.
    pub(in crate::client) fn next_event(&mut self) -> Option<Result<Option<Event>, Error>> {
        if let Some(event) = self.inbox.pop() {
            return Some(Ok(Some(event)));
        }
        if !matches!(self.link, Link::Over) {
            return None;
        }
        Some(self.end.take().map_or(Ok(None), Err))
    }

    /// Returns the position before the next message, or hole, that waits for the receiving half.
    pub(in crate::client) fn position(&self) -> Option<Position> {
        self.inbox.position().unwrap_or(self.tracker.position())
    }

    /// Returns the connection, if there is one.
    pub(in crate::client) const fn inbound(&mut self) -> Option<&mut Inbound> {
        match &mut self.link {
            Link::Up { inbound, .. } => Some(inbound),
            _ => None,
        }
    }

    /// Lets the session end with its connection from now on.
    pub(in crate::client) fn stop_reconnecting(&mut self) {
        self.backoff = None;
        if matches!(self.link, Link::Down(_)) {
            self.link = Link::Over;
        }
    }

    /// Notes that nobody takes events any more.
    pub(in crate::client) fn receiver_dropped(&mut self) {
        self.has_receiver = false;
        self.inbox = Inbox::default();
        self.stop_reconnecting();
    }

    /// Returns the state in a word, for debugging.
    pub(in crate::client) const fn state(&self) -> &'static str {
        match &self.link {
            Link::Up { inbound, .. } => inbound.state(),
            Link::Down(_) => "coming back",
            Link::Over => "over",
        }
    }
}

/// What the sending half calls.
impl Core {
    pub(in crate::client) const fn outgoing(&self) -> &Outgoing {
        self.tracker.outgoing()
    }

    /// Returns whether the server gives positions, once that is known.
    pub(in crate::client) fn has_positions(&mut self) -> Option<Result<bool, Error>> {
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        match self.tracker.offer() {
            Offer::Open => None,
            offer => Some(Ok(offer == Offer::Given)),
        }
    }

    /// Queues a message, once there is room.
    pub(in crate::client) fn push(&mut self, message: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| Ok(outgoing.push(message)?))
    }

    /// Queues a message, once there is room, and waits for its position.
    pub(in crate::client) fn push_awaited(&mut self, message: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| {
            outgoing.push(message)?;
            outgoing.await_last();
            Ok(())
        })
    }

    /// Queues whole frames, once there is room.
    pub(in crate::client) fn push_frames(&mut self, frames: &[u8]) -> Option<Result<(), Error>> {
        self.when_room(|outgoing| {
            outgoing.push_frames(frames);
            Ok(())
        })
    }

    fn when_room(
        &mut self,
        push: impl FnOnce(&mut Outgoing) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        if self.outgoing().is_full() {
            self.wants_flush = true;
            return None;
        }
        Some(push(self.tracker.outgoing_mut()))
    }

    /// Writes what is queued. Returns something once all of it is on its way.
    pub(in crate::client) fn flush(&mut self) -> Option<Result<(), Error>> {
        if self.outgoing().unwritten().is_empty() && !self.is_unflushed {
            return Some(Ok(()));
        }
        self.wants_flush = true;
        self.check_writable().err().map(Err)
    }

    /// Returns the position of the message that is waited for, once that is known.
    pub(in crate::client) fn confirmation(&mut self) -> Option<Result<Position, Error>> {
        match self.outgoing().outcome() {
            Some(Outcome::Confirmed(position)) => return Some(Ok(position)),
            Some(Outcome::Unknown) => return Some(Err(Error::Unconfirmed)),
            None => {}
        }
        match (&self.link, self.tracker.offer()) {
            (Link::Over, _) => Some(Err(Error::Unconfirmed)),
            (Link::Up { .. }, Offer::Missing) => Some(Err(Error::NoPositions)),
            _ => {
                self.wants_flush = true;
                None
            }
        }
    }

    /// Closes the sending side, now that everything is written.
    pub(in crate::client) fn finish(&mut self) {
        self.has_sender = false;
        self.finish_if_done();
    }

    /// Notes that nothing more is published. What was not flushed is lost.
    pub(in crate::client) fn sender_dropped(&mut self) {
        if !self.wants_flush {
            self.tracker.outgoing_mut().forget_unwritten();
        }
        self.finish();
    }

    fn check_writable(&mut self) -> Result<(), Error> {
        if let Some(error) = self.write_error.take() {
            return Err(error);
        }
        match self.link {
            Link::Up { writer: None, .. } | Link::Over => Err(Error::Closed),
            _ => Ok(()),
        }
    }
}
