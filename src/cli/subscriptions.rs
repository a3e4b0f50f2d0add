//! Receiving from sessions, and telling the user when connections are lost and back.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::duration::in_words;
use super::failure::CommandFailure;
use super::history_end::HistoryEnd;
use super::output::say;
use super::refusal::RefusalGuide;
use crate::client::{Event, Received, Subscriber};
use crate::escape::escape_for_terminal;

/// A server that refuses a join does so within this time. Only then is a connection said to be back.
const PROVEN: Duration = Duration::from_millis(2500);

/// Most causes that are kept in mind as told.
const MAX_TOLD: usize = 16;

/// Receives from several sessions, in turn.
pub(super) struct Subscriptions<'a> {
    list: Vec<Subscription<'a>>,
    /// The index of the one that was asked last.
    turn: usize,
    told: Told,
    guide: &'a RefusalGuide,
    /// Fires when the next connection has proven itself.
    proven: Pin<Box<Sleep>>,
}

/// Event of one of the sessions.
pub(super) enum SessionEvent {
    Message(Received),
    Gap(Gap),
    Rights(Rights),
    Members(Members),
}

/// News of who is in a channel.
pub(super) struct Members {
    pub(super) channel: String,
    /// Number of members.
    pub(super) count: u64,
    pub(super) names: MemberNames,
}

/// The uids in news of members.
pub(super) enum MemberNames {
    /// Of those who are there, as many as were asked for.
    All(Vec<Box<str>>),
    /// Of those who have come and left.
    Changes {
        joined: Vec<Box<str>>,
        left: Vec<Box<str>>,
    },
}

/// Rights of a session in its channel.
pub(super) struct Rights {
    pub(super) channel: String,
    pub(super) allowed: Vec<Box<str>>,
}

impl Rights {
    /// Returns what is wrong if the session lacks this right.
    pub(super) fn lack(&self, right: &str) -> Option<String> {
        let is_there = self.allowed.iter().any(|allowed| **allowed == *right);
        (!is_there).then(|| {
            let channel = escape_for_terminal(self.channel.as_bytes());
            format!("no {right} right in channel \"{channel}\"")
        })
    }
}

/// A hole in a channel.
pub(super) struct Gap {
    pub(super) channel: String,
    /// Number of messages, if it is known.
    pub(super) missed: Option<u64>,
}

/// A session, and the state of its connection.
struct Subscription<'a> {
    channel: &'a str,
    subscriber: &'a mut Subscriber,
    state: ConnectionState,
    /// Present where the history is left out.
    history: Option<HistoryEnd>,
}

/// The state of the connection under a session that comes back.
#[derive(Clone, Copy)]
enum ConnectionState {
    Up,
    Down,
    /// Connected again, but nothing shows yet that the server has let us in.
    Back(Instant),
}

/// The causes that the user has been told since all was well.
#[derive(Default)]
struct Told(Vec<String>);

