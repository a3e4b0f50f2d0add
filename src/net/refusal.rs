//! Why a connection does not get as far as its channel.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::access::Denied;
use crate::protocol::{BodyError, FrameError, LinkRefusal, ResyncError};
use crate::shard::Shard;
use crate::shard::allowance::Overdrawn;
use crate::shard::limits::{LetGo, LimitReached};

/// Why a join frame is not accepted. The client only sees its connection closed: v1 has no reply.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// It closed the connection without a byte: a port scan, or a health check.
    #[error("the client left without sending anything")]
    LeftSilently,
    /// It closed the connection inside its join frame.
    #[error("the client left inside its join frame")]
    LeftInside,
    /// It closed the connection inside the TLS handshake: a port scan, or it does not trust us.
    #[error("the client left inside the TLS handshake")]
    LeftInHandshake,
    /// A proxy that is trusted did not say who its client is.
    #[error(
        "no PROXY header, as it has to come from trusted_proxies on this listener (proxy_protocol)"
    )]
    NoProxyHeader,
    /// A PROXY header that says nothing.
    #[error("the PROXY header cannot be read")]
    BadProxyHeader,
    /// It closed the connection inside a PROXY header.
    #[error("the proxy left inside its PROXY header")]
    LeftInProxyHeader,
    /// Somebody says who its client is, and is not asked.
    #[error(
        "a PROXY header, and this listener takes none from there (proxy_protocol, trusted_proxies)"
    )]
    UnexpectedProxyHeader,
    /// The client that a proxy speaks for is at a limit.
    #[error("turned away at the limit ({})", .0.limit())]
    LimitReached(LimitReached),
    /// The TLS handshake failed.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The join frame had not come as a whole when the time was up.
    #[error("no whole join frame within join_deadline")]
    TooSlow,
    /// It had to make room for others.
    #[error("let go before it had joined, to make room at the limit ({})", .0.full.limit())]
    LetGo(LetGo),
    /// The memory for incomplete frames was needed for those of others.
    #[error(
        "its join frame had stood still for longest when the memory for incomplete frames was used \
         up (partial_bytes)"
    )]
    Overdrawn,
    /// The first bytes are no frame.
    #[error("not a Mles v1 frame: {0}")]
    Frame(#[from] FrameError),
    /// The first body is no message.
    #[error("join frame: {0}")]
    Body(#[from] BodyError),
    /// A resync message that does not hold what it should.
    #[error("resync message: {0}")]
    Resync(#[from] ResyncError),
    /// It may not join what it names.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Overdrawn> for Refusal {
    fn from(_: Overdrawn) -> Self {
        Self::Overdrawn
    }
}

impl Refusal {
    /// The same as a server is told it, when the join frame is that of a link.
    pub(crate) fn for_link(&self) -> Option<LinkRefusal> {
        match self {
            Self::Resync(_) => Some(LinkRefusal::Resync),
            Self::Denied(denied) => denied.for_link(),
            Self::LeftSilently
            | Self::LeftInside
            | Self::LeftInHandshake
            | Self::NoProxyHeader
            | Self::BadProxyHeader
            | Self::LeftInProxyHeader
            | Self::UnexpectedProxyHeader
            | Self::LimitReached(_)
            | Self::Tls(_)
            | Self::TooSlow
            | Self::LetGo(_)
            | Self::Overdrawn
            | Self::Frame(_)
            | Self::Body(_)
            | Self::Io(_) => None,
        }
    }
}

/// Counts and logs a connection that does not get as far as its channel.
pub(crate) fn refused(shard: &Shard, peer: SocketAddr, refusal: &Refusal) {
    if matches!(refusal, Refusal::LeftSilently) {
        return tracing::debug!(%peer, %refusal, "no join");
    }
    let stats = shard.stats();
    match refusal {
        Refusal::LetGo(_) => stats.joining_evicted.add(1),
        Refusal::LimitReached(_) => stats.turned_away.add(1),
        Refusal::Overdrawn => stats.partials_evicted.add(1),
        _ => stats.refused.add(1),
    }
    if shard.log.admit() {
        tracing::warn!(%peer, %refusal, "join refused");
    }
}
