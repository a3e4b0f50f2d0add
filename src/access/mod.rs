//! Rights: who may join which channel, and what for. Decided once for each session, at its join, and for
//! all transports alike; and again when the settings change.
//!
//! [`Access`] is made from the settings for keys, names and servers. A transport passes a client's
//! [`Proof`] to [`Access::join`] and gets [`Rights`], or [`Denied`] with the reason.
//!
//! Invariants:
//!
//! * Pure: no I/O, no clock.
//! * A key is looked at only in here, and before anything else that a stranger could learn from.
//! * What is secret is compared in the same time whichever bytes differ, and whichever key fits.
//!
//! It must not know sessions, channels, or how somebody is told.

mod decision;
mod denied;
mod grant;
mod keys;
mod listener;
mod named_key;
mod pattern;
mod permissions;
mod proof;
mod proved;
mod request;
mod rights;
mod rules;
#[cfg(all(test, feature = "cli"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::protocol::{Key, Keyring};
use crate::settings::{NameCheck, Settings};
pub(crate) use denied::Denied;
pub(crate) use grant::{Grant, Subject};
use keys::Keys;
pub(crate) use listener::{ListenerFault, check_listener};
#[cfg(feature = "cli")]
pub(crate) use named_key::{ANONYMOUS, DEFAULT_KEY, TOKEN, check_key_name};
pub use named_key::{BadKey, NamedKey};
pub use pattern::{BadPattern, NamePattern};
pub use permissions::Permissions;
pub(crate) use proof::{Credentials, Proof, RequestProof, ShownToken};
use proved::Shown;
use rights::Entry;
pub(crate) use rights::Rights;
use rules::AccessRules;
pub use rules::{AccessRule, RuleHolder};
pub(crate) use token::TokenError;
#[cfg(not(feature = "cli"))]
use token::TokenVerifier;
#[cfg(feature = "cli")]
pub(crate) use token::{BadSigningKey, SigningKey, TokenVerifier, read_unverified};
pub use token::{BadTokenKey, TokenKey};

/// Rules that decide who may join, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    keys: Keys,
    rules: AccessRules,
    tokens: TokenVerifier,
    /// The secrets that keys in the headers of frames are made from.
    keyring: Keyring,
    /// The secrets that this server shows its upstream.
    link_keyring: Keyring,
    /// Set if joins over WebSocket need no key.
    trusts_web: bool,
    /// Origins whose pages may connect, besides those that this server has served itself.
    origins: Vec<String>,
    max_uid: usize,
    max_channel_name: usize,
    names: NameCheck,
}

impl Access {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            keys: Keys::new(settings),
            rules: AccessRules::new(&settings.rules),
            link_keyring: settings
                .peer
                .keyring
                .as_ref()
                .unwrap_or(&settings.keyring)
                .clone(),
            tokens: TokenVerifier::new(&settings.tokens),
            keyring: settings.keyring.clone(),
            trusts_web: settings.websocket.trust,
            origins: settings.websocket.origins.clone(),
            max_uid: settings.limits.max_uid,
            max_channel_name: settings.limits.max_channel_name,
            names: settings.limits.check_names,
        }
    }

    /// Decides whether a client at `address` that shows `proof` may join `channel` as `uid` at the time `now`, and what
    /// it may do there.
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
        now: SystemTime,
    ) -> Result<Rights, Denied> {
        self.check_names(uid, channel)?;
        let Shown {
            entry,
            grant,
            fault,
            is_nothing,
        } = self.look_at(proof, address, uid, channel, now);
        let may_enter = grant.is_some()
            || self.needs_no_proof(entry)
            || is_nothing && self.rules.admit_anonymous();
        if !may_enter {
            return Err(fault.unwrap_or_else(|| self.nothing_proved(entry, uid, channel)));
        }
        self.rights(entry, grant, uid, channel)
    }

    /// Decides anew about a session that has joined `channel` as `uid` with `rights`, after the settings have changed
    /// or some time has passed.
    ///
    /// # Errors
    ///
    /// It must end; see [`Denied`].
    pub(crate) fn refresh(
        &self,
        rights: &Rights,
        uid: &str,
        channel: &str,
        now: SystemTime,
    ) -> Result<Rights, Denied> {
        let entry = rights.entry;
        if entry == Entry::Upstream {
            return Ok(rights.clone());
        }
        let grant = match &rights.grant {
            None if self.admits_anonymous(entry) => None,
            None => return Err(Denied::KeyNeeded),
            Some(grant) => match self.again(grant, now) {
                Ok(grant) => Some(grant),
                // It could come back with whatever it likes.
                Err(_) if self.needs_no_proof(entry) => None,
                Err(denied) => return Err(denied),
            },
        };
        self.rights(entry, grant, uid, channel)
    }

    /// Returns what a client proves by a token that it shows in the place of the one it has joined with.
    ///
    /// # Errors
    ///
    /// The token is not good.
    pub(crate) fn verify(
        &self,
        token: ShownToken<'_>,
        now: SystemTime,
    ) -> Result<Arc<Grant>, Denied> {
        self.by_token(token, now)
    }

    /// Returns the rights of a session of `uid` in `channel` whose client has proved `grant` by another token than the
    /// one it has joined with.
    ///
    /// # Errors
    ///
    /// The rights stay those that they are: the session has not joined with a token, or the new one does not let it be
    /// in its channel.
    pub(crate) fn replace(
        &self,
        rights: &Rights,
        grant: &Arc<Grant>,
        uid: &str,
        channel: &str,
    ) -> Result<Rights, Denied> {
        if !rights.are_by_token() {
            return Err(Denied::NoTokenBefore);
        }
        self.rights(rights.entry, Some(grant.clone()), uid, channel)
    }

    /// Returns when the rights are over; `None` if they are not bounded in time.
    pub(crate) fn expiry(&self, rights: &Rights) -> Option<SystemTime> {
        match rights.grant()? {
            Grant::Key(_) => None,
            Grant::Token(claims) => Some(self.tokens.expiry(claims)),
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

    /// Returns the key that this server shows its upstream for `uid` and `channel`, from `address`.
    pub(crate) fn link_key(&self, address: SocketAddr, uid: &str, channel: &str) -> Key {
        self.link_keyring.session_key(address, uid, channel)
    }

    /// Returns the key in the headers of frames that are made here for a client at `address`, as if it had sent them
    /// over TCP.
    pub(crate) fn frame_key(&self, address: SocketAddr, uid: &str, channel: &str) -> Key {
        if self.hides_keys() {
            return Key(0);
        }
        self.keyring.session_key(address, uid, channel)
    }

    /// Returns `true` if members may have different rights, by different keys or tokens: nobody sees the session keys of
    /// others then.
    pub(crate) fn hides_keys(&self) -> bool {
        self.keys.has_several() || !self.rules.is_empty() || self.tokens.has_keys()
    }

    /// Returns `true` if there is no secret, and no key for tokens. A key proves nothing then, so whatever a client shows
    /// is taken: that of its address, as v1 has it, or that of a secret which it has for other servers.
    const fn is_open(&self) -> bool {
        self.keys.is_empty() && !self.tokens.has_keys()
    }

    /// Returns `true` if nothing has to be proved for a join of that form: whatever its client shows is taken.
    fn needs_no_proof(&self, entry: Entry) -> bool {
        self.is_open() || entry == Entry::Web && self.trusts_web
    }

    /// Returns `true` if clients that show no key may join in that form. Wrong ones may be refused all the same.
    fn admits_anonymous(&self, entry: Entry) -> bool {
        self.needs_no_proof(entry) || entry != Entry::Resync && self.rules.admit_anonymous()
    }
}
