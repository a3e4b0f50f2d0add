//! The forms in which clients prove that they know a secret.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use super::denied::Denied;
use super::grant::Grant;
use crate::protocol::Key;

/// Proof that a client shows for its join.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof<'a> {
    /// The key of a join frame.
    Key(Key),
    /// The keys of a resync, the first frame of a server below. That of the first frame in it
    /// counts; but some servers set the outer one only.
    Resync {
        /// The key of the first frame in it.
        nested: Key,
        /// The key of the frame around it.
        outer: Key,
    },
    /// The token in a join frame.
    Token(ShownToken<'a>),
    /// The HTTP request of a session of Mles v1 over WebSocket.
    Request {
        /// Proof by the HTTP request.
        request: &'a RequestProof,
        /// The token in the first body of a session, which counts for it alone.
        token: Option<ShownToken<'a>>,
    },
    /// The HTTP request of a session of Mles v2, or the `auth` of its greeting.
    Greeting {
        /// Proof by the HTTP request.
        request: &'a RequestProof,
        /// A hash of the names and the shared secret.
        auth: Option<u64>,
        /// A token.
        token: Option<ShownToken<'a>>,
    },
}

/// A token that a client has shown.
#[derive(Clone, Copy)]
pub(crate) struct ShownToken<'a> {
    pub(crate) text: &'a str,
    /// Set if nobody on the way can have read it.
    pub(crate) is_private: bool,
}

impl fmt::Debug for ShownToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownToken")
    }
}

/// Credentials in an HTTP request for an upgrade to WebSocket.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    /// Origin of the page that asks, if it is one.
    pub(crate) origin: Option<&'a str>,
    /// Host that the request is for.
    pub(crate) host: &'a str,
    /// The secret itself, or a token.
    pub(crate) bearer: Option<&'a str>,
    /// A token in the query.
    pub(crate) token: Option<&'a str>,
    /// Session keys.
    pub(crate) auth: &'a [u64],
    /// Set if nobody on the way can have read the request.
    pub(crate) is_private: bool,
}

/// Proof by an HTTP request. It counts for every session that the client opens from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestProof {
    /// The key or token that the client has shown itself: it counts whatever names a session has.
    pub(super) grant: Option<Arc<Grant>>,
    /// The reason for which the token in its query does not count. Pages learn it only when they join: no script can
    /// read the answer to a request for an upgrade.
    pub(super) fault: Option<Denied>,
    /// Session keys: each counts for the names that it is made from.
    pub(super) hashes: Vec<u64>,
}

impl RequestProof {
    /// Returns the uid that a token is for, if it has shown one that counts.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self.grant.as_deref()? {
            Grant::Token(claims) => Some(claims.subject()),
            Grant::Key(_) => None,
        }
    }

    /// Takes what the client has proved by another token, if it has shown one before that is for the same uid.
    pub(crate) fn renew(&mut self, grant: &Arc<Grant>) {
        if let Some(before) = &mut self.grant
            && matches!(**before, Grant::Token(_))
            && before.subject() == grant.subject()
        {
            *before = grant.clone();
        }
    }

    /// Returns `true` if the request has not shown anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.grant.is_none() && self.fault.is_none() && self.hashes.is_empty()
    }
}

/// Returns `true` if `auth` is what v2 clients say that know no key: nothing, or a hash of the names alone.
pub(super) fn shows_no_key(auth: Option<u64>, uid: &str, channel: &str) -> bool {
    auth.is_none_or(|auth| auth == v2_auth(uid, channel, ""))
}

/// Returns the SipHash-2-4 with an all-zero key of the bytes of the three, with nothing between them.
pub(super) fn v2_auth(uid: &str, channel: &str, key: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in [uid, channel, key] {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures are from a SipHash of other make, checked with the vector in its paper, over
    /// what `mles-client` 2.2.0 hashes; without a key it hashes the names alone.
    #[test]
    fn v2_auth_is_what_the_client_says() {
        let with_key = v2_auth("alice", "room", "secret");
        assert_eq!(with_key, 0x3f6a_98b0_4d69_b3e1);
        assert_eq!(v2_auth("alice", "room", ""), 0xe9c1_04a0_ef63_144a);
        assert_eq!(v2_auth("al", "iceroom", "secret"), with_key);
    }
}
