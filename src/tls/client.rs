//! TLS for clients: the authorities they trust, and their own certificates.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authorities::Authorities;
use super::error::TlsError;
use super::explain::explain_error;
use super::handshake::HandshakeError;
use super::pair::PairFiles;
use super::provider::{ALPN_MLES, VERSIONS, provider};
use super::validity::CertificateFile;
use super::verifier::{AnyServerVerifier, server_verifier};

/// Servers of one client whose TLS sessions are remembered, so that reconnecting takes fewer round trips.
const REMEMBERED: usize = 32;

/// The authorities that a client trusts, and its own certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTlsOptions {
    /// A PEM file with the authorities to trust, instead of those of the system. A server's own
    /// certificate will do.
    pub ca: Option<PathBuf>,
    /// `true` to trust any server: whoever is on the way can read and change everything. For trying out.
    pub insecure: bool,
    /// A PEM file with the certificate to show to servers that ask for one.
    pub cert: Option<PathBuf>,
    /// A PEM file with that certificate's private key.
    pub key: Option<PathBuf>,
}

impl ClientTlsOptions {
    /// Trusts the authorities of this PEM file, instead of those of the system.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Trusts any server: whoever is on the way can read and change everything. For trying out.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Shows the certificate of one PEM file, with the key of another, to servers that ask.
    #[must_use]
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.cert, self.key) = (Some(cert.into()), Some(key.into()));
        self
    }
}

/// A TLS configuration for clients, made of files that were read.
///
/// It is cheap to clone. Clones share the TLS sessions that they remember.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The files that it was made of.
    files: Arc<[CertificateFile]>,
}

impl ClientTls {
    /// Reads the files that `options` names, or the authorities of the system. Blocks, and should not be
    /// done for each connection.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn new(options: ClientTlsOptions) -> Result<Self, TlsError> {
        let ClientTlsOptions {
            ca,
            insecure,
            cert,
            key,
        } = options;
        let mut files = Vec::new();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| TlsError::Setup(explain_error(&error, "this side")))?;
        let builder = match ca {
            _ if insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServerVerifier)),
            None => builder.with_root_certificates(system_roots()?),
            Some(file) => {
                let authorities = Authorities::read(&file)?;
                let consequence = "servers that it has signed are refused";
                let certificates = &authorities.certificates;
                files.push(CertificateFile::authorities(
                    &file,
                    certificates,
                    consequence,
                ));
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(server_verifier(authorities)?)
            }
        };
        let mut config = match PairFiles::of(cert, key)? {
            None => builder.with_no_client_auth(),
            Some(pair_files) => {
                let pair = pair_files.read()?;
                let consequence = "servers that ask for it will refuse it";
                files.push(CertificateFile::chain(
                    &pair_files.cert,
                    &pair.cert,
                    consequence,
                ));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
        };
        config.alpn_protocols = vec![ALPN_MLES.to_vec()];
        config.resumption = Resumption::in_memory_sessions(REMEMBERED);
        Ok(Self {
            config: Arc::new(config),
            files: files.into(),
        })
    }

    /// Returns the warnings at `now`: certificates in the files that are out of date or will be within two
    /// weeks, and a chain in the wrong order.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let warnings = self.files.iter().flat_map(|file| file.warnings(now));
        warnings.collect()
    }

    /// Returns those of the warnings that are about time.
    #[cfg(feature = "server")]
    pub(super) fn out_of_date(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.files
            .iter()
            .filter_map(move |file| file.out_of_date(now))
    }

    /// Returns the configuration that connections are made with.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Makes a TLS connection with `host` over `stream`, without a timeout.
    ///
    /// # Errors
    ///
    /// Those of `stream`, and [`HandshakeError`] inside an [`io::Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = Self::name(host)?;
        let connector = TlsConnector::from(self.config.clone());
        let connected = connector.connect(name, stream).await;
        connected.map_err(explain_handshake_error)
    }

    /// Returns the name that the certificate of `host` must have.
    pub(crate) fn name(host: &str) -> Result<ServerName<'static>, HandshakeError> {
        // The zone of an address means something on this machine only.
        let (address, _) = host.split_once('%').unwrap_or((host, ""));
        let name = ServerName::try_from(address.to_owned());
        name.map_err(|_| HandshakeError::BadName(host.to_owned()))
    }
}

/// Explains an error of a read or a write over TLS, if it is about TLS.
pub(crate) fn explain_io_error(error: io::Error) -> io::Error {
    match HandshakeError::of(&error) {
        Some(plain) => plain.into(),
        None => error,
    }
}

/// Explains an error of a handshake, if it is about TLS.
pub(crate) fn explain_handshake_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            HandshakeError::Closed.into()
        }
        _ => explain_io_error(error),
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(TlsError::NoSystemRoots(if reasons.is_empty() {
        "none were found".to_owned()
    } else {
        reasons.join("; ")
    }))
}
