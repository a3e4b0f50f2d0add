//! The labels by which counters are divided: what carries a session, and why somebody is refused or let go.
//!
//! Labels have few values, all known when the program is built: never names that clients choose.

use super::counter::Counter;
use super::limits::{LimitReached, RateReached};
use super::refusal::Refusal;
use crate::access::{Denied, TokenError};
use crate::channel::SlowReason;

/// The values by which a counter is divided.
pub(crate) trait Label: Copy {
    /// Name of the label.
    const NAME: &'static str;
    /// The values, by their index.
    const VALUES: &'static [&'static str];
    /// A counter for each value.
    type Counters: AsRef<[Counter]> + Default + std::fmt::Debug;

    /// Returns its place among the values.
    fn index(self) -> usize;
}

/// Makes a type a [`Label`] with a value for each variant.
macro_rules! label {
    ($type:ty as $name:literal { $($variant:ident => $value:literal,)* }) => {
        impl Label for $type {
            const NAME: &'static str = $name;
            const VALUES: &'static [&'static str] = &[$($value),*];
            type Counters = [Counter; [$($value),*].len()];

            #[inline]
            fn index(self) -> usize {
                enum Index { $($variant,)* }
                match self {
                    $(Self::$variant => Index::$variant as usize,)*
                }
            }
        }
    };
}

/// Transport of a session, or of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Mles v1 over TCP.
    Tcp,
    /// Mles v1 over TLS.
    Tls,
    /// WebSocket, v1 or v2.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
    /// An event stream, with or without TLS.
    Events,
    /// HTTP requests that publish, with or without TLS.
    Http,
    /// A link between servers, whatever it goes over.
    Link,
}

label! {
    Transport as "transport" {
        Tcp => "tcp",
        Tls => "tls",
        WebSocket => "ws",
        WebSocketTls => "wss",
        Events => "events",
        Http => "http",
        Link => "link",
    }
}

impl Transport {
    /// Returns its name, as metrics and the API have it.
    pub(crate) fn name(self) -> &'static str {
        Self::VALUES[self.index()]
    }

    /// Returns what it is with TLS below.
    pub(crate) const fn encrypted(self) -> Self {
        match self {
            Self::Tcp => Self::Tls,
            Self::WebSocket => Self::WebSocketTls,
            other => other,
        }
    }
}

/// Kind of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// To publish a message.
    Publish,
    /// For messages that were published.
    Read,
    /// For a stream of events.
    Events,
    /// Members of a channel.
    Members,
    /// For anything else: the page, a WebSocket, or something that is not there.
    Other,
}

label! {
    RequestKind as "request" {
        Publish => "publish",
        Read => "read",
        Events => "events",
        Members => "members",
        Other => "other",
    }
}

label! {
    SlowReason as "reason" {
        QueueFull => "queue_full",
        NoProgress => "no_progress",
        HeldBack => "held_back",
    }
}

label! {
    LimitReached as "limit" {
        Connections => "max_connections",
        Address => "max_connections_per_address",
        Joining => "max_joining",
        HalfClosed => "max_half_closed",
        Files => "open_files",
        Channels => "max_channels",
    }
}

label! {
    RateReached as "rate" {
        JoinsOfAddress => "join_rate_per_address",
        JoinsOfKey => "join_rate_per_key",
        PublishesOfSession => "publish_rate_per_session",
        PublishesOfAddress => "publish_rate_per_address",
        PublishesOfKey => "publish_rate_per_key",
    }
}

/// Use of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    /// The histories of channels, and what is remembered of publishers.
    History,
    /// Incomplete frames of members.
    Partial,
    /// Incomplete frames of connections that have not joined.
    Joining,
    /// The queues of members whose sockets are full.
    Queues,
}

label! {
    MemoryKind as "kind" {
        History => "history",
        Partial => "partial",
        Joining => "joining",
        Queues => "stalled_queues",
    }
}

/// Reason for which a connection, a request or a join is refused, as counters divide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// A wrong or missing key.
    Key,
    /// No rule permits it.
    Rights,
    /// A token that is not accepted.
    Token,
    /// The key was shown where others could read it.
    KeyInClear,
    /// The page's origin, or the name that the server was asked for by, is not allowed.
    Origin,
    /// A name that is too long.
    Name,
    /// A resync, where each session may send its own messages only.
    Sender,
    /// Not a frame, a message or a request.
    Malformed,
    /// A missing, malformed or unexpected PROXY header.
    ProxyHeader,
    /// The TLS handshake failed.
    Tls,
    /// Nothing whole came in time.
    Deadline,
    /// The client closed the connection before it had joined.
    Left,
    /// The connection failed.
    Connection,
    /// The connection id or the uid is in use.
    InUse,
    /// A later join of the same client came first.
    Superseded,
    /// The limit of channels is reached.
    Channels,
    /// No memory for what is incomplete.
    Memory,
    /// Members of the channel are behind.
    Busy,
    /// The store cannot write what has to be on disk first.
    Store,
    /// The node is cut off from its fleet, or does not know what the fleet makes of it.
    Fleet,
    /// The broker is stopping.
    Stopping,
    /// A limit of connections, a rate, or a ban. Such refusals have counters of their own.
    Limit,
    /// A link that would close a ring.
    Ring,
}

