//! Finding out whether a ring is still there, before a link is opened into it.
//!
//! A v1 server that is part of a ring cannot tell. A link that has gone round once would carry the
//! whole history round at every new attempt, so the next attempts send no more than a join frame and
//! a probe. If the probe comes back through a member, the ring stands.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::connect::Line;
use crate::peer::link::{Failure, SETTLE};
use crate::protocol::{Cid, Key, Message, encode_frame};
use crate::shard::Shard;
use crate::shard::ids::ChannelId;

/// How often it is looked whether the probe has come back.
const TICK: Duration = Duration::from_millis(20);

impl Shard {
    /// Whether the last link of the channel was part of a ring with a v1 server.
    pub(super) fn is_wary(&self, id: ChannelId) -> bool {
        let mut registry = self.registry.borrow_mut();
        let uplink = registry.room_of(id).and_then(|room| room.uplink.as_deref());
        uplink.is_some_and(|uplink| uplink.is_wary)
    }

    /// Sends a probe round on a connection that is good for nothing else. What comes down on it is
    /// not looked at.
    ///
    /// # Errors
    ///
    /// The connection failed, or the upstream closed it: the join was refused.
    pub(super) async fn scout(
        self: &Rc<Self>,
        id: ChannelId,
        target: usize,
        line: Line,
    ) -> io::Result<Option<Failure>> {
        let local = line.stream.local_addr()?;
        let Some(frames) = self.scout_frames(id, target, local)? else {
            return Ok(None);
        };
        let (mut reader, wire) = line.sides();
        wire.write_all(frames.into()).await?;
        let mut sink = tokio::io::sink();
        let closed = async {
            tokio::io::copy(&mut reader, &mut sink).await?;
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        let came_back = async {
            while !self.has_come_back(id) {
                sleep(TICK).await;
            }
            Ok(())
        };
        let outcome: Result<io::Result<()>, _> = timeout(SETTLE, async {
            tokio::select! {
                ended = closed => ended,
                back = came_back => back,
            }
        })
        .await;
        match outcome {
            Ok(result) => result.map(|()| Some(Failure::Loop)),
            Err(_elapsed) => {
                self.end_scouting(id);
                Ok(None)
            }
        }
    }

    /// A join frame and a probe. `None` if the channel has no link any more.
    fn scout_frames(
        &self,
        id: ChannelId,
        target: usize,
        local: std::net::SocketAddr,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(id) else {
            return Ok(None);
        };
        let Some(uplink) = room.uplink.as_deref_mut() else {
            return Ok(None);
        };
        let (uid, cid) = &uplink.member;
        let settings = &self.common.settings;
        let cid: Cid = settings.peer.cid.unwrap_or(*cid);
        let key = settings.keyring.session_key(local, uid, &room.name);
        let message = Message {
            uid,
            channel: &room.name,
            message: &[],
        };
        let probe = Key(uplink.targets[target].id);
        let encode = |key| encode_frame(cid, key, &message).map_err(io::Error::other);
        let frames = [encode(key)?, encode(probe)?].concat();
        uplink.scouting = Some(false);
        Ok(Some(frames))
    }

    fn has_come_back(&self, id: ChannelId) -> bool {
        let mut registry = self.registry.borrow_mut();
        let uplink = registry.room_of(id).and_then(|room| room.uplink.as_deref());
        uplink.is_some_and(|uplink| uplink.scouting == Some(true))
    }

    /// The probe has stayed away: the next link is opened as any other.
    fn end_scouting(&self, id: ChannelId) {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(id);
        if let Some(uplink) = room.and_then(|room| room.uplink.as_deref_mut()) {
            uplink.scouting = None;
            uplink.is_wary = false;
        }
    }
}
