//! Why somebody does not get into a channel, and what is counted, logged and told of it.
//!
//! A refusal is counted and logged once, by [`Shard::note_refusal`], where it is decided. Clients of
//! v1 over TCP only see their connection closed, as v1 has no reply. Servers below are told
//! [`Refusal::for_link`]; what HTTP and WebSocket clients are told is the gateway's to say.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::Shard;
use super::allowance::Overdrawn;
use super::labels::RefusalReason;
use super::limits::{LimitReached, TooOften};
use crate::access::Denied;
use crate::escape::Escaped;
use crate::protocol::{BodyError, FrameError, LinkRefusal, ResyncError};

/// The reason that an HTTP client is told when there is no memory for its request.
pub(crate) const NO_MEMORY_FOR_REQUEST: &str =
    "no memory left for incomplete requests (partial_bytes)";

/// Reason for which a connection, a request or a join is refused.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// It closed the connection without a byte: a port scan, or a health check.
    #[error("the client closed the connection without sending anything")]
    LeftSilently,
    /// It closed the connection inside its join frame.
    #[error("the client closed the connection in the middle of its join frame")]
    LeftInside,
    /// It closed the connection inside the TLS handshake: a port scan, or it does not trust us.
    #[error("the client closed the connection during the TLS handshake")]
    LeftInHandshake,
    /// A proxy that is trusted did not say who its client is.
    #[error("no PROXY header: on this listener, trusted_proxies must send one (proxy_protocol)")]
    NoProxyHeader,
    /// The PROXY header is malformed.
    #[error("malformed PROXY header")]
    BadProxyHeader,
    /// It closed the connection inside a PROXY header.
    #[error("the proxy closed the connection in the middle of its PROXY header")]
    LeftInProxyHeader,
    /// A PROXY header came from where none is expected.
    #[error(
        "unexpected PROXY header: this listener accepts none from there (proxy_protocol, trusted_proxies)"
    )]
    UnexpectedProxyHeader,
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(String),
    /// The time to join was up.
    #[error("no {awaited} within join_deadline")]
    TooSlow {
        /// Input that had not come.
        awaited: &'static str,
    },
    /// Nothing had come when the time to join was up. Browsers open connections that they may need
    /// later.
    #[error("no whole request within join_deadline")]
    Idle,
    /// There are as many connections as there may be, and none has to make room.
    #[error("turned away at the limit ({})", .0.limit())]
    LimitReached(LimitReached),
    /// It had to make room for others.
    #[error("closed before it had joined, to make room at the limit ({})", .0.limit())]
    LetGo(LimitReached),
    /// The memory for incomplete frames was needed for those of others.
    #[error(
        "closed to free memory for incomplete frames (partial_bytes): its join frame had not \
         progressed for longest"
    )]
    Overdrawn,
    /// The first bytes are no frame.
    #[error("not a Mles v1 frame: {0}")]
    Frame(#[from] FrameError),
    /// The first body is no message.
    #[error("join frame: {0}")]
    Body(#[from] BodyError),
    /// The resync message is bad.
    #[error("resync message: {0}")]
    Resync(#[from] ResyncError),
    /// A client of the gateway does not keep to HTTP or WebSocket.
    #[error("{0}")]
    Fault(String),
    /// It may not do what it asks for.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The connection id is taken.
    #[error("a live session of this channel has the same connection id")]
    CidInUse,
    /// The uid is taken, and only one session may have it.
    #[error("a live session has the same uid in this channel")]
    Duplicate,
    /// A later join of the same client waits for the same place.
    #[error("its client has joined again while it waited for its place")]
    Superseded,
    /// There is no room for a new channel.
    #[error("the limit of channels is reached (max_channels)")]
    TooManyChannels,
    /// It comes too often.
    #[error("too often ({}): again in {:?}", .0.rate.limit(), .0.wait)]
    TooOften(TooOften),
    /// Too many wrong keys came from its address.
    #[error("banned for wrong keys (ban_after), for {0:?} more")]
    Banned(Duration),
    /// It has published something else by that name before.
    #[error("the Idempotency-Key was used with another body")]
    OtherContent,
    /// A publication does not fit into a record of the fleet.
    #[error("more than {most} bytes at once, names in each message included: publish it in parts")]
    TooLarge {
        /// How many bytes of frames there may be.
        most: usize,
    },
    /// Its publishers had to wait for too long.
    #[error("the members of the channel are behind (slow_policy, write_deadline)")]
    Busy,
    /// The publication has to be on disk first, and the disk is not written.
    #[error("the history cannot be written to disk: {0}")]
    Unwritten(StoreTrouble),
    /// The publication is held until it is on disk, for too long.
    #[error(
        "not on disk yet ({0}): it is published when it is; with the same Idempotency-Key it may be sent again"
    )]
    Undecided(StoreTrouble),
    /// This node of a fleet does not hear of the log that orders messages.
    #[error("the server is cut off from its fleet")]
    CutOff,
    /// What was published was handed over to the fleet, and nobody knows whether it has its place.
    #[error(
        "not known yet whether the fleet has it: with the same Idempotency-Key it may be sent again"
    )]
    Unordered,
    /// What was published has its place in the fleet since before this node was started.
    #[error("published before with the same Idempotency-Key: this server does not know where")]
    PlaceUnknown,
    /// A server wants to link to a node of a fleet.
    #[error("the server is a node of a fleet: other servers cannot link to it")]
    NoLinks,
    /// The broker takes no new sessions.
    #[error("the broker is stopping")]
    Stopping,
    /// Servers would be linked in a circle.
    #[error("it would close a ring")]
    Ring,
    /// A link comes late: the server below has replaced it.
    #[error("a newer session of it exists")]
    Overtaken,
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
}

