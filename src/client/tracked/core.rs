//! The connection of a session that asks for positions, and what waits for its halves.

mod receiving;
mod sending;
mod writing;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep, sleep_until};

use super::inbox::Inbox;
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
