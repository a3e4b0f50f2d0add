//! Rights of one session, as they were decided at its join or at the last reload.

use std::sync::Arc;

use super::denied::Denied;
use super::grant::{Grant, Subject};
use super::permissions::Permissions;
use crate::channel::SlowPolicy;
use crate::escape::Escaped;
use crate::protocol::{BodyCheck, BodyPrefix};
use crate::settings::NameCheck;

/// Rights of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Form in which the session has joined.
    pub(super) entry: Entry,
    /// Names that its frames must carry.
    pub(super) names: NameCheck,
    /// The actions that the session is permitted.
    pub(super) permissions: Permissions,
    /// Set if the keys in its frames are not for other members.
    pub(super) hides_keys: bool,
    /// Slow-member policy that replaces the channel's for it.
    pub(crate) slow_policy: Option<SlowPolicy>,
    /// The key or token that the client has shown; `None` if nothing had to be proved.
    pub(super) grant: Option<Arc<Grant>>,
}

/// Form of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A join frame over TCP or TLS.
    Frame,
    /// A request over HTTP or WebSocket.
    Web,
    /// The resync of a server below.
    Resync,
    /// This server's own join at its upstream.
    Upstream,
}

impl Rights {
    /// Rights of the session with a server that this one has as its upstream. It carries frames of
    /// many uids, and notices. A link has no use for a gap that only a new resync closes, and members must not wait
    /// for another server.
    pub(crate) const UPSTREAM: Self = Self {
        entry: Entry::Upstream,
        names: NameCheck::Off,
        permissions: Permissions::ALL,
        hides_keys: false,
        slow_policy: Some(SlowPolicy::Disconnect),
        grant: None,
    };

    /// Rights of a client whose frames are not checked.
    #[cfg(test)]
    pub(crate) const CLIENT: Self = Self {
        entry: Entry::Frame,
        names: NameCheck::Off,
        permissions: Permissions::ALL,
        hides_keys: false,
        slow_policy: None,
        grant: None,
    };

    /// Returns `true` if the session may do all of `wanted`.
    pub(crate) const fn permits(&self, wanted: Permissions) -> bool {
        self.permissions.contains(wanted)
    }

    /// Checks that a session of `uid` in `channel` may do all of `wanted`.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn require(
        &self,
        wanted: Permissions,
        uid: &str,
        channel: &str,
    ) -> Result<(), Denied> {
        if self.permits(wanted) {
            return Ok(());
        }
        Err(self.denied(wanted.without(self.permissions), uid, channel))
    }

    /// Returns the reason to deny what needs `right`, which is missing.
    pub(super) fn denied(&self, right: Permissions, uid: &str, channel: &str) -> Denied {
        let holder = match self.grant() {
            None => "anonymous".to_owned(),
            Some(Grant::Key(key)) => format!("key {}", key.name()),
            Some(Grant::Token(_)) => "token".to_owned(),
        };
        Denied::NoRight {
            right,
            holder,
            uid: Escaped(uid).to_string(),
            channel: Escaped(channel).to_string(),
        }
    }

    /// Returns `true` if the keys in its frames are not for other members: who has seen one could join with it, and
    /// might have other rights by that than by their own.
    pub(crate) const fn hides_keys(&self) -> bool {
        self.hides_keys
    }

    /// Returns what the session may do.
    pub(crate) const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Returns what the client has proved; `None` if nothing had to be proved.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.grant.as_deref()
    }

    /// Returns `true` if its client has shown a token, and so may show others.
    pub(crate) fn are_by_token(&self) -> bool {
        matches!(self.grant(), Some(Grant::Token(_)))
    }

    /// Returns who the client is by what it has proved; `None` if nothing had to be proved.
    pub(crate) fn subject(&self) -> Option<Subject<'_>> {
        self.grant().map(Grant::subject)
    }

    /// Returns the name of the key that its client knows, if it has shown one.
    pub(crate) fn key_name(&self) -> Option<&str> {
        self.grant()?.key_name()
    }

    /// Returns the check of the bodies that follow the join; `None` if they may hold anything.
    pub(crate) fn body_check(&self, uid: &str, channel: &str) -> Option<BodyCheck> {
        let prefix = || BodyPrefix::new(uid, channel);
        match self.names {
            NameCheck::Off => None,
            NameCheck::Channel => Some(BodyCheck::Channel(prefix())),
            NameCheck::Sender => Some(BodyCheck::Sender(prefix())),
        }
    }
}