/// State of the store, as clients may know it: details, which may have paths of the machine, are for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum StoreTrouble {
    /// It writes nothing.
    #[error("the store fails")]
    Failing,
    /// It writes, and takes its time.
    #[error("the disk is slow")]
    Slow,
}

impl From<TooOften> for Refusal {
    fn from(too_often: TooOften) -> Self {
        Self::TooOften(too_often)
    }
}

impl From<Overdrawn> for Refusal {
    fn from(_: Overdrawn) -> Self {
        Self::Overdrawn
    }
}

impl Refusal {
    /// Returns the reason as a server below is told it; `None` if it is not told.
    pub(crate) const fn for_link(&self) -> Option<LinkRefusal> {
        match self {
            Self::Denied(Denied::WrongKey { .. }) => Some(LinkRefusal::Key),
            Self::Denied(Denied::ChecksSenders) => Some(LinkRefusal::Sender),
            Self::Denied(Denied::NoRight { .. }) => Some(LinkRefusal::Right),
            Self::Denied(Denied::NameTooLong { .. })
            | Self::TooManyChannels
            | Self::TooOften(_) => Some(LinkRefusal::Limit),
            Self::Resync(_) => Some(LinkRefusal::Resync),
            Self::CidInUse | Self::Superseded => Some(LinkRefusal::Cid),
            Self::Stopping => Some(LinkRefusal::Stopping),
            Self::NoLinks => Some(LinkRefusal::Right),
            Self::Ring => Some(LinkRefusal::Loop),
            _ => None,
        }
    }
}

/// The attempt that is refused, which decides how the log says it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt<'a> {
    /// To connect.
    Connect,
    /// To join over TCP or TLS.
    Join,
    /// To ask for something over HTTP.
    Request,
    /// To join over WebSocket.
    JoinOverWebSocket {
        /// The reason as its client is told it.
        told: &'a str,
    },
    /// To enter a channel, with names that it may use.
    Enter { uid: &'a str, channel: &'a str },
}

