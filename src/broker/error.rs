//! Why a broker does not start, or ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::MAX_SHARDS;
use crate::net::ListenError;
#[cfg(feature = "store")]
use crate::store::OpenStoreError;
use crate::tls::TlsError;

/// Reason for which a broker did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It would have listened beyond loopback with nothing to check joins with.
    #[error("refusing to listen on {0} without a key: anyone who can reach it could join")]
    Unprotected(SocketAddr),
    /// Nobody could join over WebSocket: what a key is made of there is the shared secret, and there
    /// is none.
    #[error(
        "WebSocket needs the shared key (or ws_trust): with an address key alone, nobody could join"
    )]
    NoWebSocketKey,
    /// The admin listener would have answered anyone who can reach it.
    #[error("refusing to listen on {0} for admin requests without a token")]
    AdminUnprotected(SocketAddr),
    /// Nowhere to listen.
    #[error("no address to listen on")]
    NoListener,
    /// No shards, or too many.
    #[error("{0} shards: 1 to {MAX_SHARDS} are possible")]
    Shards(usize),
    /// A limit too small for any frame.
    #[error("max_frame of {0} bytes is too small for any frame")]
    MaxFrame(usize),
    /// The certificates of the TLS listeners, or those for upstream servers, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system does not have that congestion control, or does not let everybody use it.
    #[error("the congestion control \"{name}\" cannot be used: {reason}")]
    Congestion {
        /// Its name.
        name: String,
        /// Why, and what there is.
        reason: String,
    },
    /// A channel is to keep its history on disk, and there is no directory for it.
    #[error("a channel keeps its history on disk, and no directory is set for the store")]
    NoStoreDirectory,
    /// The store's directory, or what it is to be made in, is something else.
    #[error("the store needs a directory, and {} is not one", .0.display())]
    StoreDirectory(PathBuf),
    /// A channel is to keep its history on disk, and this broker was built without the feature `store`.
    #[error("a channel keeps its history on disk, and this program was built without the store")]
    NoStore,
    /// The store of histories could not be opened.
    #[cfg(feature = "store")]
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The broker is to be a node of a fleet, and was built without the feature `fleet`.
    #[error("[fleet] has servers, and this program was built without the fleet")]
    NoFleet,
    /// The log of the fleet is out of reach, or cannot be used.
    #[error("the fleet's log: {0}")]
    Fleet(String),
    /// A frame might be too long for the log of the fleet.
    #[error(
        "max_frame of {max_frame} bytes is too much for the fleet's log, which takes frames of {most} bytes (max_payload)"
    )]
    FleetFrame {
        /// The limit that is set.
        max_frame: usize,
        /// The largest that is possible.
        most: usize,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Failure that ended a broker.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A task panicked. The broker stopped rather than serve a part of its channels.
    #[error("a shard panicked; the broker has stopped")]
    Panicked,
    /// A shard could not run.
    #[error("a shard failed: {0}")]
    Shard(#[source] io::Error),
    /// It was drained, and the store could not take the rest of the histories. Everything else went well.
    #[error("stopped before the store had all histories: what is missing there is lost")]
    Unsaved,
}
