//! How the sessions of a WebSocket connection join.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use super::closing::Closing;
use super::{WsConnection, WsSession, WsSessions};
use crate::access::{Proof, Rights, ShownToken};
use crate::gateway::framing;
use crate::gateway::new_session::NewSession;
use crate::protocol::{BodyPrefix, HEADER_LEN, MAX_TOKEN_LEN, Message, take_extensions};
use crate::shard::Shard;
use crate::shard::refusal::Refusal;
use crate::websocket::{Greeting, Kind, Subprotocol, parse_resume};

/// Longest greeting of a v2 client, in bytes: two long names, a hash, and a token.
const MAX_GREETING: usize = 4096 + MAX_TOKEN_LEN;

/// Most sessions of one connection: some work is done for each of them with every read.
const MAX_SESSIONS: usize = 1000;

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
        let taken = take_extensions(&join[HEADER_LEN..]);
        let (body, extensions) = taken.map_err(|e| Closing::bad_body(&e))?;
        let message = Message::decode(&body).map_err(|e| Closing::bad_body(&e))?;
        let (uid, channel): (Box<str>, Box<str>) = (message.uid.into(), message.channel.into());
        let is_silent = message.message.is_empty();
        let proof = Proof::Request {
            request: &self.terms.proof,
            token: extensions.token.map(|text| self.shown(text)),
        };
        let resume = extensions.resume;
        let rights = self.check(proof, &uid, &channel)?;
        self.check_alone(&channel, resume.is_some())?;
        let join = match body {
            Cow::Borrowed(_) => join,
            Cow::Owned(body) => [&[0; HEADER_LEN], &body[..]].concat(),
        };
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
            peer: self.peer,
            uid: uid.clone(),
            channel: channel.clone(),
            rights,
            join: Some(join),
            is_silent,
            is_sole: false,
            resume: resume.map(Box::new),
        });
        let session = joined.await?;
        if let WsSessions::Many(sessions) = &mut self.sessions {
            sessions.entry(channel).or_default().insert(uid, session);
        }
        Ok(())
    }

    /// Checks that a session that asks for positions is alone in its channel. Neither a notice nor a message says for
    /// which of several sessions of a connection it is, so their client could not count.
    fn check_alone(&self, channel: &str, asks: bool) -> Result<(), Closing> {
        let WsSessions::Many(sessions) = &self.sessions else {
            return Ok(());
        };
        let mut others = sessions.get(channel).into_iter().flat_map(HashMap::values);
        if others.any(|other| asks || other.asks) {
            return Err(Closing::not_alone());
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
            request: &self.terms.proof,
            auth: greeting.auth,
            token: greeting.token.as_deref().map(|text| self.shown(text)),
        };
        let rights = self.check(proof, &uid, &channel)?;
        let resume = match self.terms.subprotocol {
            Subprotocol::Mles => None,
            Subprotocol::Resume | Subprotocol::Token => Some(Box::new(parse_resume(text)?)),
        };
        self.layered.set_framing(match self.terms.subprotocol {
            Subprotocol::Mles => &framing::V2,
            Subprotocol::Resume | Subprotocol::Token => &framing::V2_RESUME,
        });
        let joined = self.join(NewSession {
            peer: self.peer,
            uid,
            channel,
            rights,
            join: None,
            is_silent: true,
            is_sole: true,
            resume,
        });
        let session = joined.await?;
        self.sessions = match self.terms.subprotocol {
            Subprotocol::Token => WsSessions::Marked(session),
            Subprotocol::Mles | Subprotocol::Resume => WsSessions::One(session),
        };
        Ok(())
    }

    /// Returns a token that the client shows on this connection.
    pub(super) fn shown<'a>(&self, text: &'a str) -> ShownToken<'a> {
        ShownToken {
            text,
            is_private: self.terms.is_private,
        }
    }

    /// Checks that the client may join.
    fn check(&self, proof: Proof<'_>, uid: &str, channel: &str) -> Result<Rights, Closing> {
        let rights = self.shard.common.join(proof, self.peer, uid, channel);
        rights.map_err(Closing::Refused)
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
        let names = Rc::new(BodyPrefix::new(&new.uid, &new.channel));
        let asks = new.resume.is_some();
        let (arrival, key) = new.arrive(&shard, &self.layered, permit);
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
            asks,
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
