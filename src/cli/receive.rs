//! Receiving from sessions, and telling the user when connections are lost and back.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::failure::{Failure, explained};
use super::output::say;
use crate::client::{Event, Received, Subscriber};

/// A server that refuses a join does so within this time. Only then is a connection said to be back.
const PROVEN: Duration = Duration::from_millis(2500);

/// Most causes that are kept in mind as told.
const MAX_TOLD: usize = 16;

/// Receives from all of some sessions, in turn.
pub(super) struct Receiver<'a> {
    lines: Vec<Line<'a>>,
    turn: usize,
    told: Told,
    /// Until the next connection has proven itself.
    proven: Pin<Box<Sleep>>,
}

struct Line<'a> {
    subscriber: &'a mut Subscriber,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Up,
    Down,
    /// Connected again, but nothing shows yet that the server has let us in.
    Back(Instant),
}

/// What the user has been told since all was well.
#[derive(Default)]
struct Told(Vec<String>);

impl<'a> Receiver<'a> {
    pub(super) fn new(subscribers: impl IntoIterator<Item = &'a mut Subscriber>) -> Self {
        let line = |subscriber| Line {
            subscriber,
            state: State::Up,
        };
        Self {
            lines: subscribers.into_iter().map(line).collect(),
            turn: 0,
            told: Told::default(),
            proven: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// The next message of any session. `flush` is called before each wait.
    ///
    /// # Errors
    ///
    /// When a session has ended, and when flushing fails.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a new future goes on where the last one stopped.
    pub(super) async fn next(
        &mut self,
        mut flush: impl FnMut() -> io::Result<()>,
    ) -> Result<Received, Failure> {
        poll_fn(|cx| {
            loop {
                match self.poll_event(cx)? {
                    Poll::Ready(event) => {
                        if let Some(message) = self.taken(event) {
                            return Poll::Ready(Ok(message));
                        }
                    }
                    Poll::Pending if self.has_proven(cx) => {}
                    Poll::Pending => {
                        flush().map_err(Failure::Output)?;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Result<Poll<Event>, Failure> {
        for _ in 0..self.lines.len() {
            self.turn = (self.turn + 1) % self.lines.len();
            let line = &mut self.lines[self.turn];
            if let Poll::Ready(event) = pin!(line.subscriber.next_event()).poll(cx) {
                return event?.map(Poll::Ready).ok_or(Failure::ClosedByServer);
            }
        }
        Ok(Poll::Pending)
    }

    /// The message, if the event is one; of others the user is told.
    fn taken(&mut self, event: Event) -> Option<Received> {
        let line = &mut self.lines[self.turn];
        match event {
            Event::Message(message) => {
                if matches!(line.state, State::Back(_)) {
                    line.state = State::Up;
                    self.tell_if_all_are_up();
                }
                return Some(message);
            }
            Event::Malformed { error, .. } => {
                say(format_args!("mles: skipped a malformed message: {error}"));
            }
            Event::Disconnected { error, retry_in } => {
                line.state = State::Down;
                self.told.lost(explained(&error), retry_in);
            }
            Event::Reconnected => {
                let until = Instant::now() + PROVEN;
                line.state = State::Back(until);
                self.proven.as_mut().reset(until);
            }
        }
        None
    }

    /// Returns `true` if a connection has just proven itself by silence.
    fn has_proven(&mut self, cx: &mut Context<'_>) -> bool {
        let is_waited_for = |line: &Line<'_>| matches!(line.state, State::Back(_));
        if !self.lines.iter().any(is_waited_for) || self.proven.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        for line in &mut self.lines {
            if matches!(line.state, State::Back(until) if until <= now) {
                line.state = State::Up;
            }
        }
        self.tell_if_all_are_up();
        true
    }

    fn tell_if_all_are_up(&mut self) {
        let is_up = |line: &Line<'_>| matches!(line.state, State::Up);
        if self.lines.iter().all(is_up) {
            self.told.back();
        }
    }
}

impl Told {
    /// A connection was lost, or could not be had: each cause is told once.
    fn lost(&mut self, cause: String, retry_in: Duration) {
        if self.0.contains(&cause) {
            return;
        }
        say(format_args!(
            "mles: {cause}; trying again in {retry_in:.1?}, then less and less often"
        ));
        if self.0.len() == MAX_TOLD {
            self.0.remove(0);
        }
        self.0.push(cause);
    }

    /// All is well.
    fn back(&mut self) {
        say("mles: connected");
        self.0.clear();
    }
}
