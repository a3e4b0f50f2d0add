//! TLS: certificates in files become configurations of rustls.
//!
//! `ServerTls` has what all TLS listeners of a broker share and can be loaded again while they
//! run; [`ClientTls`] is for clients and links to upstream servers. Sockets, and what is spoken
//! inside of TLS, are up to others.
//!
//! Invariants: TLS 1.2 and 1.3 only; one crypto provider, named wherever a configuration is built,
//! so that programs around the library keep theirs; what cannot be loaded never takes the place of
//! what is in use; every error names the file that it is about, in words and never as rustls' own code would have it.
//! No early data: it could be replayed.
//!
//! This module must not listen, and must not log a key.

mod authorities;
mod client;
mod error;
mod handshake;
mod pair;
mod pem;
mod provider;
#[cfg(feature = "server")]
mod server;
#[cfg(all(test, feature = "server"))]
mod tests;
mod validity;
mod verifier;
#[cfg(feature = "server")]
mod watch;
mod words;

#[cfg(any(feature = "client", all(test, feature = "server")))]
pub(crate) use client::explained;
#[cfg(feature = "client")]
pub(crate) use client::handshake_failed;
pub use client::{ClientTls, ClientTlsOptions};
pub use error::TlsError;
pub use handshake::HandshakeError;
#[cfg(feature = "server")]
pub(crate) use pair::PairFiles;
#[cfg(feature = "server")]
pub(crate) use server::{ServerTls, client_failed};
#[cfg(feature = "server")]
pub(crate) use watch::Watch;
#[cfg(feature = "server")]
pub(crate) use words::of_error as in_words;
