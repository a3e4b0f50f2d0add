//! Samples how long runs take from the session that publishes them to the members of their channel.
//!
//! Of the runs that the sessions of a shard, its links and its HTTP clients publish, one in [`EVERY`] is sampled, and if there are few of them one in each
//! [`TICK`](super::sampler::TICK). Only what is sampled reads a clock. Behind a sampled run goes a message of its own to the
//! other shards on its way: it is late by what the run is late.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::ids::{ChannelId, Home, ShardId};
use super::message::{Delivery, Request};

/// Number of runs of which one is sampled.
const EVERY: u32 = 1024;
/// Time after which a sampled run is given up whose members are not written to: its channel may be gone.
const LONGEST: Duration = Duration::from_secs(10);

/// The samples of one shard.
#[derive(Debug, Default)]
pub(super) struct LatencySampler {
    /// Runs until the next one that is sampled.
    left: Cell<u32>,
    /// The sampled run that is being written.
    writing: Cell<Option<Writing>>,
}

/// A sampled run that is queued for the members of a channel on this shard.
#[derive(Clone, Copy, Debug)]
struct Writing {
    /// The channel.
    home: Home,
    /// Time at which the run was read.
    read: Instant,
    /// Members that had something to be written, this run included, and are still to be written to.
    members: usize,
}

impl LatencySampler {
    /// Counts a run. Returns the time if it is to be sampled.
    #[inline]
    pub(super) fn count(&self) -> Option<Instant> {
        let left = self.left.get();
        if left > 1 {
            self.left.set(left - 1);
            return None;
        }
        self.left.set(EVERY);
        Some(Instant::now())
    }

    /// Has the next run sampled.
    pub(super) fn sample_next(&self) {
        self.left.set(0);
    }

    /// Begins to wait until `members` members of a channel are written to, unless another run is waited for.
    fn begin(&self, home: Home, read: Instant, members: usize) {
        let is_busy = self
            .writing
            .get()
            .is_some_and(|other| other.read.elapsed() < LONGEST);
        if members > 0 && !is_busy {
            self.writing.set(Some(Writing {
                home,
                read,
                members,
            }));
        }
    }

    /// Records that so many members of a channel were written to. Returns when the sampled run was read that has
    /// reached all of them by that.
    #[inline]
    fn wrote(&self, home: Home, members: usize) -> Option<Instant> {
        let writing = self.writing.get().filter(|writing| writing.home == home)?;
        let left = writing.members.saturating_sub(members);
        let is_done = left == 0;
        self.writing.set((!is_done).then_some(Writing {
            members: left,
            ..writing
        }));
        is_done.then_some(writing.read)
    }
}

impl Shard {
    /// Follows a sampled run that a session of this shard has published.
    pub(super) fn follow(self: &Rc<Self>, home: Home, read: Instant) {
        match home {
            Home::Owned(at) => self.follow_in_room(at, read),
            Home::Relayed(at) => {
                let relay = self.registry.borrow_mut().relay_at(at).map(|r| r.id);
                if let Some(channel) = relay {
                    self.request(channel.owner, Request::Follow { channel, read });
                }
            }
        }
    }

    /// Counts what is about to be published without a session. Returns the time if it is to be sampled.
    pub(crate) fn sample_publication(&self) -> Option<Instant> {
        self.latency.count()
    }

    /// Follows a sampled run that was published elsewhere, on the owner of its channel.
    pub(super) fn follow_on_owner(&self, channel: ChannelId, read: Instant) {
        let is_open = self.registry.borrow_mut().room_of(channel).is_some();
        if is_open {
            self.follow_in_room(channel.index, read);
        }
    }

    fn follow_in_room(&self, at: u32, read: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        self.is_queued(Home::Owned(at), read, room.channel.local.dirty_len());
        let (channel, relays) = (room.id, room.channel.relays());
        for shard in relays {
            self.deliver_to(ShardId(shard), Delivery::Follow { channel, read });
        }
    }

    /// Follows a sampled run that has come from the owner of its channel.
    pub(super) fn follow_on_relay(&self, channel: ChannelId, read: Instant) {
        let mut registry = self.registry.borrow_mut();
        if let Some((at, relay, _)) = registry.relay_and_dirty(channel) {
            self.is_queued(Home::Relayed(at), read, relay.local.dirty_len());
        }
    }

    fn is_queued(&self, home: Home, read: Instant, dirty: usize) {
        self.stats().queued.observe(read.elapsed());
        self.latency.begin(home, read, dirty);
    }

    /// Records that the flusher has written to so many members of a channel.
    #[inline]
    pub(super) fn has_written(&self, home: Home, members: usize) {
        if let Some(read) = self.latency.wrote(home, members) {
            self.stats().written.observe(read.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_in_many_is_sampled_and_the_first_after_a_tick() {
        let sampler = LatencySampler::default();
        let sampled = |runs: u32| (0..runs).filter_map(|_| sampler.count()).count();
        assert_eq!(sampled(1), 1);
        assert_eq!(sampled(10 * EVERY), 10);
        sampler.sample_next();
        assert_eq!(sampled(2), 1);
    }

    #[test]
    fn a_sampled_run_is_written_when_all_are_that_it_was_queued_for() {
        let sampler = LatencySampler::default();
        let (home, read) = (Home::Owned(1), Instant::now());
        sampler.begin(home, read, 3);
        sampler.begin(Home::Owned(2), read, 1);
        assert_eq!(sampler.wrote(Home::Owned(2), 1), None, "one at a time");
        assert_eq!(sampler.wrote(home, 2), None);
        assert_eq!(sampler.wrote(home, 2), Some(read));
        assert_eq!(sampler.wrote(home, 1), None);
        sampler.begin(home, read, 0);
        assert_eq!(sampler.wrote(home, 1), None, "it was queued for nobody");
    }
}
