//! Everything about a server that is shown at once.

use super::answers::{Channel, Channels, Link, Links, Server, Session, Sessions, Shard};
use super::client::AdminClient;
use super::error::AdminError;

/// An order of channels, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum ChannelOrder {
    /// Messages per second.
    #[default]
    Rate,
    /// Bytes per second.
    Bytes,
    Members,
    /// Bytes queued for members.
    Queued,
    /// Bytes of history.
    History,
}

impl ChannelOrder {
    /// Returns the name of the order, as the server knows it.
    pub(in crate::cli) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Members => "members",
            Self::Queued => "queued",
            Self::History => "history",
        }
    }

    /// Returns the order that comes after this one, in a ring.
    pub(in crate::cli) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Members,
            Self::Members => Self::Queued,
            Self::Queued => Self::History,
            Self::History => Self::Rate,
        }
    }
}

/// A server at one moment.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Snapshot {
    pub(in crate::cli) server: Server,
    pub(in crate::cli) shards: Vec<Shard>,
    pub(in crate::cli) channels: Vec<Channel>,
    /// Members that do not get what is queued for them, the furthest behind first.
    pub(in crate::cli) slow: Vec<Session>,
    /// Members that publish, the busiest first.
    pub(in crate::cli) publishers: Vec<Session>,
    pub(in crate::cli) links: Vec<Link>,
}

impl Snapshot {
    /// Asks for everything, for at most `limit` channels and sessions.
    ///
    /// # Errors
    ///
    /// When a part of it cannot be had.
    pub(in crate::cli) fn take(
        client: &AdminClient,
        order: ChannelOrder,
        limit: usize,
    ) -> Result<Self, AdminError> {
        let channels: Channels =
            client.get(&format!("channels?sort={}&limit={limit}", order.name()))?;
        let sessions: Sessions = client.get(&format!("sessions?sort=queued&limit={limit}"))?;
        let links: Links = client.get("links")?;
        let mut slow = sessions.sessions;
        slow.retain(Session::is_behind);
        let busy: Sessions = client.get(&format!("sessions?sort=rate&limit={limit}"))?;
        let mut publishers = busy.sessions;
        publishers.retain(|session| session.rate > 0.0);
        Ok(Self {
            server: client.get("server")?,
            shards: client.get("shards")?,
            channels: channels.channels,
            slow,
            publishers,
            links: links.links,
        })
    }
}
