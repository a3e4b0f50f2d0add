//! How the sessions of a WebSocket connection join.

use std::collections::HashMap;
use std::rc::Rc;

use super::closing::Closing;
use super::{WsConnection, WsSession, WsSessions};
use crate::access::{Proof, Rights};
use crate::gateway::framing;
use crate::protocol::{BodyPrefix, Cid, FrameHeader, HEADER_LEN, Key, Message, encode_frame};
use crate::shard::Shard;
use crate::shard::message::{Arrival, Early, Gateway, Identity};
use crate::shard::refusal::Refusal;
use crate::websocket::{Greeting, Kind};

/// Longest greeting of a v2 client, in bytes: two long names and a hash.
const MAX_GREETING: usize = 4096;

/// Most sessions of one connection: some work is done for each of them with every read.
const MAX_SESSIONS: usize = 1000;

/// A session that wants to join, and may.
struct NewSession {
    uid: Box<str>,
    channel: Box<str>,
    rights: Rights,
    /// The whole join frame; connection id and key are filled in.
    join: Vec<u8>,
    /// Set if the join frame has an empty message.
    is_silent: bool,
    /// Set if no other v2 session may have its uid.
    is_sole: bool,
}

impl WsConnection {
    /// Takes the first message, which decides which protocol is spoken.
    pub(super) async fn first(&mut self, kind: Kind, message: &[u8]) -> Result<(), Closing> {
        match kind {
            Kind::Binary => {
                let join = [&[0; HEADER_LEN], message].concat();
                self.sessions = WsSessions::Many(HashMap::new());
                self.layered.set_framing(&framing::V1);
                self.join_pair(join).await
            }
            Kind::Text => self.greet(message).await,
        }
    }

    /// Joins as a (uid, channel) pair of Mles v1. `join` is its first body behind room for a header.
    pub(super) async fn join_pair(&mut self, join: Vec<u8>) -> Result<(), Closing> {
        let message = Message::decode(&join[HEADER_LEN..]).map_err(|e| Closing::bad_body(&e))?;
        let (uid, channel): (Box<str>, Box<str>) = (message.uid.into(), message.channel.into());
        let proof = Proof::Request(&self.proof);
        let rights = self.check(proof, &uid, &channel)?;
        let sessions = self.sessions.iter().count();
        if sessions > 0 && !self.shard.is_running() {
            // The others get what is queued for them, and then the end.
            self.shard.stats().orphaned_frames.add(1);
            return Ok(());
        }
        if sessions >= MAX_SESSIONS {
            return Err(Closing::too_many_sessions(MAX_SESSIONS));
        }
        let joined = self.join(NewSession {
            uid: uid.clone(),
            channel: channel.clone(),
            rights,
            is_silent: message.message.is_empty(),
            is_sole: false,
            join,
        });
        let session = joined.await?;
        if let WsSessions::Many(sessions) = &mut self.sessions {
            sessions.entry(channel).or_default().insert(uid, session);
        }
        Ok(())
    }

    /// Joins as the greeting of Mles v2 asks.
    async fn greet(&mut self, text: &[u8]) -> Result<(), Closing> {
        if text.len() > MAX_GREETING {
            return Err(Closing::too_big(text.len(), MAX_GREETING));
        }
        let text =
            std::str::from_utf8(text).map_err(|_| crate::websocket::MessageError::NotUtf8)?;
        let greeting = Greeting::parse(text)?;
        let (uid, channel): (Box<str>, Box<str>) = (greeting.uid.into(), greeting.channel.into());
        let proof = Proof::Greeting {
            request: &self.proof,
            auth: greeting.auth,
        };
        let rights = self.check(proof, &uid, &channel)?;
        let message = Message {
            uid: &uid,
            channel: &channel,
            message: &[],
        };
        let join = encode_frame(Cid(0), Key(0), &message);
        let join = join.map_err(|error| Closing::bad_body(&error))?.to_vec();
        self.layered.set_framing(&framing::V2);
        let joined = self.join(NewSession {
            uid,
            channel,
            rights,
            join,
            is_silent: true,
            is_sole: true,
        });
        self.sessions = WsSessions::One(joined.await?);
        Ok(())
    }

    /// Checks that the client may join.
    fn check(&self, proof: Proof<'_>, uid: &str, channel: &str) -> Result<Rights, Closing> {
        let access = &self.shard.common.access;
        let rights = access.join(proof, self.peer, uid, channel);
        rights.map_err(|denied| Closing::Refused(denied.into()))
    }

    /// Joins as a new session.
    async fn join(&mut self, new: NewSession) -> Result<WsSession, Closing> {
        let shard = self.shard.clone();
        let limiter = &shard.common.limiter;
        // Each session counts as a connection: the first as that which it is on.
        let is_first = !self.has_joined();
        let permit = (!is_first).then(|| limiter.enter_session(self.peer.ip()));
        let permit = permit
            .transpose()
            .map_err(|full| Closing::Refused(Refusal::LimitReached(full)))?;
        if is_first {
            // It has proved that it may join: it makes no room for those that have not.
            let joined = self.permit.join();
            joined.map_err(|why| Closing::Refused(Refusal::LetGo(why)))?;
        }
        let access = &shard.common.access;
        let key = access.session_key(self.peer, &new.uid, &new.channel);
        let names = Rc::new(BodyPrefix::new(&new.uid, &new.channel));
        let cid = Cid(rand::random());
        let mut join = new.join;
        let header = FrameHeader {
            body_len: join.len() - HEADER_LEN,
            cid,
            key,
        };
        join[..HEADER_LEN].copy_from_slice(&header.encode());
        let arrival = Arrival {
            socket: self.layered.clone(),
            origin: shard.id,
            identity: Identity {
                session: limiter.next_session(),
                cid,
                peer: self.peer,
                uid: new.uid,
                rights: new.rights,
                permit,
            },
            channel: new.channel,
            join: join.into(),
            is_silent: new.is_silent,
            resync: None,
            resume: None,
            gateway: Some(Gateway {
                is_sole: new.is_sole,
            }),
            early: Early::default(),
        };
        let session = shard
            .join_in_place(arrival)
            .await
            .map_err(Closing::RefusedByChannel)?;
        if let Err(end) = self.enter(&shard) {
            shard.end(&session, end.ended());
            return Err(end);
        }
        Ok(WsSession {
            session,
            key,
            names,
        })
    }

    /// Charges what the client sends to the members, once its first session has joined.
    fn enter(&mut self, shard: &Shard) -> Result<(), Closing> {
        if self.has_joined {
            return Ok(());
        }
        self.has_joined = true;
        let partial = self
            .input
            .take_partial(&mut shard.scratch_of(false).borrow_mut());
        let kept = self.input.resume(
            &partial,
            &mut shard.scratch_of(true).borrow_mut(),
            &self.frames(),
        );
        kept.map_err(|_| Closing::Overdrawn)
    }
}
