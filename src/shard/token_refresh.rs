//! Tokens that clients show in the place of the one that they have joined with, before that expires.
//!
//! All of it happens on the shard of the session's connection, whoever owns the channel: there are its rights, what holds
//! it when it publishes, and the time at which it ends.
//!
//! A token that does not count changes nothing: the one before stays in force until it expires. Its client is told, or
//! the session ends if it has not asked for positions, since nothing else can be said to it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use super::Shard;
use super::ended::Ended;
use super::session::Session;
use super::turn;
use crate::access::{Denied, Grant, ShownToken, TokenError};
use crate::escape::Escaped;
use crate::protocol::Notice;

/// Units of a turn that verifying a token costs.
const VERIFIED: u32 = 4096;

impl Shard {
    /// Takes a token that the client of a session over TCP or TLS has shown; `None` if its frame holds none.
    pub(super) fn take_token_frame(self: &Rc<Self>, session: &Rc<Session>, token: Option<&str>) {
        // Who has joined with a token was where nobody could read it.
        let shown = token.map(|text| ShownToken {
            text,
            is_private: true,
        });
        let verified = self.verify_token(session, shown);
        self.refresh_token(session, &verified);
    }

    /// Verifies a token that was shown on the connection of a session; `None` stands for something that is none.
    ///
    /// # Errors
    ///
    /// It is not good.
    pub(crate) fn verify_token(
        &self,
        session: &Session,
        token: Option<ShownToken<'_>>,
    ) -> Result<Arc<Grant>, Denied> {
        turn::spend(VERIFIED);
        let token = token.ok_or(TokenError::Malformed)?;
        let verified = self.common.access().verify(token, SystemTime::now());
        if let Err(denied) = &verified {
            self.note_denied(session.peer, denied);
        }
        verified
    }

    /// Gives a session the rights of a token that its client has shown in the place of the one before, and tells the
    /// client how it stands by that.
    pub(crate) fn refresh_token(
        self: &Rc<Self>,
        session: &Rc<Session>,
        verified: &Result<Arc<Grant>, Denied>,
    ) {
        let live = self.common.live_arc();
        let rights = match verified {
            Ok(grant) => {
                let before = session.rights.borrow();
                let access = &live.access;
                access.replace(&before, grant, &session.uid, &session.channel)
            }
            Err(denied) => Err(denied.clone()),
        };
        // A token that leaves it nothing to do is none for this session.
        let changed = rights.and_then(|rights| self.change_rights(session, rights));
        if let Err(denied) = changed {
            return self.refuse_token(session, denied);
        }
        session.generation.set(live.generation);
        self.stats().tokens_refreshed.add(1);
        self.end_in_time(session);
        self.tell_token(session, None);
    }

    fn refuse_token(self: &Rc<Self>, session: &Rc<Session>, denied: Denied) {
        let refused = self.stats().token_refreshes_refused.of((&denied).into());
        refused.add(1);
        if self.log.admit() {
            let (uid, channel) = (Escaped(&session.uid), Escaped(&session.channel));
            tracing::warn!(
                peer = %session.peer, %uid, %channel, "token not taken in the place of the one before: {denied}"
            );
        }
        if !self.tell_token(session, Some(denied.reason().into())) {
            self.end(session, Ended::Denied(Box::new(denied)));
        }
    }

    /// Tells a session that has joined with a token when it ends.
    pub(super) fn tell_ttl(&self, session: &Session) {
        if session.expiry.borrow().is_some() {
            self.tell_token(session, None);
        }
    }

    /// Tells a session how it stands by its token. Returns `true` if it can be told anything.
    fn tell_token(&self, session: &Session, refused: Option<Box<str>>) -> bool {
        let expiry = self.common.access().expiry(&session.rights.borrow());
        let ttl = expiry.map(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        });
        self.tell(session, &Notice::Token { ttl, refused })
    }
}
