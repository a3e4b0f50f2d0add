//! The client, by which users set what they want and open sessions.

use std::time::Duration;

use super::blocking_session::BlockingSession;
use super::error::Error;
use super::identity::{CidChoice, Names};
use super::options::SessionOptions;
use super::reconnect::Reconnect;
use super::session::Session;
use super::token_source::TokenSource;
use crate::protocol::{Cid, HEADER_LEN, Keyring, MAX_FRAME_LEN, Position};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;

/// The server, the name of its user, and the limits that all sessions have in common.
///
/// A client is cheap to clone and opens no connection before a session joins. Setters take and
/// return the client, so that they can be chained.
#[derive(Clone, Debug)]
pub struct Client {
    uid: String,
    options: SessionOptions,
}

impl Client {
    /// Creates a client of `server` for the user `uid`.
    ///
    /// The server is `HOST` or `HOST:PORT`; the default port is 8077, and an IPv6 address with a port
    /// stands in brackets. With the feature `tls`, `tls://` in front asks for TLS.
    pub fn new(server: impl Into<String>, uid: impl Into<String>) -> Self {
        Self {
            uid: uid.into(),
            options: SessionOptions::new(server.into()),
        }
    }

    /// Sets the secret that is shared with the server. Without one, session keys are made from this
    /// client's address.
    #[must_use]
    pub fn shared_key(self, key: impl Into<String>) -> Self {
        self.keyring(Keyring::new(Some(key.into()), None))
    }

    /// Sets the secrets that are shared with the server.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.options.keyring = keyring;
        self
    }

    /// Sets the token (JWT) to show in the place of a key. Its `sub` must be the uid of this client. Servers accept it only
    /// over TLS, or on their own machine.
    ///
    /// The session ends when it expires: see [`token_from`](Self::token_from) for sessions that last longer.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.token_from(move || Ok(token.clone()))
    }

    /// Sets where tokens come from: `source` is called for every connection, those of a session that reconnects included,
    /// and some time before a token expires. A token that is another one than before is shown to the server, and the session
    /// goes on with that. `source` is called again and again until it returns one.
    ///
    /// It is called where the session is used, and must not block for long. If it fails at a join, so does the call that
    /// needs the token, with [`Error::Token`]; later it is called again. Sessions with tokens [ask for
    /// positions](Self::positions), as only those are told when a token expires. The session has to be used meanwhile: what
    /// nobody waits for does not go on.
    #[must_use]
    pub fn token_from(
        self,
        source: impl Fn() -> Result<String, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.token_from_async(move || std::future::ready(source()))
    }

    /// Sets where tokens come from, like [`token_from`](Self::token_from), with a function that may wait for them.
    #[must_use]
    pub fn token_from_async<F>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        self.options.token = Some(TokenSource::new(source));
        self
    }

    /// Gives each session a random connection id, so that one uid can join a channel several times.
    /// By default the id is the low half of the session key.
    #[must_use]
    pub fn random_cid(mut self) -> Self {
        self.options.cid = CidChoice::Random;
        self
    }

    /// Sets the connection id of every session.
    #[must_use]
    pub fn cid(mut self, cid: Cid) -> Self {
        self.options.cid = CidChoice::Fixed(cid);
        self
    }

    /// Sets the largest frame that is received, in bytes with its header. The default is 16 MiB, the
    /// most that the protocol allows. A larger frame ends the session.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.options.max_frame = bytes.clamp(HEADER_LEN + 1, MAX_FRAME_LEN);
        self
    }

    /// Sets how long each address of the server is tried; 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets how long sending the join may take; 5 s by default. If the connection ends within this
    /// time and about two seconds, before anything came, that may be a refusal ([`Error::Refused`]).
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.options.join_timeout = timeout;
        self
    }

    /// Resets connections when their session is dropped, or the process ends, however that happens: the
    /// server then ends the session at once. Otherwise it takes a closed connection for one that still
    /// receives, until the next message.
    ///
    /// For sessions that only receive: messages may be lost that were published just before the end.
    /// [`Session::close`](super::Session::close) does without this.
    #[must_use]
    pub fn reset_on_drop(mut self) -> Self {
        self.options.reset_on_drop = true;
        self
    }

    /// Asks for positions: received messages have one ([`Received::position`]), gaps are told
    /// ([`Event::Gap`]), and messages can be confirmed ([`Publisher::publish_confirmed`]). Off by default. Sessions
    /// that reconnect ask by themselves.
    ///
    /// A server that does not give positions ignores this.
    ///
    /// [`Received::position`]: super::Received::position
    /// [`Event::Gap`]: super::Event::Gap
    /// [`Publisher::publish_confirmed`]: super::Publisher::publish_confirmed
    #[must_use]
    pub fn positions(mut self) -> Self {
        self.options.positions = true;
        self
    }

    /// Asks who is in the channel, and asks for [positions](Self::positions): an [`Event::Members`] comes first, with at most
    /// `names` uids, and an [`Event::MembersChanged`] whenever somebody has come or left. Off by default. Servers send no more
    /// than 1,000 names at once.
    ///
    /// The session needs the right `presence`. A server that does not give positions tells nothing.
    ///
    /// [`Event::Members`]: super::Event::Members
    /// [`Event::MembersChanged`]: super::Event::MembersChanged
    #[must_use]
    pub fn members(mut self, names: u32) -> Self {
        self.options.members = Some(names.into());
        self
    }

    /// Begins sessions behind `position`, where an earlier session or program has stopped, and asks for positions. What
    /// came since then is received first. If not all of it can be had, an [`Event::Gap`](super::Event::Gap) comes
    /// before it.
    ///
    /// A position belongs to one channel: to join several, clone the client for each. In another channel, and after
    /// a restart of the server, the whole history is received behind a gap.
    #[must_use]
    pub fn since(mut self, position: Position) -> Self {
        self.options.since = Some(position);
        self
    }

    /// Makes sessions reconnect after their connection was lost; off by default. The first join
    /// need not find a server either: [`join`](Self::join) then returns a session that goes on trying.
    ///
    /// Where the server gives positions, a session goes on exactly where it was: each message is received once, or told
    /// as missing, and published once. See [`Reconnect`].
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = Some(reconnect);
        self
    }

    /// Talks to the server over TLS, even if its name does not begin with `tls://`. If only the name
    /// asks for TLS, the authorities of the system are trusted; the first join of the process reads
    /// them.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// Connects and joins `channel`, announcing the join with an empty message.
    ///
    /// The server has not yet accepted the join when this returns: see [`Error::Refused`].
    ///
    /// # Errors
    ///
    /// [`Error::Address`], [`Error::Connect`] and [`Error::Message`]; over TLS also `Error::Tls`. A
    /// session that reconnects reports [`Error::Connect`] as its first
    /// [`Event::Disconnected`](super::Event::Disconnected) instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn join(&self, channel: &str) -> Result<Session, Error> {
        self.join_with(channel, "").await
    }

    /// Connects and joins `channel`; the join carries the first message.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. The message may have been published by then.
    pub async fn join_with(
        &self,
        channel: &str,
        first: impl AsRef<[u8]>,
    ) -> Result<Session, Error> {
        Session::open(&self.options, self.names(channel), first.as_ref()).await
    }

    /// Connects and joins `channel` without a runtime, announcing the join with an empty message.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    pub fn join_blocking(&self, channel: &str) -> Result<BlockingSession, Error> {
        BlockingSession::open(&self.options, self.names(channel), b"")
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
