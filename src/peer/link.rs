//! The state machine of a link: when to connect, to which upstream, and what a failure means.
//!
//! Pure: the time and the randomness are passed in. The caller does what [`Link::next`] says and
//! tells what came of it; nothing else changes the state.

use std::fmt;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::protocol::LinkRefusal;

/// A v1 server does not say that it took a join. One that has kept the connection open for this
/// long has.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// Random part of a ceiling; see [`crate::backoff::jittered`].
pub(crate) type Jitter = fn(Duration) -> Duration;

/// How a link behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkSettings {
    /// How many upstreams there are; at least one.
    pub(crate) upstreams: usize,
    /// Ceilings of the first wait and of any.
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
    /// A link that held for this long is stable.
    pub(crate) stable_after: Duration,
}

/// What the caller has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkStep {
    /// Nothing until something happens.
    Rest,
    /// Ask again then.
    Wait(Instant),
    /// Connect to the upstream with this index, then say [`Link::connected`] or [`Link::ended`].
    Connect(usize),
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkPhase {
    /// The channel has no members.
    Idle,
    /// Until the next attempt.
    Waiting { until: Instant },
    /// To the current upstream.
    Connecting,
    /// The join is sent; nobody knows whether it was taken.
    Joining { since: Instant },
    /// The upstream has taken it.
    Up { since: Instant },
}

/// Why there is no link, or no link any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkFailure {
    /// No connection: not found, refused, no answer.
    Unreachable(String),
    /// The upstream said no, and why.
    Refused(LinkRefusal),
    /// The connection ended right after the join and before anything came: how v1 servers refuse.
    Closed,
    /// The servers' links form a ring, and this is the one to give up.
    Loop,
    /// A link that had been taken ended.
    Broken(String),
    /// The upstream did not take the frames fast enough, or sent what is no frame.
    Dropped(String),
}

impl LinkFailure {
    /// Whether two failures are of one kind: the second is not news.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused(a), Self::Refused(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "upstream unreachable: {error}"),
            Self::Refused(why) => write!(f, "the upstream refused the link: {why}"),
            Self::Closed => f.write_str(
                "the upstream closed the connection right after the join; likely causes: another \
                 key there, an address key behind NAT, a live session there with the same \
                 connection id (the same user, or servers that are linked in a ring)",
            ),
            Self::Loop => f.write_str(
                "the servers' links form a ring; this link is left out so that no frame goes round",
            ),
            Self::Broken(error) => write!(f, "link broken: {error}"),
            Self::Dropped(error) => write!(f, "link given up: {error}"),
        }
    }
}

/// A change worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkNews {
    /// The link is up.
    Up,
    /// It failed, in another way than the last time.
    Failed(LinkFailure),
}

/// One link of one channel.
#[derive(Debug)]
pub(crate) struct Link {
    settings: LinkSettings,
    jitter: Jitter,
    backoff: Backoff,
    phase: LinkPhase,
    /// The upstream in use or to be tried next.
    target: usize,
    /// How many of the upstreams have failed since the last wait.
    failed: usize,
    /// The last failure that was told, and of which upstream.
    told: Option<(usize, LinkFailure)>,
}

impl Link {
    /// A link that rests until [`Link::start`].
    pub(crate) fn new(settings: LinkSettings, jitter: Jitter) -> Self {
        Self {
            settings,
            jitter,
            backoff: Backoff::new(settings.backoff, settings.backoff_max),
            phase: LinkPhase::Idle,
            target: 0,
            failed: 0,
            told: None,
        }
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Instant) -> LinkStep {
        match self.phase {
            LinkPhase::Waiting { until } if now < until => LinkStep::Wait(until),
            LinkPhase::Waiting { .. } => {
                self.phase = LinkPhase::Connecting;
                LinkStep::Connect(self.target)
            }
            LinkPhase::Idle
            | LinkPhase::Connecting
            | LinkPhase::Joining { .. }
            | LinkPhase::Up { .. } => LinkStep::Rest,
        }
    }

    /// The channel has members. Returns whether the link has just begun: call [`Link::next`].
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        let begins = self.phase == LinkPhase::Idle;
        if begins {
            self.phase = LinkPhase::Waiting { until: now };
            self.target = 0;
            self.failed = 0;
        }
        begins
    }

    /// The channel has no members, and the link is not needed any more.
    pub(crate) fn rest(&mut self) {
        self.phase = LinkPhase::Idle;
    }

    /// The connection stands and the join is on its way.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.phase = LinkPhase::Joining { since: now };
    }

    /// The upstream has taken the join: it said so, sent something, or has kept the connection
    /// open for [`SETTLE`].
    pub(crate) fn taken(&mut self, now: Instant) -> Option<LinkNews> {
        let LinkPhase::Joining { .. } = self.phase else {
            return None;
        };
        self.phase = LinkPhase::Up { since: now };
        self.failed = 0;
        self.told = None;
        Some(LinkNews::Up)
    }

    /// The attempt failed or the link ended. The next upstream is tried at once, unless all have
    /// failed: then there is a wait, and the first is tried again.
    pub(crate) fn ended(&mut self, failure: LinkFailure, now: Instant) -> Option<LinkNews> {
        let failure = match (self.phase, failure) {
            (LinkPhase::Joining { since }, LinkFailure::Broken(_)) if now < since + SETTLE => {
                LinkFailure::Closed
            }
            (_, failure) => failure,
        };
        let was_up = match self.phase {
            LinkPhase::Up { since } => Some(now.duration_since(since)),
            _ => None,
        };
        if was_up.is_some_and(|held| held >= self.settings.stable_after) {
            self.backoff.reset();
        }
        let told = (self.target, failure);
        let is_news = self
            .told
            .as_ref()
            .is_none_or(|(target, before)| *target != told.0 || !before.is_like(&told.1));
        let news = is_news.then(|| LinkNews::Failed(told.1.clone()));
        let is_loop = matches!(
            told.1,
            LinkFailure::Loop | LinkFailure::Refused(LinkRefusal::Loop)
        );
        self.told = Some(told);
        self.failed += 1;
        if was_up.is_some() || is_loop || self.failed >= self.settings.upstreams {
            self.target = 0;
            self.failed = 0;
            self.wait(is_loop, now);
        } else {
            self.target = (self.target + 1) % self.settings.upstreams;
            self.phase = LinkPhase::Waiting { until: now };
        }
        news
    }

    /// A ring stays a ring until somebody changes something: the next attempt can wait.
    fn wait(&mut self, is_loop: bool, now: Instant) {
        let ceiling = self.backoff.next_ceiling();
        let wait = if is_loop {
            let max = self.settings.backoff_max;
            max / 2 + (self.jitter)(max / 2)
        } else {
            (self.jitter)(ceiling)
        };
        self.phase = LinkPhase::Waiting { until: now + wait };
    }

    /// The upstream in use or to be tried next.
    pub(crate) const fn target(&self) -> usize {
        self.target
    }

    /// Whether the upstream has taken the link.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.phase, LinkPhase::Up { .. })
    }

    /// Whether there is neither a connection nor an attempt.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, LinkPhase::Idle)
    }
}

#[cfg(test)]
mod tests;
