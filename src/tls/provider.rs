//! The one crypto provider, and the versions and protocols that are spoken with it.

use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

/// The ALPN name of Mles v1.
pub(super) const ALPN_MLES: &[u8] = b"mles";
/// The ALPN name of HTTP, which WebSocket begins with.
#[cfg(feature = "server")]
pub(super) const ALPN_HTTP: &[u8] = b"http/1.1";

/// The supported versions, the preferred one first.
pub(super) static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Returns the crypto provider. It is named wherever a configuration is built, so that programs
/// around the library keep theirs.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
