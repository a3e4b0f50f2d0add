//! Why a session with a valid join frame does not get a seat, and what is said of it.

use std::net::SocketAddr;

use super::Shard;
use crate::escape::Escaped;
use crate::protocol::LinkRefusal;

/// Why a session with a valid join frame does not get a seat.
#[derive(Debug)]
pub(crate) enum Refused {
    CidInUse,
    Duplicate,
    /// The same client has come once more while it waited for the place of its old session.
    Superseded,
    TooManyChannels,
    Stopping,
    Ring,
    Overtaken,
    Socket(std::io::Error),
}

impl Refused {
    /// The same as a server is told it.
    pub(crate) fn for_link(&self) -> Option<LinkRefusal> {
        match self {
            Self::CidInUse | Self::Superseded => Some(LinkRefusal::Cid),
            Self::TooManyChannels => Some(LinkRefusal::Limit),
            Self::Stopping => Some(LinkRefusal::Stopping),
            Self::Ring => Some(LinkRefusal::Loop),
            Self::Duplicate | Self::Overtaken | Self::Socket(_) => None,
        }
    }
}

impl Shard {
    /// Counts and logs it.
    pub(crate) fn refuse(&self, peer: SocketAddr, uid: &str, channel: &str, why: &Refused) {
        let stats = self.stats();
        stats.refused.add(1);
        if matches!(why, Refused::CidInUse | Refused::Duplicate) {
            stats.refused_duplicate.add(1);
        }
        if self.log.admit() {
            let (uid, channel) = (Escaped(uid), Escaped(channel));
            match why {
                Refused::CidInUse => tracing::warn!(
                    %peer, %uid, %channel,
                    "join refused: a live session of this channel has the same connection id"
                ),
                Refused::Duplicate => tracing::warn!(
                    %peer, %uid, %channel,
                    "join refused: a live session has the same uid in this channel"
                ),
                Refused::Superseded => tracing::info!(
                    %peer, %uid, %channel,
                    "join refused: its client has come once more while it waited for its place"
                ),
                Refused::TooManyChannels => tracing::warn!(
                    %peer, %uid, %channel, "join refused: as many channels as max_channels allows"
                ),
                Refused::Ring => tracing::warn!(
                    %peer, %uid, %channel, "link of a server refused: it would close a ring"
                ),
                Refused::Overtaken => tracing::info!(
                    %peer, %uid, %channel, "link of a server refused: a later session of it is there"
                ),
                Refused::Stopping => {
                    tracing::info!(%peer, %uid, %channel, "join refused: the broker is stopping");
                }
                Refused::Socket(error) => {
                    tracing::warn!(%peer, %uid, %channel, %error, "join failed");
                }
            }
        }
    }
}
