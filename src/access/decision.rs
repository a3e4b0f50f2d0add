//! Decides what a session may do whose client has proved what it had to.

use std::sync::Arc;

use super::Access;
use super::denied::Denied;
use super::grant::Grant;
use super::permissions::Permissions;
use super::rights::{Entry, Rights};
use super::token::TokenError;
use crate::channel::SlowPolicy;
use crate::settings::NameCheck;

impl Access {
    /// Returns the rights of a session whose client has proved `grant`, or nothing where nothing has to be proved.
    pub(super) fn rights(
        &self,
        entry: Entry,
        grant: Option<Arc<Grant>>,
        uid: &str,
        channel: &str,
    ) -> Result<Rights, Denied> {
        let mut claimed = None;
        if let Some(Grant::Token(claims)) = grant.as_deref() {
            if claims.subject() != uid {
                return Err(TokenError::Subject.into());
            }
            claimed = claims.permissions(channel);
        }
        let permissions = match claimed {
            Some(claimed) => claimed,
            None if self.rules.is_empty() => Permissions::ALL,
            None => self.rules.permissions(grant.as_deref(), uid, channel),
        };
        // Who may be a server may do everything by that, and sends plain joins as well.
        let permissions = if permissions.contains(Permissions::PEER) {
            Permissions::ALL
        } else {
            permissions
        };
        let rights = Rights {
            entry,
            names: self.names,
            permissions,
            // A server below compares what comes back with what it has sent, byte by byte.
            hides_keys: self.hides_keys() && entry != Entry::Resync,
            slow_policy: None,
            grant,
        };
        match entry {
            Entry::Resync => self.server_below(rights, uid, channel),
            _ => Self::client(rights, uid, channel),
        }
    }

    /// Returns the rights of a client. It must be permitted something, and cannot be a server.
    fn client(rights: Rights, uid: &str, channel: &str) -> Result<Rights, Denied> {
        let permissions = rights.permissions.without(Permissions::PEER);
        if permissions.is_empty() {
            return Err(rights.denied(Permissions::NONE, uid, channel));
        }
        Ok(Rights {
            permissions,
            ..rights
        })
    }

    /// Returns the rights of a server below, which needs the permission. Under `sender` a
    /// rule must give it: a server carries frames of many uids, and nobody can tell whether its members have sent
    /// them.
    fn server_below(&self, rights: Rights, uid: &str, channel: &str) -> Result<Rights, Denied> {
        rights.require(Permissions::PEER, uid, channel)?;
        let names = match self.names {
            NameCheck::Sender if self.rules.is_empty() => return Err(Denied::ChecksSenders),
            NameCheck::Sender => NameCheck::Channel,
            names => names,
        };
        Ok(Rights {
            names,
            // It has no use for a gap that only a new resync closes, and members must not wait for another server.
            slow_policy: Some(SlowPolicy::Disconnect),
            ..rights
        })
    }
}
