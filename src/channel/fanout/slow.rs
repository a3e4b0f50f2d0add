//! The fate of slow members: their sockets are full, or they are over a limit.

use std::time::Instant;

use super::Fanout;
use crate::channel::member::Stall;
use crate::channel::members::MemberKey;
use crate::channel::outbox::Dropped;
use crate::channel::settings::{ChannelSettings, SlowPolicy};

/// Reason for which a member has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowReason {
    /// More than `queue_bytes` were queued for it besides its history.
    QueueFull,
    /// Its socket took nothing for `write_deadline`.
    NoProgress,
    /// It held the channel's publishers back for `write_deadline`.
    HeldBack,
}

/// Outcome of applying the policy to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The member is within its limits, or is being waited for.
    Keep,
    /// These frames were dropped from its queue.
    Dropped(Dropped),
    /// The member has to be disconnected.
    Disconnect(SlowReason),
}

impl<T> Fanout<T> {
    /// Records that the member's socket is full (`true`) or that all was written (`false`).
    /// Returns `true` if that is news.
    pub fn set_stalled(&mut self, key: MemberKey, stalled: bool, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(key) else {
            return false;
        };
        let news = member.stall.is_some() != stalled;
        if news {
            member.stall = stalled.then(|| Box::new(Stall { progress: now }));
        }
        news
    }

    /// Records that the member's socket took something at `now` that [`Fanout::wrote`] was not told.
    #[cfg(feature = "server")]
    pub(crate) fn progressed(&mut self, key: MemberKey, now: Instant) {
        let member = self.members.get_mut(key);
        if let Some(stall) = member.and_then(|member| member.stall.as_mut()) {
            stall.progress = stall.progress.max(now);
        }
    }

    /// Returns when the member has to be disconnected if nothing changes; `None` while it is not stalled.
    #[must_use]
    pub fn deadline(&self, key: MemberKey, settings: &ChannelSettings) -> Option<Instant> {
        let member = self.members.get(key)?;
        let mut since = member.stall.as_ref()?.progress;
        if let Some(over) = member.over_since {
            since = since.min(over);
        }
        Some(since + settings.write_deadline)
    }

    /// Records that the channel has other settings: without back pressure nobody holds its publishers back any more.
    #[cfg(feature = "server")]
    pub(crate) fn policy_changed(&mut self, settings: &ChannelSettings) {
        if self.over == 0 {
            return;
        }
        for (_, member) in self.members.iter_mut() {
            let policy = member.policy.unwrap_or(settings.slow_policy);
            if policy != SlowPolicy::Backpressure && member.over_since.take().is_some() {
                self.over -= 1;
            }
        }
    }

    /// Applies the policy to a stalled member.
    pub fn enforce(&mut self, key: MemberKey, now: Instant, settings: &ChannelSettings) -> Verdict {
        let is_overdue = self
            .deadline(key, settings)
            .is_some_and(|deadline| now >= deadline);
        let Some(member) = self.members.get_mut(key) else {
            return Verdict::Keep;
        };
        if is_overdue {
            return Verdict::Disconnect(match member.over_since {
                Some(_) => SlowReason::HeldBack,
                None => SlowReason::NoProgress,
            });
        }
        let policy = member.policy.unwrap_or(settings.slow_policy);
        if member.live_cost() <= high_water(policy, settings) {
            return Verdict::Keep;
        }
        match policy {
            SlowPolicy::Disconnect => Verdict::Disconnect(SlowReason::QueueFull),
            SlowPolicy::DropOldest => {
                // What is left of the history fits the limit now.
                member.replay = 0;
                let (outbox, keep) = (&mut member.outbox, settings.queue_bytes);
                Verdict::Dropped(outbox.drop_oldest(keep, &mut member.form))
            }
            SlowPolicy::Backpressure => {
                if member.over_since.is_none() {
                    member.over_since = Some(now);
                    self.over += 1;
                }
                Verdict::Keep
            }
        }
    }
}

/// Returns the queued bytes from which on the policy acts.
fn high_water(policy: SlowPolicy, settings: &ChannelSettings) -> usize {
    match policy {
        SlowPolicy::Backpressure => settings.queue_bytes / 2,
        SlowPolicy::Disconnect | SlowPolicy::DropOldest => settings.queue_bytes,
    }
}
