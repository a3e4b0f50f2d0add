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

mod denied;
mod grant;
mod keys;
mod listener;
mod named_key;
mod pattern;
mod permissions;
mod proof;
mod rights;
mod rules;
#[cfg(all(test, feature = "cli"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::channel::SlowPolicy;
use crate::escape::Escaped;
use crate::protocol::{Key, Keyring};
use crate::settings::{NameCheck, Settings};
use crate::websocket::{Hosts, host_allowed, origin_allowed};
pub(crate) use denied::Denied;
pub(crate) use grant::{Grant, Subject};
use keys::Keys;
pub(crate) use listener::{ListenerFault, check_listener};
#[cfg(feature = "cli")]
pub(crate) use named_key::{ANONYMOUS, DEFAULT_KEY, TOKEN, check_key_name};
pub use named_key::{BadKey, NamedKey};
pub use pattern::{BadPattern, NamePattern};
pub use permissions::Permissions;
use proof::shows_no_key;
pub(crate) use proof::{Credentials, Proof, RequestProof, ShownToken};
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

/// What a client has shown for its join.
struct Shown {
    entry: Entry,
    /// The key or token that the client is known by; `None` if it has shown none that counts.
    grant: Option<Arc<Grant>>,
    /// The reason for which what it has shown does not count, if there is one to tell.
    fault: Option<Denied>,
    /// Set if it has not even tried to prove anything.
    is_nothing: bool,
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

    /// Finds out what a client has proved. All that it shows is looked at, whatever is right.
    fn look_at(
        &self,
        proof: Proof<'_>,
        address: SocketAddr,
        uid: &str,
        channel: &str,
        now: SystemTime,
    ) -> Shown {
        let by_key = |key| {
            let grant = self.keys.of_session_key(key, address, uid, channel);
            grant.cloned()
        };
        let (entry, proved, is_nothing) = match proof {
            Proof::Key(key) => {
                let is_nothing = Keyring::default().verify(key, address, uid, channel);
                (Entry::Frame, Ok(by_key(key)), is_nothing)
            }
            Proof::Resync { nested, outer } => {
                let outer = by_key(outer);
                (Entry::Resync, Ok(by_key(nested).or(outer)), false)
            }
            Proof::Token(token) => (Entry::Frame, self.by_token(token, now).map(Some), false),
            Proof::Request {
                request,
                token: None,
            } => {
                let proved = self.by_request(request, uid, channel, now);
                (Entry::Web, proved, request.is_empty())
            }
            Proof::Request {
                token: Some(token), ..
            }
            | Proof::Greeting {
                token: Some(token), ..
            } => (Entry::Web, self.by_token(token, now).map(Some), false),
            Proof::Greeting { request, auth, .. } => {
                let by_auth = auth.and_then(|auth| self.keys.of_v2_auth(auth, uid, channel));
                let by_request = self.by_request(request, uid, channel, now);
                let is_nothing = request.is_empty() && shows_no_key(auth, uid, channel);
                let proved = match by_auth {
                    Some(grant) => Ok(by_request.ok().flatten().or_else(|| Some(grant.clone()))),
                    None => by_request,
                };
                (Entry::Web, proved, is_nothing)
            }
        };
        let (grant, fault) = match proved {
            Ok(grant) => (grant, None),
            Err(fault) => (None, Some(fault)),
        };
        Shown {
            entry,
            grant,
            fault,
            is_nothing,
        }
    }

    /// Returns what a client has proved that has proved `grant` before.
    fn again(&self, grant: &Arc<Grant>, now: SystemTime) -> Result<Arc<Grant>, Denied> {
        match &**grant {
            Grant::Token(claims) => {
                self.tokens.recheck(claims, now)?;
                Ok(grant.clone())
            }
            Grant::Key(key) => self
                .keys
                .again(grant)
                .cloned()
                .ok_or_else(|| Denied::KeyRevoked {
                    name: key.name().to_owned(),
                }),
        }
    }

