//! A session that a client of the gateway wants, on its way to the owner of its channel.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::access::Rights;
use crate::protocol::{Cid, FrameHeader, HEADER_LEN, Key, Message, ResumeRequest};
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::limits::Permit;
use crate::shard::message::{Arrival, Early, Gateway, Identity, Introduced};

/// A session that wants to join, and may.
#[derive(Debug)]
pub(super) struct NewSession {
    /// Address of the client.
    pub(super) peer: SocketAddr,
    pub(super) uid: Box<str>,
    pub(super) channel: Box<str>,
    pub(super) rights: Rights,
    /// The first body behind room for a header; `None` for one that announces the session.
    pub(super) join: Option<Vec<u8>>,
    /// Set if the first body has an empty message, so that it only announces the session.
    pub(super) is_silent: bool,
    /// Set if no other session like it may have its uid.
    pub(super) is_sole: bool,
    /// Set if its client asks for positions.
    pub(super) resume: Option<Box<ResumeRequest>>,
}

impl NewSession {
    /// Makes it an arrival on `layered`, where it stays, with a connection id of its own and the key in the headers of
    /// its frames. It is counted by `permit`, unless its connection is.
    pub(super) fn arrive(
        self,
        shard: &Shard,
        layered: &Rc<Layered>,
        permit: Option<Permit>,
    ) -> (Arrival<Rc<Layered>>, Key) {
        let access = shard.common.access();
        let key = access.frame_key(self.peer, &self.uid, &self.channel);
        let cid = Cid(rand::random());
        let mut join = self
            .join
            .unwrap_or_else(|| announcement(&self.uid, &self.channel));
        let header = FrameHeader {
            body_len: join.len() - HEADER_LEN,
            cid,
            key,
        };
        join[..HEADER_LEN].copy_from_slice(&header.encode());
        let mut resume = self.resume;
        if let Some(request) = &mut resume {
            shard.common.own_publisher(&self.rights, request);
        }
        let arrival = Arrival {
            introduced: Introduced::No,
            socket: layered.clone(),
            origin: shard.id,
            identity: Identity {
                session: shard.common.limiter.next_session(),
                cid,
                peer: self.peer,
                uid: self.uid,
                rights: self.rights,
                permit,
                transport: layered.transport(),
            },
            channel: self.channel,
            join: join.into(),
            is_silent: self.is_silent,
            resync: None,
            resume,
            gateway: Some(Gateway {
                is_sole: self.is_sole,
            }),
            early: Early::default(),
        };
        (arrival, key)
    }
}

/// Returns a body with an empty message, behind room for a header.
fn announcement(uid: &str, channel: &str) -> Vec<u8> {
    let mut frame = vec![0; HEADER_LEN];
    let message = Message {
        uid,
        channel,
        message: &[],
    };
    message.encode_into(&mut frame);
    frame
}
