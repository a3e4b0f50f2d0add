//! Finding out whether a ring is still there, before a link is opened into it.
//!
//! A v1 server that is part of a ring cannot tell. A link that has gone round once would carry the
//! whole history round at every new attempt, so the next attempts send no more than a join frame and
//! probes, one after the other. If they come back through a member, the ring stands.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::Uplink;
use super::connect::Line;
use crate::peer::echo::PROOFS;
use crate::peer::link::{LinkFailure, SETTLE};
use crate::protocol::{Cid, Message, encode_frame};
use crate::shard::Shard;
use crate::shard::ids::ChannelId;
use crate::shard::stream::StreamWriter;

/// How often it is looked whether the probe has come back.
const TICK: Duration = Duration::from_millis(20);

impl Shard {
    /// Whether the last link of the channel was part of a ring with a v1 server.
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
            let access = &self.common.access;
            let key = access.session_key(local, uid, channel);
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
        let outcome: Result<io::Result<()>, _> = timeout(SETTLE, async {
            tokio::select! {
                ended = closed => ended,
                proven = self.prove(id, &writer, join) => proven,
            }
        })
        .await;
        match outcome {
            Ok(result) => result.map(|()| Some(LinkFailure::Loop)),
            Err(_elapsed) => {
                // The probes have stayed away: the next link is opened as any other.
                self.with_uplink(id, |_, uplink| uplink.is_wary = false);
                Ok(None)
            }
        }
    }

    /// Joins and sends probes, each when the one before has come back, until the ring is proven.
    async fn prove(&self, id: ChannelId, writer: &StreamWriter, join: Bytes) -> io::Result<()> {
        writer.write_all(join).await?;
        let mut proofs = 0;
        while proofs < PROOFS {
            let probe = self.with_uplink(id, |channel, uplink| {
                let cid = self.scout_cid(uplink);
                uplink.probe_as(cid, channel, Instant::now())
            });
            if let Some(probe) = probe.flatten() {
                writer.write_all(probe).await?;
            }
            sleep(TICK).await;
            let came = self.with_uplink(id, |_, uplink| uplink.prober.proofs());
            proofs = came.unwrap_or_default();
        }
        Ok(())
    }

    fn scout_cid(&self, uplink: &Uplink) -> Cid {
        self.common.settings.peer.cid.unwrap_or(uplink.member.1)
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
