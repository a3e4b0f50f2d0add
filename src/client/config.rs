//! What all sessions of a client have in common.

use std::time::Duration;

use super::blocking;
use super::error::Error;
use super::identity::{CidChoice, Names};
use super::reconnect::Reconnect;
use super::session::Session;
use crate::protocol::{Cid, HEADER_LEN, Keyring, MAX_FRAME_LEN};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;

/// A client: where the server is, who we are, and the limits. Cheap to clone, opens nothing.
///
/// Setters take and return the client, so that they can be chained.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) server: String,
    uid: String,
    pub(super) keyring: Keyring,
    pub(super) cid: CidChoice,
    pub(super) max_frame: usize,
    pub(super) connect_timeout: Duration,
    pub(super) join_timeout: Duration,
    pub(super) reconnect: Option<Reconnect>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

impl Client {
    /// A client of `server` (`HOST` or `HOST:PORT`, the port being 8077 by default; an IPv6
    /// address with a port stands in brackets) under the name `uid`. With the feature `tls`,
    /// `tls://` in front of the server asks for TLS.
    pub fn new(server: impl Into<String>, uid: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            uid: uid.into(),
            keyring: Keyring::default(),
            cid: CidChoice::FromKey,
            max_frame: MAX_FRAME_LEN,
            connect_timeout: Duration::from_secs(5),
            join_timeout: Duration::from_secs(5),
            reconnect: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The secret shared with the server. Without it the session key is made from this client's
    /// address.
    #[must_use]
    pub fn shared_key(self, key: impl Into<String>) -> Self {
        self.keyring(Keyring::new(Some(key.into()), None))
    }

    /// The secrets shared with the server.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = keyring;
        self
    }

    /// Takes a random connection id for each session, so that one uid can join a channel several
    /// times. By default it is the low half of the session key.
    #[must_use]
    pub fn random_cid(mut self) -> Self {
        self.cid = CidChoice::Random;
        self
    }

    /// Takes this connection id for every session.
    #[must_use]
    pub fn cid(mut self, cid: Cid) -> Self {
        self.cid = CidChoice::Fixed(cid);
        self
    }

    /// Largest frame that is received, in bytes with its header; 16 MiB, the most that the protocol
    /// can say, by default. A larger one ends the session.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes.clamp(HEADER_LEN + 1, MAX_FRAME_LEN);
        self
    }

    /// How long one address of the server is tried; 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long sending the join may take; 5 s by default. An end of the connection that comes
    /// within this time and about two seconds, before anything else came, may be a refusal
    /// ([`Error::Refused`]).
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = timeout;
        self
    }

    /// Makes async sessions come back by themselves after their connection was lost; off by
    /// default. Their first join may find no server, too: [`join`](Self::join) then gives a session
    /// that is looking for one. Blocking sessions do not reconnect.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = Some(reconnect);
        self
    }

    /// Talks to the server over TLS, whether or not its name begins with `tls://`. Where only that
    /// says so, the authorities of the system are trusted; they are read, once in a process, with
    /// the first join.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Connects and joins `channel`, announcing the join with an empty message.
    ///
    /// That this returns does not mean that the server lets us in: see [`Error::Refused`].
    ///
    /// # Errors
    ///
    /// [`Error::Address`], [`Error::Connect`] and [`Error::Message`]; over TLS also `Error::Tls`. In a
    /// session that reconnects not [`Error::Connect`]: that is its first
    /// [`Event::Disconnected`](super::Event::Disconnected).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn join(&self, channel: &str) -> Result<Session, Error> {
        self.join_with(channel, "").await
    }

    /// Like [`join`](Self::join); the join carries the first message that is published.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    ///
    /// # Cancel safety
    ///
    /// As for [`join`](Self::join); whether the message was published is then not known.
    pub async fn join_with(
        &self,
        channel: &str,
        first: impl AsRef<[u8]>,
    ) -> Result<Session, Error> {
        Session::open(self, self.names(channel), first.as_ref()).await
    }

    /// Like [`join`](Self::join), without a runtime.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    pub fn join_blocking(&self, channel: &str) -> Result<blocking::Session, Error> {
        blocking::Session::open(self, self.names(channel), b"")
    }

    /// Returns the length in bytes of the largest message that fits into a frame for `channel`.
    #[must_use]
    pub fn max_message(&self, channel: &str) -> usize {
        self.names(channel).max_message()
    }

    fn names(&self, channel: &str) -> Names {
        Names {
            uid: self.uid.as_str().into(),
            channel: channel.into(),
        }
    }
}