    /// Returns what a client has proved by its HTTP request. A secret that has changed since does not count.
    ///
    /// # Errors
    ///
    /// It has shown a token that does not count.
    fn by_request(
        &self,
        request: &RequestProof,
        uid: &str,
        channel: &str,
        now: SystemTime,
    ) -> Result<Option<Arc<Grant>>, Denied> {
        let by_hashes = self.keys.of_hashes(&request.hashes, uid, channel);
        let shown = match (&request.grant, &request.fault) {
            (Some(grant), _) => self.again(grant, now).map(Some),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Ok(None),
        };
        match (shown, by_hashes) {
            (Ok(Some(grant)), _) => Ok(Some(grant)),
            (_, Some(grant)) => Ok(Some(grant.clone())),
            (Err(denied @ (Denied::Token(_) | Denied::TokenInClear)), None) => Err(denied),
            (_, None) => Ok(None),
        }
    }

    /// Returns what a client has proved by a token.
    fn by_token(&self, token: ShownToken<'_>, now: SystemTime) -> Result<Arc<Grant>, Denied> {
        if !token.is_private {
            return Err(Denied::TokenInClear);
        }
        let claims = self.tokens.verify(token.text, now)?;
        Ok(Arc::new(Grant::Token(claims)))
    }

    /// Returns the rights of a session whose client has proved `grant`, or nothing where nothing has to be proved.
    fn rights(
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

    /// Returns the reason to deny a join that has proved nothing.
    fn nothing_proved(&self, entry: Entry, uid: &str, channel: &str) -> Denied {
        let (uid, channel) = (Escaped(uid).to_string(), Escaped(channel).to_string());
        match entry {
            Entry::Web => Denied::WrongAuth { uid, channel },
            Entry::Frame | Entry::Resync | Entry::Upstream => Denied::WrongKey {
                uid,
                channel,
                uses_address: self.keys.uses_address(),
            },
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
    pub(crate) fn request(
        &self,
        shown: &Credentials<'_>,
        now: SystemTime,
    ) -> Result<RequestProof, Denied> {
        self.check_origin(shown.origin, shown.host)?;
        let hashes = shown.auth.to_vec();
        let Some(bearer) = shown.bearer else {
            let is_private = shown.is_private;
            let token = shown
                .token
                .map(|text| self.by_token(ShownToken { text, is_private }, now));
            let (grant, fault) = match token {
                None => (None, None),
                Some(Ok(grant)) => (Some(grant), None),
                Some(Err(fault)) => (None, Some(fault)),
            };
            return Ok(RequestProof {
                grant,
                fault,
                hashes,
            });
        };
        match self.by_bearer(bearer, shown.is_private, now) {
            Ok(grant) => Ok(RequestProof {
                grant: Some(grant),
                fault: None,
                hashes,
            }),
            // Nothing has to be proved, whatever is shown.
            Err(_) if self.needs_no_proof(Entry::Web) => Ok(RequestProof::default()),
            Err(denied) => Err(denied),
        }
    }

    /// Returns what a client has proved that shows a secret or a token in the header of its request.
    fn by_bearer(
        &self,
        bearer: &str,
        is_private: bool,
        now: SystemTime,
    ) -> Result<Arc<Grant>, Denied> {
        if !is_private {
            return Err(Denied::KeyInClear);
        }
        if let Some(grant) = self.keys.of_secret(bearer) {
            return Ok(grant.clone());
        }
        // A secret is hardly made of three parts with dots between them.
        if self.tokens.has_keys() && bearer.matches('.').count() == 2 {
            let text = bearer;
            return self.by_token(ShownToken { text, is_private }, now);
        }
        Err(Denied::WrongSecret)
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

    /// Returns `true` if members may have different rights, by different keys or tokens.
    fn hides_keys(&self) -> bool {
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

    /// Returns the hosts by which pages may be asked for. Where no key protects the channels, a
    /// browser that can reach this server must not be led here by a name of somebody else's.
    fn hosts(&self) -> Hosts {
        if self.admits_anonymous(Entry::Web) {
            Hosts::Fixed
        } else {
            Hosts::Any
        }
    }
}
