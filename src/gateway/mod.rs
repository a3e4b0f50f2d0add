//! HTTP on the WebSocket listeners: the page, channels over HTTP, event streams, and WebSocket sessions of both protocol
//! versions.
//!
//! [`serve`] reads the first request of a new connection. It upgrades the connection to WebSocket, or begins the event
//! stream that is asked for, and starts the task that serves its sessions; any other it leaves to [`http_connection`],
//! which answers requests until one of them is such a one. What members are sent is encoded by the channel core and
//! written by the shard, with what [`framing`] and [`events`] give them.
//!
//! Invariants:
//!
//! * Before its first session joins, a connection is bounded in time, in number, and in memory, as any
//!   other that has not joined.
//! * A connection stays on the shard that accepted it, and all of its sessions with it.
//! * A client is told why it is refused or closed, in the words of [`refusal`], and nothing that a stranger could
//!   learn a key or a name from.
//!
//! It must not know listeners or TLS handshakes, decide who may do what, or touch a channel: that is for
//! `net`, `access` and the shard.

mod api;
mod connection;
mod decimal;
mod encoded_message;
mod events;
mod first;
mod forwarded;
mod framing;
mod head;
mod http_connection;
mod new_session;
mod page;
mod refusal;
mod response;
mod upgrade;

pub(crate) use first::serve;