impl<'a> Subscriptions<'a> {
    pub(super) fn new(
        subscribers: impl IntoIterator<Item = (&'a str, &'a mut Subscriber)>,
        guide: &'a RefusalGuide,
    ) -> Self {
        let subscription = |(channel, subscriber)| Subscription {
            channel,
            subscriber,
            state: ConnectionState::Up,
            history: None,
        };
        Self {
            list: subscribers.into_iter().map(subscription).collect(),
            turn: 0,
            told: Told::default(),
            guide,
            proven: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Leaves out what comes before the end of the history, for each session in their order.
    pub(super) fn without_history(&mut self, ends: impl IntoIterator<Item = Option<HistoryEnd>>) {
        for (subscription, end) in self.list.iter_mut().zip(ends) {
            subscription.history = end;
        }
    }

    /// Waits for the next message of any session, a gap, news of members, or what it may do. Calls `flush` before each wait.
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
    ) -> Result<SessionEvent, CommandFailure> {
        poll_fn(|cx| {
            loop {
                match self.poll_event(cx)? {
                    Poll::Ready(event) => {
                        if let Some(arrival) = self.taken(event) {
                            return Poll::Ready(Ok(arrival));
                        }
                    }
                    Poll::Pending if self.has_proven(cx) => {}
                    Poll::Pending => {
                        flush().map_err(CommandFailure::Output)?;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Result<Poll<Event>, CommandFailure> {
        for _ in 0..self.list.len() {
            self.turn = (self.turn + 1) % self.list.len();
            let subscription = &mut self.list[self.turn];
            if let Poll::Ready(event) = pin!(subscription.subscriber.next_event()).poll(cx) {
                return event?
                    .map(Poll::Ready)
                    .ok_or(CommandFailure::ClosedByServer);
            }
        }
        Ok(Poll::Pending)
    }

    /// Returns what the event is for the caller, if it is anything; tells the user of others.
    fn taken(&mut self, event: Event) -> Option<SessionEvent> {
        let subscription = &mut self.list[self.turn];
        match event {
            Event::Message(message) => {
                if matches!(subscription.state, ConnectionState::Back(_)) {
                    subscription.state = ConnectionState::Up;
                    self.tell_if_all_are_up();
                }
                let history = self.list[self.turn].history.as_ref();
                let is_old = history.is_some_and(|history| history.is_before(&message));
                return (!is_old).then_some(SessionEvent::Message(message));
            }
            Event::Malformed { error, .. } => {
                say(format_args!("mles: skipped a malformed message: {error}"));
            }
            Event::Disconnected { error, retry_in } => {
                subscription.set_state(ConnectionState::Down);
                self.told.lost(self.guide.words(&error), retry_in);
            }
            Event::Gap { missed } => {
                let channel = subscription.channel.to_owned();
                return Some(SessionEvent::Gap(Gap { channel, missed }));
            }
            Event::Rights { allowed } => {
                let channel = subscription.channel.to_owned();
                return Some(SessionEvent::Rights(Rights { channel, allowed }));
            }
            Event::Members { count, uids } => {
                return Some(subscription.members(count, MemberNames::All(uids)));
            }
            Event::MembersChanged {
                count,
                joined,
                left,
            } => {
                return Some(subscription.members(count, MemberNames::Changes { joined, left }));
            }
            Event::Unconfirmed { count } => say(format_args!(
                "mles: WARNING: it is not known if what was said before the connection was lost has arrived ({})",
                messages(count)
            )),
            Event::Reconnected => {
                let until = Instant::now() + PROVEN;
                subscription.set_state(ConnectionState::Back(until));
                self.proven.as_mut().reset(until);
            }
            Event::TokenRefused { reason } => {
                say(format_args!(
                    "the server does not take the new token: {reason}"
                ));
            }
            Event::Confirmed { .. } => {}
        }
        None
    }

    /// Returns `true` if a connection has just proven itself by silence.
    fn has_proven(&mut self, cx: &mut Context<'_>) -> bool {
        let is_waited_for = |subscription: &Subscription<'_>| {
            matches!(subscription.state, ConnectionState::Back(_))
        };
        if !self.list.iter().any(is_waited_for) || self.proven.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        for subscription in &mut self.list {
            if matches!(subscription.state, ConnectionState::Back(until) if until <= now) {
                subscription.state = ConnectionState::Up;
            }
        }
        self.tell_if_all_are_up();
        true
    }

    fn tell_if_all_are_up(&mut self) {
        let is_up =
            |subscription: &Subscription<'_>| matches!(subscription.state, ConnectionState::Up);
        if self.list.iter().all(is_up) {
            self.told.back();
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = escape_for_terminal(self.channel.as_bytes());
        match self.missed {
            Some(count) => write!(f, "{} missing here on \"{channel}\"", messages(count)),
            None => write!(
                f,
                "messages may be missing here on \"{channel}\": the server does not know what came before"
            ),
        }
    }
}

/// Returns a number of messages in words.
fn messages(count: u64) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, count, .. } = self;
        let channel = escape_for_terminal(channel.as_bytes());
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} member{plural} on \"{channel}\"")?;
        let lists: [(&str, &[Box<str>]); 2] = match &self.names {
            MemberNames::All(uids) => [("", uids), ("", &[])],
            MemberNames::Changes { joined, left } => [(" joined", joined), (" left", left)],
        };
        let mut separator = ": ";
        for (what, uid) in lists
            .iter()
            .flat_map(|(what, uids)| uids.iter().map(move |uid| (what, uid)))
        {
            write!(
                f,
                "{separator}{}{what}",
                escape_for_terminal(uid.as_bytes())
            )?;
            separator = ", ";
        }
        match &self.names {
            MemberNames::All(uids) if *count > uids.len() as u64 => {
                write!(f, "{separator}and {} more", count - uids.len() as u64)
            }
            _ => Ok(()),
        }
    }
}

impl Subscription<'_> {
    fn members(&self, count: u64, names: MemberNames) -> SessionEvent {
        let channel = self.channel.to_owned();
        SessionEvent::Members(Members {
            channel,
            count,
            names,
        })
    }

    fn set_state(&mut self, state: ConnectionState) {
        self.state = state;
        if let Some(history) = &self.history {
            history.set_up(!matches!(state, ConnectionState::Down));
        }
    }
}

impl Told {
    /// Tells that a connection was lost, or could not be had: each cause once.
    fn lost(&mut self, cause: String, retry_in: Duration) {
        if self.0.contains(&cause) {
            return;
        }
        say(format_args!(
            "mles: {cause}; trying again in {}, then less often",
            in_words(retry_in)
        ));
        if self.0.len() == MAX_TOLD {
            self.0.remove(0);
        }
        self.0.push(cause);
    }

    /// Tells that all is well.
    fn back(&mut self) {
        say("mles: connected");
        self.0.clear();
    }
}
