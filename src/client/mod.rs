//! Clients: join a channel, publish, receive its history and then live messages.
//!
//! [`Client`] holds what all sessions have in common (server, uid, secrets, limits); each
//! [`join`](Client::join) opens one connection for one channel.
//!
//! ```no_run
//! # async fn example() -> Result<(), mles::client::Error> {
//! use mles::client::Client;
//!
//! let client = Client::new("localhost", "alice").shared_key("secret");
//! let mut session = client.join("news").await?;
//! session.publish("hello").await?;
//! while let Some(message) = session.recv().await? {
//!     println!("{}: {}", message.uid(), message.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Two tasks may publish and receive, see [`Session::split`]. Programs without a runtime use
//! [`Client::join_blocking`].
//!
//! # What to know about the protocol
//!
//! * A server answers a join only to clients that ask for positions ([`Client::positions`], [`Client::reconnect`]), and
//!   only if it gives them. Otherwise it never answers. It sends the history if there is one, or it closes the
//!   connection. If it closes it within two seconds, before anything came, and goes on listening, the
//!   first call that notices returns [`Error::Refused`]. Any other close is the end of the session.
//! * A server does not send a member its own messages, except as part of the history.
//! * A session that publishes must also be read from: a server disconnects members whose queue is full.
//!   See [`Subscriber::drain`].
//! * Without positions, messages are delivered at most once: what was written when a connection broke may be lost.
//!   Sessions that reconnect to a server with positions deliver and publish each message exactly once, or tell what is
//!   missing.
//!
//! # Invariants
//!
//! * No task, thread, timer or channel stands between a call and its socket. A session works only
//!   while one of its methods is being awaited; any of them reconnects a session that does so.
//! * An idle session holds no read buffer.
//! * Frames leave whole: a dropped future never leaves half a frame behind on a connection that is
//!   then used on.
//!
//! This module must not know anything about the server side beyond `protocol`.

mod admission;
mod blocking_session;
mod builder;
mod error;
mod event;
mod frame_buffer;
mod halves;
mod identity;
mod inbound;
mod join;
mod options;
mod publisher;
mod received;
mod reconnect;
mod replay;
mod session;
mod socket;
mod subscriber;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_halves;
mod token_source;
mod tracked;
mod transport;
mod write_buffer;

pub use blocking_session::BlockingSession;
pub use builder::Client;
pub use error::Error;
pub use event::Event;
pub use publisher::Publisher;
pub use received::Received;
pub use reconnect::Reconnect;
pub use session::Session;
pub use subscriber::Subscriber;

pub use crate::protocol::{BadPosition, Cid, DEFAULT_PORT, Epoch, Key, Keyring, Position};
#[cfg(feature = "tls")]
pub use crate::tls::{ClientTls, ClientTlsOptions, HandshakeError, TlsError};
