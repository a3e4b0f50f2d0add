//! Links to other servers: up to an upstream, and down to the servers below.
//!
//! A room has [`Links`]. The rest of the shard tells them what happens in the channel (`joined`, `passed`,
//! `committed`, `left`) and asks what it needs to know of them; nothing outside of this folder looks at an
//! uplink or a downlink itself. What they bring enters the channel's order as all else does, by
//! [`Shard::propose`](super::Shard::propose).

mod downlink;
mod merge_queue;
pub(crate) mod received_resync;
mod uplink;

use std::time::Instant;

use super::sequence::{Proposed, Source};
use crate::channel::{FrameRun, SessionId};
use crate::peer::echo::ProbeReturn;
use crate::protocol::Cid;
use downlink::Downlinks;
pub(super) use downlink::MAX_LATE;
pub(super) use merge_queue::{Merging, SeatedServer};
pub(super) use uplink::Compared;
use uplink::Uplink;

/// The links of one channel. Most channels have none, which costs them a pointer.
#[derive(Debug, Default)]
pub(super) struct Links(Option<Box<Pair>>);

#[derive(Debug, Default)]
struct Pair {
    /// The link to an upstream, once there was one.
    up: Option<Box<Uplink>>,
    /// The servers below, once there was one.
    down: Option<Box<Downlinks>>,
}

impl Links {
    /// Returns `true` if the channel never had a link.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Returns `true` if no link to an upstream is wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.uplink().is_none_or(Uplink::is_idle)
    }

    /// Counts a run that has been queued for all members but `except` and is not stored. Returns `true` if that
    /// makes it worth probing for a ring.
    pub(super) fn passed(&mut self, run: &FrameRun, except: SessionId, now: Instant) -> bool {
        let uplink = self.uplink_mut();
        uplink.is_some_and(|uplink| uplink.passed(run, except, now))
    }

    /// Counts a run that has been committed, as [`Links::passed`] does, and numbers those of its frames that were
    /// `stored`, for the servers on both sides. Returns `true` if a ring is to be probed for.
    #[inline]
    pub(super) fn committed(
        &mut self,
        proposed: &Proposed,
        stored: Option<&FrameRun>,
        now: Instant,
    ) -> bool {
        let Some(pair) = &mut self.0 else {
            return false;
        };
        let mut is_suspect = false;
        if let Some(uplink) = &mut pair.up {
            is_suspect = uplink.passed(&proposed.run, proposed.from, now);
            if let Some(run) = stored {
                uplink.stored(run, proposed.source.origin());
            }
            if let Source::Late { .. } = proposed.source {
                uplink.stored_late();
            }
        }
        if let (Some(downlinks), Some(run)) = (&mut pair.down, stored) {
            downlinks.stored(run, proposed.from, proposed.source);
        }
        is_suspect
    }

    /// Returns `true` if that session is the link of a server below.
    pub(super) fn is_linked(&self, session: SessionId) -> bool {
        let downlinks = self.downlinks();
        downlinks.is_some_and(|downlinks| downlinks.link_of(session).is_some())
    }

    /// Takes probes for a ring that have come back out of what a member has sent, and returns what is left and
    /// the most that one of them proves; `None` if there are none.
    #[inline]
    pub(super) fn take_probes(
        &mut self,
        run: &FrameRun,
        now: Instant,
    ) -> Option<(Vec<FrameRun>, ProbeReturn)> {
        self.uplink_mut()?.take_probes(run, now)
    }

    /// Forgets a session that has left, if it was a server's. The server itself is remembered.
    pub(super) fn left(&mut self, session: SessionId) {
        if let Some(downlinks) = self.downlinks_mut() {
            downlinks.left(session);
        }
    }

    /// Returns the servers above this one for the channel, the upstream first, as far as it has told them.
    fn path(&self) -> &[u64] {
        self.uplink().map_or(&[], Uplink::path)
    }

    /// Returns `true` if the link to an upstream has this connection id there.
    pub(in crate::shard) fn has_cid_above(&self, cid: Cid) -> bool {
        self.uplink().and_then(Uplink::cid_above) == Some(cid)
    }

    fn uplink(&self) -> Option<&Uplink> {
        self.0.as_ref()?.up.as_deref()
    }

    fn uplink_mut(&mut self) -> Option<&mut Uplink> {
        self.0.as_mut()?.up.as_deref_mut()
    }

    fn downlinks(&self) -> Option<&Downlinks> {
        self.0.as_ref()?.down.as_deref()
    }

    fn downlinks_mut(&mut self) -> Option<&mut Downlinks> {
        self.0.as_mut()?.down.as_deref_mut()
    }
}
