//! Options that all sessions of a client share.

use std::io;
use std::time::Duration;

use super::error::Error;
use super::identity::CidChoice;
use super::reconnect::Reconnect;
use super::token_source::TokenSource;
use crate::protocol::{Keyring, MAX_FRAME_LEN, Position};
#[cfg(feature = "tls")]
use crate::tls::ClientTls;

/// The server, the secrets, and the limits of all sessions of a client.
#[derive(Clone, Debug)]
pub(super) struct SessionOptions {
    /// As the user has written it.
    pub(super) server: String,
    pub(super) keyring: Keyring,
    pub(super) cid: CidChoice,
    /// Largest frame that is received, in bytes with its header.
    pub(super) max_frame: usize,
    /// Longest attempt to reach one address of the server.
    pub(super) connect_timeout: Duration,
    /// Longest time that sending the join may take.
    pub(super) join_timeout: Duration,
    /// Set to reset connections that are dropped, instead of closing them.
    pub(super) reset_on_drop: bool,
    /// Set to ask for positions, as sessions do that reconnect.
    pub(super) positions: bool,
    /// The largest number of names in the first list of members, of sessions that ask who is there.
    pub(super) members: Option<u64>,
    /// Position at which a session begins.
    pub(super) since: Option<Position>,
    /// Waits between attempts to reconnect, if sessions reconnect.
    pub(super) reconnect: Option<Reconnect>,
    pub(super) token: Option<TokenSource>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

impl SessionOptions {
    /// Returns the defaults.
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            keyring: Keyring::default(),
            cid: CidChoice::FromKey,
            max_frame: MAX_FRAME_LEN,
            connect_timeout: Duration::from_secs(5),
            join_timeout: Duration::from_secs(5),
            reset_on_drop: false,
            positions: false,
            members: None,
            since: None,
            reconnect: None,
            token: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Returns `true` if sessions ask for positions. Those with tokens do, as they are told then when these expire, and
    /// so do those that ask for members.
    pub(super) const fn asks_for_positions(&self) -> bool {
        let begins_or_returns = self.since.is_some() || self.reconnect.is_some();
        self.positions || begins_or_returns || self.token.is_some() || self.members.is_some()
    }

    /// Returns the token to show, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] when it cannot be had.
    pub(super) async fn token(&self) -> Result<Option<String>, Error> {
        match &self.token {
            Some(source) => source.token().await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the error for a server that could not be connected to.
    pub(super) fn connect_error(&self, source: io::Error) -> Error {
        Error::Connect {
            server: self.server.clone(),
            source,
        }
    }
}
