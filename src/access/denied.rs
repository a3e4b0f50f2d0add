//! Reasons to deny a join, or the request before it.

use thiserror::Error;

use super::permissions::Permissions;
use super::token::TokenError;

/// Reason for which a client may not join, or not even ask to. Names in it are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Denied {
    /// The uid or the channel name is longer than allowed.
    #[error("{what} of {len} bytes is over the limit of {limit}")]
    NameTooLong {
        /// Kind of the name.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The longest that is allowed, in bytes.
        limit: usize,
    },
    /// The key of a join frame is not the one that this server expects.
    #[error("wrong key for uid {uid} and channel {channel}{}", if *.uses_address {
        " (made from the client's address: a NAT or a proxy on the way changes it)"
    } else {
        ""
    })]
    WrongKey {
        /// The uid.
        uid: String,
        /// The channel.
        channel: String,
        /// Set if the key depends on the client's address.
        uses_address: bool,
    },
    /// Nothing that a WebSocket client has shown proves that it knows the key.
    #[error("wrong or missing auth for uid {uid} and channel {channel}")]
    WrongAuth {
        /// The uid.
        uid: String,
        /// The channel.
        channel: String,
    },
    /// A resync carries frames of many senders, and this server lets each session send its own only.
    #[error(
        "a resync, which only servers send: check_names = \"sender\" refuses servers below; if this \
         one is yours, allow it peer in a [[rule]], or set it to \"channel\" or \"off\""
    )]
    ChecksSenders,
    /// The grant of the client does not permit this.
    #[error("{holder} has no {} for uid {uid} and channel {channel}", right_named(*.right))]
    NoRight {
        /// The rights that are missing; empty if the session has none at all.
        right: Permissions,
        /// Name of the key or token that the client has shown.
        holder: String,
        /// The uid.
        uid: String,
        /// The channel.
        channel: String,
    },
    /// The key that a session has joined with does not count any more.
    #[error("the key {name} is not in force any more")]
    KeyRevoked {
        /// Name of the key.
        name: String,
    },
    /// A session has joined without a key, and now one is needed.
    #[error("a key is needed by now")]
    KeyNeeded,
    /// A token is not accepted, or not any more.
    #[error("the token {0}")]
    Token(#[from] TokenError),
    /// A token was shown where others may have read it on its way.
    #[error(
        "a token is accepted only over TLS, from this machine, and from trusted_proxies: everyone on the network path \
         could use it"
    )]
    TokenInClear,
    /// A token was shown by a session that has not joined with one.
    #[error("the session has not joined with a token, so none can take its place")]
    NoTokenBefore,
    /// The secret in an HTTP request is not the one that all clients share.
    #[error("wrong key")]
    WrongSecret,
    /// The secret was shown in an HTTP request that others may have read on its way.
    #[error(
        "Authorization: Bearer reveals the key to everyone on the network path: it is accepted only \
         over TLS (--tls-ws), from this machine, and from trusted_proxies"
    )]
    KeyInClear,
    /// A page of somebody else's wants to connect.
    #[error("{}: a page of {origin} at {host}", Self::ORIGIN)]
    Origin {
        /// Origin of the page.
        origin: String,
        /// The host that it connects to.
        host: String,
    },
    /// The page was asked for by a name that may be somebody else's.
    #[error("{}: asked for as {host}", Self::HOST)]
    Host {
        /// The name.
        host: String,
    },
}

impl Denied {
    const ORIGIN: &'static str = "this origin is not allowed (--ws-origin)";
    const HOST: &'static str = "without a key, this server answers only to its IP address and localhost; \
                                list other names, as in --ws-origin http://NAME";

    /// Returns `true` if a wrong key was shown, or a token that no key has signed: whoever shows many is guessing.
    pub(crate) const fn is_wrong_key(&self) -> bool {
        matches!(
            self,
            Self::WrongKey { .. }
                | Self::WrongAuth { .. }
                | Self::WrongSecret
                | Self::Token(TokenError::Signature)
        )
    }

    /// Returns `true` if the time of a token is up.
    pub(crate) const fn is_expiry(&self) -> bool {
        matches!(self, Self::Token(TokenError::Expired))
    }

    /// Returns the reason as its client may be told it: without what the client has said itself.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Origin { .. } => Self::ORIGIN.to_owned(),
            Self::Host { .. } => Self::HOST.to_owned(),
            Self::NoRight { right, .. } => format!("no {} in this channel", right_named(*right)),
            Self::KeyRevoked { .. } => "the key is not in force any more".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// Returns the words for a right that is missing.
fn right_named(right: Permissions) -> String {
    if right.is_empty() {
        "right at all".to_owned()
    } else {
        format!("{} right", right.names().collect::<Vec<_>>().join(" or "))
    }
}