impl Shard {
    /// Counts and logs that somebody at `peer` is refused.
    pub(crate) fn note_refusal(&self, peer: SocketAddr, attempt: Attempt<'_>, refusal: &Refusal) {
        if matches!(refusal, Refusal::LeftSilently) {
            return tracing::debug!(%peer, %refusal, "no join");
        }
        self.count_refusal(attempt, refusal);
        if let Refusal::Denied(denied) = refusal {
            self.note_denied(peer, denied);
        }
        if matches!(refusal, Refusal::Banned(_)) {
            // The ban was logged. What it keeps out should not fill the log as well.
            return tracing::debug!(%peer, %refusal, "refused");
        }
        if matches!(refusal, Refusal::Idle) {
            return tracing::debug!(%peer, %refusal, "HTTP request refused");
        }
        if !self.log.admit() {
            return;
        }
        match (attempt, refusal) {
            (Attempt::Connect, Refusal::LimitReached(full)) => {
                tracing::warn!(%peer, limit = full.limit(), "connection turned away: at the limit");
            }
            (Attempt::Request, Refusal::Overdrawn) => {
                tracing::warn!(%peer, refusal = NO_MEMORY_FOR_REQUEST, "HTTP request refused");
            }
            (Attempt::Connect | Attempt::Join, _)
            | (Attempt::Request, Refusal::LimitReached(_) | Refusal::LetGo(_)) => {
                tracing::warn!(%peer, %refusal, "join refused");
            }
            (Attempt::Request, _) => tracing::warn!(%peer, %refusal, "HTTP request refused"),
            (Attempt::JoinOverWebSocket { .. }, Refusal::Overdrawn) => tracing::warn!(
                %peer,
                "join over WebSocket refused: closed to free memory for incomplete messages \
                 (partial_bytes); its message had not progressed for longest"
            ),
            (Attempt::JoinOverWebSocket { .. }, Refusal::LetGo(full)) => tracing::warn!(
                %peer, limit = full.limit(),
                "WebSocket client closed before it had joined: made room at the limit"
            ),
            (Attempt::JoinOverWebSocket { told }, _) => {
                tracing::warn!(%peer, refusal = %told, "join over WebSocket refused");
            }
            (Attempt::Enter { uid, channel }, _) => log_at_channel(peer, uid, channel, refusal),
        }
    }

    /// Counts a wrong key, or a token that no key has signed, and says so if its address is banned for that.
    pub(super) fn note_denied(&self, peer: SocketAddr, denied: &Denied) {
        if denied.is_wrong_key()
            && let Some(ban) = self.common.wrong_key_from(peer.ip())
        {
            self.stats().bans.add(1);
            let (address, time) = (ban.address, ban.left);
            tracing::warn!(%address, ?time, "address banned: too many wrong keys (ban_after)");
        }
    }

    fn count_refusal(&self, attempt: Attempt<'_>, refusal: &Refusal) {
        let stats = self.stats();
        let counter = match (attempt, refusal) {
            (_, Refusal::LetGo(_)) => &stats.joining_evicted,
            (_, Refusal::LimitReached(limit)) => stats.turned_away.of(*limit),
            (_, Refusal::Banned(_)) => &stats.banned,
            (_, Refusal::TooOften(too_often)) => stats.throttled.of(too_often.rate),
            // An HTTP client still gets an answer: that its memory went was counted before.
            (Attempt::Request, Refusal::Overdrawn) => stats.refused.of(RefusalReason::Memory),
            (_, Refusal::Overdrawn) => &stats.partials_evicted,
            _ => stats.refused.of(refusal.into()),
        };
        counter.add(1);
        if matches!(refusal, Refusal::CidInUse | Refusal::Duplicate) {
            stats.refused_duplicate.add(1);
        }
    }
}

fn log_at_channel(peer: SocketAddr, uid: &str, channel: &str, refusal: &Refusal) {
    let (uid, channel) = (Escaped(uid), Escaped(channel));
    match refusal {
        Refusal::Io(error) => tracing::warn!(%peer, %uid, %channel, %error, "join failed"),
        Refusal::Ring => {
            tracing::warn!(%peer, %uid, %channel, "link of a server refused: {refusal}");
        }
        Refusal::Overtaken => {
            tracing::info!(%peer, %uid, %channel, "link of a server refused: {refusal}");
        }
        Refusal::Superseded | Refusal::Stopping => {
            tracing::info!(%peer, %uid, %channel, "join refused: {refusal}");
        }
        _ => tracing::warn!(%peer, %uid, %channel, "join refused: {refusal}"),
    }
}
