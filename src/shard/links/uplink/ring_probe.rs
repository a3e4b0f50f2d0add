//! Probes for a ring of servers: frames that come back here only if the links form one.
//!
//! They go up on a link when something has come back that makes a ring likely. They also go up before a link is
//! opened again that was part of one: a v1 server in a ring cannot tell, and the link would carry the whole history
//! round at every new attempt. So such an attempt sends no more than a join frame and probes, one after the other. If
//! these come back through a member, the ring stands.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::Uplink;
use super::connect::Line;
use super::incoming::key_of;
use crate::channel::FrameRun;
use crate::peer::echo::{PROOFS, ProbeReturn};
use crate::peer::link::{LinkFailure, SETTLE};
use crate::protocol::{Cid, Key, Message, encode_frame, frames};
use crate::shard::Shard;
use crate::shard::ids::{ChannelId, Home};
use crate::shard::stream::StreamWriter;

/// Time between two looks for a probe that comes back.
const TICK: Duration = Duration::from_millis(20);

impl Shard {
    /// Acts on a probe that has come back through a member: sends the next, or gives the link up when enough have
    /// come.
    pub(in crate::shard) fn on_returned_probe(
        self: &Rc<Self>,
        at: u32,
        returned: ProbeReturn,
        now: Instant,
    ) {
        match returned {
            ProbeReturn::No | ProbeReturn::Spent => {}
            ProbeReturn::Proof => self.send_probe(at, now),
            ProbeReturn::Ring => {
                let mut registry = self.registry.borrow_mut();
                let uplink = registry.room(at).and_then(|room| room.links.uplink_mut());
                let attached = uplink.and_then(|uplink| uplink.attached.as_ref());
                let session = attached.map(|attached| attached.session.clone());
                drop(registry);
                if let Some(session) = session {
                    self.give_up(at, &session, LinkFailure::Loop);
                }
            }
        }
    }

    /// Sends a frame up that comes back from below if there is a ring.
    pub(in crate::shard) fn send_probe(self: &Rc<Self>, at: u32, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let uplink = room.links.uplink_mut();
        let probe = uplink.and_then(|uplink| {
            let member = uplink.attached.as_ref()?.session.key.get()?;
            Some((member, uplink.probe(&room.name, now)?))
        });
        if let Some((member, probe)) = probe {
            room.channel.local.replay(member, [probe]);
            self.flush_soon(registry, Home::Owned(at));
        }
    }

    /// Returns `true` if the last link of the channel was part of a ring with a v1 server.
    pub(super) fn is_wary(&self, id: ChannelId) -> bool {
        self.with_uplink(id, |_, uplink| uplink.is_wary)
            .unwrap_or_default()
    }