label! {
    RefusalReason as "reason" {
        Key => "key",
        Rights => "rights",
        Token => "token",
        KeyInClear => "key_in_clear",
        Origin => "origin",
        Name => "name",
        Sender => "sender",
        Malformed => "malformed",
        ProxyHeader => "proxy_header",
        Tls => "tls",
        Deadline => "deadline",
        Left => "left",
        Connection => "connection",
        InUse => "in_use",
        Superseded => "superseded",
        Channels => "channels",
        Memory => "memory",
        Busy => "busy",
        Store => "store",
        Fleet => "fleet",
        Stopping => "stopping",
        Limit => "limit",
        Ring => "ring",
    }
}

/// Reason for which a token does not take the place of the one before, as counters divide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshFault {
    /// It has expired.
    Expired,
    /// It is not good yet.
    NotYet,
    /// No key here has signed it.
    Signature,
    /// It is for another uid.
    Uid,
    /// It does not permit the session anything in its channel.
    Rights,
    /// It is for another audience, or from another issuer.
    Audience,
    /// It is longer than tokens are.
    TooLong,
    /// It is no token, or has claims that make no sense.
    Malformed,
    /// Others may have read it on its way.
    InClear,
    /// The session has not joined with a token.
    NoTokenBefore,
}

label! {
    RefreshFault as "reason" {
        Expired => "expired",
        NotYet => "not_yet",
        Signature => "signature",
        Uid => "uid",
        Rights => "rights",
        Audience => "audience",
        TooLong => "too_long",
        Malformed => "malformed",
        InClear => "in_clear",
        NoTokenBefore => "no_token_before",
    }
}

impl From<&Denied> for RefreshFault {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Token(error) => match error {
                TokenError::Expired => Self::Expired,
                TokenError::NotYet => Self::NotYet,
                TokenError::Signature => Self::Signature,
                TokenError::Subject => Self::Uid,
                TokenError::Issuer | TokenError::Audience => Self::Audience,
                TokenError::TooLong => Self::TooLong,
                TokenError::Malformed
                | TokenError::Algorithm
                | TokenError::Critical
                | TokenError::Claim { .. }
                | TokenError::Claims => Self::Malformed,
            },
            Denied::TokenInClear => Self::InClear,
            Denied::NoTokenBefore => Self::NoTokenBefore,
            _ => Self::Rights,
        }
    }
}

impl From<&Refusal> for RefusalReason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::LeftSilently
            | Refusal::LeftInside
            | Refusal::LeftInHandshake
            | Refusal::LeftInProxyHeader => Self::Left,
            Refusal::NoProxyHeader | Refusal::BadProxyHeader | Refusal::UnexpectedProxyHeader => {
                Self::ProxyHeader
            }
            Refusal::Tls(_) => Self::Tls,
            Refusal::TooSlow { .. } | Refusal::Idle => Self::Deadline,
            Refusal::LimitReached(_)
            | Refusal::LetGo(_)
            | Refusal::TooOften(_)
            | Refusal::Banned(_) => Self::Limit,
            Refusal::Overdrawn => Self::Memory,
            Refusal::Frame(_)
            | Refusal::Body(_)
            | Refusal::Resync(_)
            | Refusal::Fault(_)
            | Refusal::OtherContent
            | Refusal::TooLarge { .. }
            | Refusal::PlaceUnknown => Self::Malformed,
            Refusal::Denied(denied) => denied.into(),
            Refusal::CidInUse | Refusal::Duplicate => Self::InUse,
            Refusal::Superseded | Refusal::Overtaken => Self::Superseded,
            Refusal::TooManyChannels => Self::Channels,
            Refusal::Busy => Self::Busy,
            Refusal::Unwritten(_) | Refusal::Undecided(_) => Self::Store,
            Refusal::CutOff | Refusal::Unordered | Refusal::NoLinks => Self::Fleet,
            Refusal::Stopping => Self::Stopping,
            Refusal::Ring => Self::Ring,
            Refusal::Io(_) => Self::Connection,
        }
    }
}

impl From<&Denied> for RefusalReason {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::WrongKey { .. } | Denied::WrongAuth { .. } | Denied::WrongSecret => Self::Key,
            Denied::Token(_) | Denied::NoTokenBefore => Self::Token,
            Denied::KeyInClear | Denied::TokenInClear => Self::KeyInClear,
            Denied::Origin { .. } | Denied::Host { .. } => Self::Origin,
            Denied::NameTooLong { .. } => Self::Name,
            Denied::ChecksSenders => Self::Sender,
            Denied::NoRight { .. } => Self::Rights,
            Denied::KeyRevoked { .. } | Denied::KeyNeeded => Self::Key,
        }
    }
}
