//! Rights: who may join which channel, and as what. Decided once for each session, at its join, and for
//! all transports alike.
//!
//! [`Access`] is made from the settings for keys, names and servers. A transport passes a client's
//! [`Proof`] to [`Access::join`] and gets [`Rights`], or [`Denied`] with the reason.
//!
//! Invariants:
//!
//! * Pure: no I/O, no clock.
//! * A key is looked at only in here, and before anything else that a stranger could learn from.
//! * What is secret is compared in the same time whichever bytes differ.
//!
//! It must not know sessions, channels, or how somebody is told.

mod denied;
mod listener;
mod proof;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::net::SocketAddr;

use crate::channel::SlowPolicy;
use crate::escape::Escaped;
use crate::protocol::{BodyCheck, BodyPrefix, Key, Keyring};
use crate::settings::{NameCheck, Settings};
use crate::websocket::{Hosts, host_allowed, origin_allowed};
pub(crate) use denied::Denied;
pub(crate) use listener::{ListenerFault, check_listener};
pub(crate) use proof::{Credentials, Proof, RequestProof};

/// Rules that decide who may join, and as what.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    keyring: Keyring,
    /// Set if joins over WebSocket need no key.
    trusts_web: bool,
    /// Origins whose pages may connect, besides those that this server has served itself.
    origins: Vec<String>,
    max_uid: usize,
    max_channel_name: usize,
    names: NameCheck,
}

/// Rights of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Names that its frames must carry.
    names: NameCheck,
    /// Slow-member policy that replaces the channel's for it.
    pub(crate) slow_policy: Option<SlowPolicy>,
}

impl Rights {
    /// Rights of the session with a server that this one has as its upstream. It carries frames of
    /// many uids, and notices.
    pub(crate) const UPSTREAM: Self = Self::of_server(NameCheck::Off);

    /// Rights of a client whose frames are not checked.
    #[cfg(test)]
    pub(crate) const CLIENT: Self = Self {
        names: NameCheck::Off,
        slow_policy: None,
    };

    /// A link has no use for a gap that only a new resync closes, and members must not wait for
    /// another server.
    const fn of_server(names: NameCheck) -> Self {
        Self {
            names,
            slow_policy: Some(SlowPolicy::Disconnect),
        }
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

impl Access {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            keyring: settings.keyring.clone(),
            trusts_web: settings.websocket.trust,
            origins: settings.websocket.origins.clone(),
            max_uid: settings.limits.max_uid,
            max_channel_name: settings.limits.max_channel_name,
            names: settings.limits.check_names,
        }
    }

    /// Decides whether a client at `address` that shows `proof` may join `channel` as `uid`.
    ///
    /// # Errors
    ///
    /// See [`Denied`].
    pub(crate) fn join(
        &self,
        proof: Proof<'_>,
        address: SocketAddr,
        uid: &str,
        channel: &str,
    ) -> Result<Rights, Denied> {
        self.check_names(uid, channel)?;
        let client = Rights {
            names: self.names,
            slow_policy: None,
        };
        let may_join = |key| self.is_open() || self.keyring.verify(key, address, uid, channel);
        match proof {
            Proof::Key(key) if may_join(key) => Ok(client),
            Proof::Resync { nested, outer } if may_join(nested) || may_join(outer) => {
                self.server_below()
            }
            Proof::Key(_) | Proof::Resync { .. } => Err(Denied::WrongKey {
                uid: Escaped(uid).to_string(),
                channel: Escaped(channel).to_string(),
                uses_address: self.keyring.uses_address(),
            }),
            Proof::Request(request) if request.allows(&self.keyring, uid, channel) => Ok(client),
            Proof::Greeting { request, auth }
                if request.allows(&self.keyring, uid, channel)
                    || proof::is_v2_auth(&self.keyring, auth, uid, channel) =>
            {
                Ok(client)
            }
            Proof::Request(_) | Proof::Greeting { .. } => Err(Denied::WrongAuth {
                uid: Escaped(uid).to_string(),
                channel: Escaped(channel).to_string(),
            }),
        }
    }

    /// Returns the rights of a server below. Under `sender` it has none: nobody can tell whether it passes
    /// on what its members have sent.
    const fn server_below(&self) -> Result<Rights, Denied> {
        match self.names {
            NameCheck::Sender => Err(Denied::ChecksSenders),
            names => Ok(Rights::of_server(names)),
        }
    }

    /// Checks the lengths of names.
    ///
    /// # Errors
    ///
    /// One is too long.
    pub(crate) const fn check_names(&self, uid: &str, channel: &str) -> Result<(), Denied> {
        let (what, len, limit) = if uid.len() > self.max_uid {
            ("uid", uid.len(), self.max_uid)
        } else if channel.len() > self.max_channel_name {
            ("channel name", channel.len(), self.max_channel_name)
        } else {
            return Ok(());
        };
        Err(Denied::NameTooLong { what, len, limit })
    }

    /// Decides which names a client may use after its HTTP request: to join with over WebSocket, or to publish and read.
    ///
    /// # Errors
    ///
    /// Its client may not even ask to join; see [`Denied`].
    pub(crate) fn request(&self, shown: &Credentials<'_>) -> Result<RequestProof, Denied> {
        self.check_origin(shown.origin, shown.host)?;
        if self.is_open_to_web() {
            return Ok(RequestProof::Any);
        }
        match shown.bearer {
            Some(_) if !shown.is_private => Err(Denied::KeyInClear),
            Some(bearer) if self.keyring.is_shared(bearer) => Ok(RequestProof::Any),
            Some(_) => Err(Denied::WrongSecret),
            None => Ok(RequestProof::Hashes(shown.auth.to_vec())),
        }
    }

    /// Decides whether a page of that origin may send requests to this host.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn check_origin(&self, origin: Option<&str>, host: &str) -> Result<(), Denied> {
        if origin_allowed(origin, host, self.hosts(), &self.origins) {
            return Ok(());
        }
        Err(Denied::Origin {
            origin: Escaped(origin.unwrap_or_default()).to_string(),
            host: Escaped(host).to_string(),
        })
    }

    /// Decides whether the page may be asked for by this host.
    ///
    /// # Errors
    ///
    /// It may not.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), Denied> {
        if host_allowed(host, self.hosts(), &self.origins) {
            return Ok(());
        }
        let host = Escaped(host).to_string();
        Err(Denied::Host { host })
    }

    /// Returns the key that this server shows for `uid` and `channel` when it speaks for a member from
    /// `address`.
    pub(crate) fn session_key(&self, address: SocketAddr, uid: &str, channel: &str) -> Key {
        self.keyring.session_key(address, uid, channel)
    }

    /// Returns `true` if joins over TCP and TLS need no key. Without a secret a key proves nothing, so whatever a
    /// client shows is taken: that of its address, as v1 has it, or that of a secret which it has for other servers.
    const fn is_open(&self) -> bool {
        !self.keyring.is_secret()
    }

    /// Returns `true` if joins over WebSocket need no key.
    const fn is_open_to_web(&self) -> bool {
        self.trusts_web || self.is_open()
    }

    /// Returns the hosts by which pages may be asked for. Where no key protects the channels, a
    /// browser that can reach this server must not be led here by a name of somebody else's.
    const fn hosts(&self) -> Hosts {
        if self.is_open_to_web() {
            Hosts::Fixed
        } else {
            Hosts::Any
        }
    }
}