    /// Sends probes round on a connection that is good for nothing else. What comes down on it is
    /// not looked at.
    ///
    /// # Errors
    ///
    /// The connection failed, or the upstream closed it: the join was refused.
    pub(super) async fn probe_ring(
        self: &Rc<Self>,
        id: ChannelId,
        line: Line,
    ) -> io::Result<Option<LinkFailure>> {
        let local = line.stream.local_addr()?;
        let Some(join) = self.with_uplink(id, |channel, uplink| {
            uplink.prober.reset();
            let (uid, cid) = (&uplink.member.0, self.scout_cid(uplink));
            let message = Message {
                uid,
                channel,
                message: &[],
            };
            let key = self.common.access().link_key(local, uid, channel);
            encode_frame(cid, key, &message).map_err(io::Error::other)
        }) else {
            return Ok(None);
        };
        let join = join?;
        let (mut reader, writer) = line.sides();
        let mut sink = tokio::io::sink();
        let closed = async {
            tokio::io::copy(&mut reader, &mut sink).await?;
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        let is_ring = tokio::select! {
            ended = closed => ended,
            is_ring = self.prove(id, &writer, join) => is_ring,
        };
        if is_ring? {
            return Ok(Some(LinkFailure::Loop));
        }
        // The next link is opened as any other.
        self.with_uplink(id, |_, uplink| uplink.is_wary = false);
        Ok(None)
    }

    /// Joins and sends probes, each when the one before has come back. Returns `false` if one stays away, however many have
    /// come back before, and `true` once the ring is proven.
    async fn prove(&self, id: ChannelId, writer: &StreamWriter, join: Bytes) -> io::Result<bool> {
        let Ok(joined) = timeout(SETTLE, writer.write_all(join)).await else {
            return Ok(false);
        };
        joined?;
        for proofs in 0..PROOFS {
            // Each has its time: a busy server may be slow, and still be part of a ring.
            match timeout(SETTLE, self.probe_once(id, writer, proofs)).await {
                Ok(returned) => returned?,
                Err(_elapsed) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Sends a probe, and waits until it has come back, after `proofs` others in a row.
    async fn probe_once(
        &self,
        id: ChannelId,
        writer: &StreamWriter,
        proofs: u32,
    ) -> io::Result<()> {
        let probe = self.with_uplink(id, |channel, uplink| {
            let cid = self.scout_cid(uplink);
            uplink.probe_as(cid, channel, Instant::now())
        });
        if let Some(probe) = probe.flatten() {
            writer.write_all(probe).await?;
        }
        let came = || self.with_uplink(id, |_, uplink| uplink.prober.proofs());
        while came().unwrap_or_default() <= proofs {
            sleep(TICK).await;
        }
        Ok(())
    }

    fn scout_cid(&self, uplink: &Uplink) -> Cid {
        self.common.settings().peer.cid.unwrap_or(uplink.member.1)
    }

    /// Looks at the link of a channel, if it still has one.
    fn with_uplink<T>(
        &self,
        id: ChannelId,
        look: impl FnOnce(&str, &mut Uplink) -> T,
    ) -> Option<T> {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(id)?;
        let uplink = room.links.uplink_mut()?;
        Some(look(&room.name, uplink))
    }
}

impl Uplink {
    /// Takes the probes out of a run of a member's, and tells the most that one of them proves; `None`
    /// if there are none. What is left shares the run's buffer.
    pub(in crate::shard::links) fn take_probes(
        &mut self,
        run: &FrameRun,
        now: Instant,
    ) -> Option<(Vec<FrameRun>, ProbeReturn)> {
        if !self.prober.is_watching() {
            return None;
        }
        let (mut rest, mut most) = (Vec::new(), ProbeReturn::No);
        let (mut start, mut end, mut kept) = (0, 0, 0);
        for frame in frames(run.bytes()) {
            let returned =
                key_of(frame).map_or(ProbeReturn::No, |key| self.prober.came_back(key, now));
            if returned == ProbeReturn::No {
                kept += 1;
            } else {
                most = most.max(returned);
                rest.extend(run.part(start..end, kept));
                (start, kept) = (end + frame.len(), 0);
            }
            end += frame.len();
        }
        rest.extend(run.part(start..end, kept));
        (most != ProbeReturn::No).then_some((rest, most))
    }

    /// Makes a probe for the session, unless one is on its way.
    fn probe(&mut self, channel: &str, now: Instant) -> Option<Bytes> {
        let cid = self.attached.as_ref()?.session.cid;
        self.probe_as(cid, channel, now)
    }

    /// Makes a frame that comes back here only if the servers' links form a ring, unless one is on its
    /// way. To everybody else it is a hint of presence.
    fn probe_as(&mut self, cid: Cid, channel: &str, now: Instant) -> Option<Bytes> {
        let message = Message {
            uid: &self.member.0,
            channel,
            message: &[],
        };
        let token = rand::random();
        let is_due = self.prober.send(token, now);
        let frame = is_due.then(|| encode_frame(cid, Key(token), &message));
        frame?.ok()
    }
}
