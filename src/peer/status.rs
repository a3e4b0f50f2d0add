//! The status of a link, for any thread.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::escape::Escaped;

/// State of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Closed, as its channel has no members. The history of the channel is still there.
    Idle,
    /// A connection is being opened.
    Connecting,
    /// The join is sent; the upstream has not shown that it took it.
    Joining,
    /// Frames pass both ways.
    Up,
    /// Waiting for the next attempt.
    Waiting,
    /// Waiting for the next attempt, because the upstream refused the last one.
    Refused,
    /// Left out because the servers' links form a ring; tried again from time to time.
    Loop,
}

impl LinkState {
    /// All states.
    pub(crate) const ALL: [Self; 7] = [
        Self::Idle,
        Self::Connecting,
        Self::Joining,
        Self::Up,
        Self::Waiting,
        Self::Refused,
        Self::Loop,
    ];
}

/// Status of one link: of the session of one channel with the upstream server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The channel.
    pub channel: String,
    /// The upstream in use, or to be tried next.
    pub upstream: String,
    /// State of the link.
    pub state: LinkState,
    /// Time since which it has been up.
    pub connected_since: Option<SystemTime>,
    /// Reason why the last attempt failed, or the last link ended.
    pub last_failure: Option<String>,
    /// The counters, over all sessions of the link.
    pub counts: LinkCounts,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Loop => "loop",
        })
    }
}

/// One line: `link channel=… upstream=… state=…` and the counters, as in the statistics.
impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            channel,
            upstream,
            state,
            ..
        } = self;
        let channel = Escaped(channel);
        write!(
            f,
            "link channel={channel} upstream={upstream} state={state}"
        )?;
        if let Some(since) = self.connected_since {
            let seconds = since.elapsed().unwrap_or_default().as_secs();
            write!(f, " up_seconds={seconds}")?;
        }
        for (name, value) in self.counts.entries() {
            write!(f, " {name}={value}")?;
        }
        match &self.last_failure {
            Some(failure) => write!(f, " last_failure={failure:?}"),
            None => Ok(()),
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a link.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct LinkCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl LinkCounts {
            /// Returns all figures with their names, in a fixed order.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        /// Counters of a link, written by one thread and read by any.
        #[derive(Debug, Default)]
        pub(crate) struct LinkCounters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl LinkCounters {
            fn read(&self) -> LinkCounts {
                LinkCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counts! {
    /// Sessions that the upstream took.
    connects,
    /// Attempts that failed, and links that ended.
    failures,
    /// Frames queued for the upstream, those of resyncs included.
    frames_up,
    /// Their bytes.
    bytes_up,
    /// Frames that came down and were passed on.
    frames_down,
    /// Their bytes.
    bytes_down,
    /// Resyncs with at least one frame of the history.
    resyncs,
    /// Frames that came down a second time, in a replay, and were not passed on.
    duplicates_suppressed,
    /// Frames published here that had left the history before the upstream could get them, or were
    /// left out of a resync that would have been too large.
    frames_lost,
}

/// A link's entry in the directory: written by its shard, read by any thread.
#[derive(Debug)]
pub(crate) struct LinkEntry {
    channel: Box<str>,
    pub(crate) counters: LinkCounters,
    standing: Mutex<Standing>,
}

/// Part of a status that changes with the state.
#[derive(Clone, Debug)]
struct Standing {
    upstream: String,
    state: LinkState,
    connected_since: Option<SystemTime>,
    last_failure: Option<String>,
}

impl LinkEntry {
    pub(crate) fn new(channel: &str) -> Self {
        Self {
            channel: channel.into(),
            counters: LinkCounters::default(),
            standing: Mutex::new(Standing {
                upstream: String::new(),
                state: LinkState::Idle,
                connected_since: None,
                last_failure: None,
            }),
        }
    }

    /// Adds to a counter. Only the link's own shard may call this.
    pub(crate) fn add(&self, counter: impl Fn(&LinkCounters) -> &AtomicU64, n: u64) {
        let counter = counter(&self.counters);
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Records the state of the link.
    pub(crate) fn set(&self, state: LinkState, upstream: &str) {
        let mut standing = self.standing();
        standing.connected_since = match (&state, standing.connected_since) {
            (LinkState::Up, None) => Some(SystemTime::now()),
            (LinkState::Up, since) => since,
            _ => None,
        };
        standing.state = state;
        upstream.clone_into(&mut standing.upstream);
    }

    /// Records why the link failed.
    pub(crate) fn set_failure(&self, failure: String) {
        self.standing().last_failure = Some(failure);
    }

    /// Returns the name of the channel.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Returns the state of the link.
    pub(crate) fn state(&self) -> LinkState {
        self.standing().state.clone()
    }

    /// Returns the status of the link.
    pub(crate) fn status(&self) -> LinkStatus {
        let standing = self.standing().clone();
        LinkStatus {
            channel: self.channel.to_string(),
            upstream: standing.upstream,
            state: standing.state,
            connected_since: standing.connected_since,
            last_failure: standing.last_failure,
            counts: self.counters.read(),
        }
    }

    /// Locks the state. Nothing in it can be half done, so a panic elsewhere does not matter.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
