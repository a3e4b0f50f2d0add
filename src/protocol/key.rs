//! Session keys: SipHash-2-4 over a list of strings, and the secrets that they are made from.
//!
//! The protocol hashes with an all-zero SipHash key: a session key is an unkeyed 64-bit hash of a
//! secret, not a modern MAC. Who reads it off the wire can replay it, and a weak secret can be
//! guessed from it; only TLS helps against that.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::net::SocketAddr;

use siphasher::sip::SipHasher24;

/// A session key: SipHash-2-4 with an all-zero 128-bit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// A connection id: unique among the live sessions of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(pub u32);

impl Key {
    /// Hashes `parts` in order, each followed by one byte 0xFF.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hasher = SipHasher24::new();
        for part in parts {
            hasher.write(part.as_bytes());
            hasher.write(&[0xFF]);
        }
        Self(hasher.finish())
    }

    /// Returns the default connection id: the low 32 bits.
    #[must_use]
    pub const fn cid(self) -> Cid {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        Cid(self.0 as u32)
    }
}

/// The secrets of a server or client, from which session keys are made together with uid and channel.
///
/// `Debug` never shows a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    shared: Option<String>,
    addr_key: Option<String>,
}

impl Keyring {
    /// Creates a keyring. `shared` is one secret for all; without it keys are made from the client's
    /// address, mixed with `addr_key` if there is one. Empty strings count as absent.
    #[must_use]
    pub fn new(shared: Option<String>, addr_key: Option<String>) -> Self {
        let present = |secret: &String| !secret.is_empty();
        Self {
            shared: shared.filter(present),
            addr_key: addr_key.filter(present),
        }
    }

    /// Returns the secret that all clients share, if there is one.
    #[must_use]
    pub fn shared(&self) -> Option<&str> {
        self.shared.as_deref()
    }

    /// Returns `true` if there is a secret at all; without one a key proves nothing.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.shared.is_some() || self.addr_key.is_some()
    }

    /// Returns `true` if `other` holds the same secrets. Not for what a client shows: it takes longer the more is right.
    #[cfg(feature = "server")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.shared == other.shared && self.addr_key == other.addr_key
    }

    /// Returns `true` if the client's address is part of the key: there is no shared secret.
    #[must_use]
    pub const fn uses_address(&self) -> bool {
        self.shared.is_none()
    }

    /// Returns the key that a client at `client` must show to join `channel` as `uid`.
    ///
    /// IPv4-mapped IPv6 addresses are hashed as IPv4: that is the address the client knows itself
    /// by, whatever kind of socket the server accepted it on.
    #[must_use]
    pub fn session_key(&self, client: SocketAddr, uid: &str, channel: &str) -> Key {
        if let Some(shared) = &self.shared {
            return Key::from_parts([shared, uid, channel]);
        }
        let address = address_string(SocketAddr::new(client.ip().to_canonical(), client.port()));
        let secrets = [Some(address.as_str()), self.addr_key.as_deref()];
        Key::from_parts(secrets.into_iter().flatten().chain([uid, channel]))
    }

    /// Returns `true` if `key` is the [`session_key`](Self::session_key) of that client and those names.
    ///
    /// Takes the same time whichever bits differ: two 64-bit numbers are compared at once.
    #[must_use]
    pub fn verify(&self, key: Key, client: SocketAddr, uid: &str, channel: &str) -> bool {
        self.session_key(client, uid, channel) == key
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("shared", &self.shared.as_ref().map(|_| Redacted))
            .field("addr_key", &self.addr_key.as_ref().map(|_| Redacted))
            .finish()
    }
}

/// Stands for a secret in `Debug` output.
struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Returns an address as it is hashed: `a.b.c.d:port`, or `[s:s:s:s:s:s:s:s]:port` with eight lower-case
/// hex groups. IPv4-mapped IPv6 addresses are written as they are given.
#[must_use]
pub fn address_string(addr: SocketAddr) -> String {
    let SocketAddr::V6(addr) = addr else {
        return addr.to_string();
    };
    let mut out = String::from("[");
    for (i, group) in addr.ip().segments().into_iter().enumerate() {
        let separator = if i == 0 { "" } else { ":" };
        write!(out, "{separator}{group:x}").expect("writing to a String does not fail");
    }
    write!(out, "]:{}", addr.port()).expect("writing to a String does not fail");
    out
}
