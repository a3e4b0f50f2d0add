//! TLS: makes configurations of rustls from certificates and keys in files.
//!
//! `ServerTls` is shared by all TLS listeners of a broker, and its files can be loaded again while they
//! run. [`ClientTls`] is for clients and links to upstream servers. Sockets, and what is spoken inside
//! of TLS, are up to others.
//!
//! Invariants: TLS 1.2 and 1.3 only; one crypto provider, named wherever a configuration is built,
//! so that programs around the library keep theirs; files that cannot be loaded change nothing that is
//! in use; every error names its file, in plain words and not in names of rustls' code. No early data:
//! it could be replayed.
//!
//! This module must not listen, and must not log a key.

mod authorities;
mod client;
mod error;
mod explain;
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

#[cfg(any(feature = "client", all(test, feature = "server")))]
pub(crate) use client::explain_io_error;
pub use client::{ClientTls, ClientTlsOptions};
pub use error::TlsError;
#[cfg(feature = "server")]
pub(crate) use explain::explain_error;
pub use handshake::HandshakeError;
#[cfg(feature = "server")]
pub(crate) use pair::PairFiles;
#[cfg(feature = "server")]
pub(crate) use server::{LoadedTls, ServerTls, explain_client_error};
#[cfg(feature = "server")]
pub(crate) use watch::CertificateWatch;
