//! Session keys: SipHash-2-4 over a list of strings, and who holds which secret.
use std::net::SocketAddr;

/// A session key: SipHash-2-4 with an all-zero 128-bit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// A connection id: unique among the live sessions of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(pub u32);

impl Key {
    /// Hashes `parts` in order, each followed by one byte 0xFF.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let _ = parts.into_iter();
        todo!()
    }
    /// The default connection id: the low 32 bits.
    #[must_use]
    pub fn cid(self) -> Cid {
        todo!()
    }
}

/// The secrets of a server or client: what a session key is made from besides uid and channel.
///
/// `Debug` never shows a secret.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    shared: Option<String>,
    addr_key: Option<String>,
}

impl Keyring {
    /// `shared`: one secret for all; `addr_key`: mixed with the client's address. Empty strings count as absent.
    #[must_use]
    pub fn new(shared: Option<String>, addr_key: Option<String>) -> Self {
        Self { shared, addr_key }
    }
    /// Whether there is a secret at all; without one a key proves nothing.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        todo!()
    }
    /// Whether the client's address is part of the key (no shared key is set).
    #[must_use]
    pub fn uses_address(&self) -> bool {
        todo!()
    }
    /// The key a client at `client` must show to join `channel` as `uid`. IPv4-mapped IPv6 addresses hash as IPv4.
    #[must_use]
    pub fn session_key(&self, client: SocketAddr, uid: &str, channel: &str) -> Key {
        let _ = (client, uid, channel);
        todo!()
    }
}

/// The address as it is hashed: `a.b.c.d:port`, or `[s:s:s:s:s:s:s:s]:port` with eight lower-case
/// hex groups. IPv4-mapped IPv6 addresses are written as they are given.
#[must_use]
pub fn address_string(addr: SocketAddr) -> String {
    let _ = addr;
    todo!()
}
