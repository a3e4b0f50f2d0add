//! The keys in force, each with a name, and which of them a client has proved that it knows.
//!
//! Invariants:
//!
//! * Every key is tried, in the same time whichever fits, or none: a stranger learns from a refusal neither how close
//!   a guess was nor how many keys there are by name.
//! * Where two keys fit, the first counts.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::grant::{Grant, KeyGrant};
use super::named_key::DEFAULT_KEY;
use super::proof::v2_auth;
use crate::protocol::{Key, Keyring};
use crate::settings::Settings;

/// Place in the list when no key fits.
const NONE: u32 = u32::MAX;

/// The keys in force.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<HeldKey>);

#[derive(Clone, Debug)]
struct HeldKey {
    keyring: Keyring,
    /// Grant of the clients that know it.
    grant: Arc<Grant>,
}

impl HeldKey {
    fn new(name: &str, keyring: Keyring) -> Self {
        let grant = Arc::new(Grant::Key(KeyGrant::new(name, keyring.clone())));
        Self { keyring, grant }
    }
}

impl Keys {
    pub(super) fn new(settings: &Settings) -> Self {
        let default = &settings.keyring;
        let default = default
            .is_secret()
            .then(|| HeldKey::new(DEFAULT_KEY, default.clone()));
        let named = settings.keys.iter();
        let named = named.map(|key| HeldKey::new(key.name(), key.keyring()));
        Self(default.into_iter().chain(named).collect())
    }

    /// Returns `true` if there is no key.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if there is more than one key.
    pub(super) const fn has_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Returns `true` if one of the keys is made from the client's address.
    pub(super) fn uses_address(&self) -> bool {
        self.0.iter().any(|held| held.keyring.uses_address())
    }

    /// Returns `true` if one of the keys is a secret that clients share: over HTTP and WebSocket, only those count.
    pub(super) fn has_shared(&self) -> bool {
        self.0.iter().any(|held| held.keyring.shared().is_some())
    }

    /// Finds the key that a session key over TCP is made from.
    pub(super) fn of_session_key(
        &self,
        key: Key,
        address: SocketAddr,
        uid: &str,
        channel: &str,
    ) -> Option<&Arc<Grant>> {
        self.find(|keyring| keyring.session_key(address, uid, channel).0.ct_eq(&key.0))
    }

    /// Finds the key that one of `hashes` is made from, as clients over HTTP and WebSocket make them.
    pub(super) fn of_hashes(
        &self,
        hashes: &[u64],
        uid: &str,
        channel: &str,
    ) -> Option<&Arc<Grant>> {
        self.find_shared(|shared| {
            let expected = Key::from_parts([shared, uid, channel]).0;
            let fits = hashes.iter().map(|hash| hash.ct_eq(&expected));
            fits.fold(Choice::from(0), |any, fits| any | fits)
        })
    }

    /// Finds the key that the `auth` of a v2 greeting is made from.
    pub(super) fn of_v2_auth(&self, auth: u64, uid: &str, channel: &str) -> Option<&Arc<Grant>> {
        self.find_shared(|shared| v2_auth(uid, channel, shared).ct_eq(&auth))
    }

    /// Finds the key that is this secret. Hashes under a random key are compared.
    pub(super) fn of_secret(&self, secret: &str) -> Option<&Arc<Grant>> {
        let hasher = RandomState::new();
        let shown = hasher.hash_one(secret);
        self.find_shared(|shared| hasher.hash_one(shared).ct_eq(&shown))
    }

    /// Returns what a client has proved that has proved `grant` before; `None` if that key is no longer in force, or
    /// is another one by now.
    pub(super) fn again(&self, grant: &Grant) -> Option<&Arc<Grant>> {
        let mut grants = self.0.iter().map(|held| &held.grant);
        grants.find(|held| held.as_ref() == grant)
    }

    fn find_shared(&self, fits: impl Fn(&str) -> Choice) -> Option<&Arc<Grant>> {
        self.find(|keyring| keyring.shared().map_or(Choice::from(0), &fits))
    }

    /// Tries every key, and returns the first that fits.
    fn find(&self, fits: impl Fn(&Keyring) -> Choice) -> Option<&Arc<Grant>> {
        let mut found = NONE;
        for (at, held) in (0..NONE).zip(&self.0) {
            let is_first = fits(&held.keyring) & found.ct_eq(&NONE);
            found.conditional_assign(&at, is_first);
        }
        let found = self.0.get(usize::try_from(found).ok()?)?;
        Some(&found.grant)
    }
}
