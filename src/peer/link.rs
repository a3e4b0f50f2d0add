//! The state machine of a link: when to connect, to which upstream, and what a failure means.
//!
//! Pure: the time and the randomness are passed in. The caller does what [`Link::next`] says and
//! tells what came of it; nothing else changes the state.

use std::fmt;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::protocol::LinkRefusal;

/// Time after which a link counts as taken. A v1 server does not say that it took a join; but it would
/// have closed the connection by then.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// Random part of a ceiling; see [`crate::backoff::jittered`].
pub(crate) type Jitter = fn(Duration) -> Duration;

/// Upstreams and times of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkSettings {
    /// Number of upstreams; at least one.
    pub(crate) upstreams: usize,
    /// Ceiling of the first wait.
    pub(crate) backoff: Duration,
    /// Highest ceiling of any wait.
    pub(crate) backoff_max: Duration,
    /// Time after which a link is stable: the next wait is a short one again.
    pub(crate) stable_after: Duration,
}

/// Next step of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkStep {
    /// Nothing until something happens.
    Rest,
    /// Wait until then and ask again.
    Wait(Instant),
    /// Connect to the upstream with this index, then say [`Link::connected`] or [`Link::ended`].
    Connect(usize),
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkPhase {
    /// The channel has no members.
    Idle,
    /// There is a wait before the next attempt.
    Waiting { until: Instant },
    /// A connection to the current upstream is being opened.
    Connecting,
    /// The join is sent; nobody knows whether it was taken.
    Joining { since: Instant },
    /// The upstream has taken it.
    Up { since: Instant },
}

/// Reason why there is no link, or no link any more.
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
    /// Returns `true` if two failures are of one kind: then the second is not news.
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
    /// Number of upstreams that have failed since the last wait.
    failed: usize,
    /// The upstream that failed last, and the failure that was logged.
    told: Option<(usize, LinkFailure)>,
}

impl Link {
    /// Creates a link that rests until [`Link::start`].
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

    /// Returns the next step of the caller.
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

    /// Records that the channel has members. Returns `true` if the link has just begun: call
    /// [`Link::next`] then.
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        let begins = self.phase == LinkPhase::Idle;
        if begins {
            self.phase = LinkPhase::Waiting { until: now };
            self.target = 0;
            self.failed = 0;
        }
        begins
    }

    /// Records that the link is not needed any more, as the channel has no members.
    pub(crate) fn rest(&mut self) {
        self.phase = LinkPhase::Idle;
    }

    /// Records that the connection stands and the join is on its way.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.phase = LinkPhase::Joining { since: now };
    }

    /// Records that the upstream has taken the join: it said so, sent something, or has not closed the
    /// connection for [`SETTLE`].
    pub(crate) fn taken(&mut self, now: Instant) -> Option<LinkNews> {
        let LinkPhase::Joining { .. } = self.phase else {
            return None;
        };
        self.phase = LinkPhase::Up { since: now };
        self.failed = 0;
        self.told = None;
        Some(LinkNews::Up)
    }

    /// Records that the attempt failed or the link ended. The next upstream is tried at once, unless all
    /// have failed: then there is a wait, and the first is tried again.
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
        if was_up.is_some_and(|time| time >= self.settings.stable_after) {
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

    /// Waits for the next attempt. A ring stays a ring until somebody changes something, so that can
    /// wait longer.
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

    /// Returns the upstream in use or to be tried next.
    pub(crate) const fn target(&self) -> usize {
        self.target
    }

    /// Returns `true` if the upstream has taken the link.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.phase, LinkPhase::Up { .. })
    }

    /// Returns `true` if there is neither a connection nor an attempt.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, LinkPhase::Idle)
    }
}

#[cfg(test)]
mod tests;
