//! One member of a channel, and what is known of its socket.

use std::time::Instant;

#[cfg(feature = "server")]
use super::encoding::Encoding;
use super::encoding::FRAMES;
use super::form::Form;
#[cfg(feature = "server")]
use super::form::Watching;
use super::merger::Merger;
use super::numbered::Numbers;
#[cfg(feature = "server")]
use super::outbox::Dropped;
use super::outbox::Outbox;
use super::settings::{ChannelSettings, SlowPolicy};
use crate::protocol::Notice;

/// Identifies one session for the lifetime of a broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session: nobody is left out of a fan-out.
    pub const NONE: Self = Self(0);
}

/// A member of a [`Fanout`](super::Fanout). `T` is what the caller needs to reach it.
#[derive(Debug)]
pub struct Member<T> {
    /// Its session.
    pub session: SessionId,
    /// The caller's own, to reach it.
    pub handle: T,
    /// The runs queued for it.
    pub outbox: Outbox,
    /// Part of the outbox's cost that is its history's. It does not count against the limits: how much
    /// history there is says nothing about how fast the member is.
    pub(super) replay: usize,
    /// Bytes of the next run that are not for it: announcements from before it joined.
    pub(super) skip: u32,
    /// Set while it is listed as dirty.
    pub(super) dirty: bool,
    /// The form of its queue.
    pub(super) form: Form,
    /// Its own policy, which replaces that of the channel.
    pub(super) policy: Option<SlowPolicy>,
    /// Set while its socket is full. Boxed, because few are at a time and every member has room for it.
    pub(super) stall: Option<Box<Stall>>,
    /// When it came to be over the high-water mark, while it is (backpressure only).
    pub(super) over_since: Option<Instant>,
}

/// A socket that is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// When the socket last took something.
    pub(super) progress: Instant,
}

impl<T> Member<T> {
    /// Creates a member with nothing queued, whose queue is made of frames. The first `skip` bytes of the next run
    /// are not for it.
    pub(super) fn new(session: SessionId, handle: T, skip: u32) -> Self {
        Self {
            session,
            handle,
            outbox: Outbox::default(),
            replay: 0,
            skip,
            dirty: false,
            form: Form::from(&FRAMES),
            policy: None,
            stall: None,
            over_since: None,
        }
    }

    /// Returns `true` if its socket is full and a task of its own waits for it.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Returns when its socket last took something; `None` while it takes all.
    #[cfg(feature = "server")]
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.progress)
    }

    /// Returns `true` if it has asked for positions.
    #[cfg(feature = "server")]
    pub(crate) fn has_positions(&self) -> bool {
        self.form.tracking.is_some()
    }

    /// Returns `true` if it is told who comes and leaves.
    #[cfg(feature = "server")]
    pub(crate) fn is_watching(&self) -> bool {
        let tracking = self.form.tracking.as_ref();
        tracking.is_some_and(|tracking| tracking.watching != Watching::No)
    }

    /// Returns `true` if a unit of its queue is partly written, so that nothing else can be written before the rest.
    #[cfg(feature = "server")]
    pub(crate) fn has_begun_unit(&self) -> bool {
        self.outbox.has_begun_unit(self.form.encoding)
    }

    /// Returns the encoding of its queue.
    #[cfg(feature = "server")]
    pub(crate) fn encoding(&self) -> &'static Encoding {
        self.form.encoding
    }

    /// Drops what is queued for it, but for the rest of a unit that is partly written.
    #[cfg(feature = "server")]
    pub(crate) fn drop_all(&mut self) -> Dropped {
        self.outbox.drop_oldest(0, &mut self.form)
    }

    /// Queues a receipt for what the member itself has published, if it has asked for positions and messages are
    /// among it. Returns `true` if so.
    pub(super) fn confirm(&mut self, numbers: Numbers, merger: &mut Merger) -> bool {
        let tracking = self.form.tracking.as_mut().filter(|_| numbers.count > 0);
        let Some(tracking) = tracking else {
            return false;
        };
        if self.form.encoding.is_silent()
            && let Some(gap) = tracking.gap_before(numbers)
        {
            self.outbox.push_merging(gap, merger);
        }
        let receipt = tracking.encode(&Notice::Receipt {
            count: numbers.count.into(),
            position: numbers.last(),
        });
        self.outbox.push_merging(receipt, merger);
        true
    }

    /// Records that `n` bytes were written to it. Returns `true` if it was over the high-water mark and is not any more.
    #[inline]
    pub(super) fn wrote(&mut self, n: usize, now: Instant, settings: &ChannelSettings) -> bool {
        if self.replay == 0 {
            self.outbox.advance(n, &mut self.form);
        } else {
            let before = self.outbox.cost();
            self.outbox.advance(n, &mut self.form);
            // It costs more where the next run of a history is longer in its encoding than as frames.
            self.replay = (self.replay + self.outbox.cost()).saturating_sub(before);
        }
        if let Some(stall) = &mut self.stall {
            stall.progress = now;
        }
        self.over_since.is_some()
            && self.live_cost() <= settings.low_water()
            && self.over_since.take().is_some()
    }

    /// Returns the cost of what is queued besides its history, see [`Outbox::cost`].
    pub(super) fn live_cost(&self) -> usize {
        self.outbox.cost() - self.replay
    }
}
