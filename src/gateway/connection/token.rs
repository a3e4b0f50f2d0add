//! Tokens that a client shows after its join, in the place of the one that it has joined with.

use std::rc::Rc;

use super::closing::Closing;
use super::{WsConnection, WsSessions};
use crate::access::Grant;
use crate::shard::session::Session;
use crate::websocket::{Kind, Mark, read_token, split_mark};

impl WsConnection {
    /// Checks that text may come among the bodies of Mles v1: a session has joined with a token.
    pub(super) fn check_takes_text(&self) -> Result<(), Closing> {
        if self.sessions_by_token().next().is_none() {
            return Err(Closing::text_among_bodies());
        }
        Ok(())
    }

    /// Takes a text among the bodies of Mles v1. The token in it is for all sessions of its uid.
    pub(super) fn take_text(&mut self, text: &[u8]) -> Result<(), Closing> {
        self.check_takes_text()?;
        let text =
            std::str::from_utf8(text).map_err(|_| crate::websocket::MessageError::NotUtf8)?;
        self.take_token(text);
        Ok(())
    }

    /// Takes a message of Mles v2 that begins with a mark.
    pub(super) fn take_marked(&mut self, kind: Kind, message: &[u8]) -> Result<(), Closing> {
        let WsSessions::Marked(member) = &self.sessions else {
            return Ok(());
        };
        match split_mark(message) {
            Some((Mark::Message, payload)) => self.incoming.put(member, kind, payload),
            Some((Mark::Notice, json)) if kind == Kind::Text => {
                // Its mark was one character, so it still is UTF-8.
                self.take_token(std::str::from_utf8(json).unwrap_or_default());
                Ok(())
            }
            _ => Err(Closing::no_mark()),
        }
    }

    /// Takes what a client says that shows a token: for its sessions that have joined with one for the same uid. Where
    /// there is none, it is refused to all that have joined with a token, or to the only session.
    fn take_token(&mut self, json: &str) {
        // It takes its place behind what was published before it.
        self.publish_incoming();
        let token = read_token(json);
        let by_token: Vec<Rc<Session>> = self.sessions_by_token().cloned().collect();
        let all = || self.sessions.iter().map(|ws| ws.session.clone()).collect();
        let sessions = if by_token.is_empty() { all() } else { by_token };
        let Some(first) = sessions.first() else {
            return;
        };
        let shown = token.as_deref().map(|text| self.shown(text));
        let verified = self.shard.verify_token(first, shown);
        let is_of = |session: &Session| {
            verified.as_deref().is_ok_and(
                |grant| matches!(grant, Grant::Token(claims) if session.has_uid(claims.subject())),
            )
        };
        let has_fitting = sessions.iter().any(|session| is_of(session));
        for session in sessions {
            if !session.is_over() && (!has_fitting || is_of(&session)) {
                self.shard.refresh_token(&session, &verified);
            }
        }
        if let Ok(grant) = &verified {
            self.terms.proof.renew(grant);
        }
    }

    /// Returns the sessions that have joined with a token.
    fn sessions_by_token(&self) -> impl Iterator<Item = &Rc<Session>> {
        let sessions = self.sessions.iter().map(|ws| &ws.session);
        sessions.filter(|session| session.is_by_token())
    }
}
