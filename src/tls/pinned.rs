//! Certificates that are trusted by themselves, besides those that an authority has signed.
//!
//! The usual way to make a certificate that signs itself (`openssl req -x509`) makes it one of an
//! authority, and as such webpki does not take it for a server's or a client's. Whoever names
//! exactly that certificate trusts it, so one that equals a named one byte for byte is accepted
//! once its time (and for servers its name) is right. That its owner has the key is checked as with
//! any other.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::error::TlsError;
use super::provider;
use super::validity::{CertificateFile, check_time};

/// Whom to trust, from one file.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    /// What may have signed a certificate.
    pub(super) roots: Arc<RootCertStore>,
    /// All certificates of the file, each trusted by itself.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Checks servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// The times of what was read from `path`; see [`CertificateFile::authorities`].
    pub(super) fn file(&self, path: &Path, consequence: &'static str) -> CertificateFile {
        CertificateFile::authorities(path, &self.certificates, consequence)
    }

    /// Checks servers against these authorities.
    pub(super) fn server_verifier(self) -> Result<Arc<ServerVerifier>, TlsError> {
        let builder = WebPkiServerVerifier::builder_with_provider(self.roots, provider());
        let inner = builder
            .build()
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(Arc::new(ServerVerifier {
            inner,
            pinned: self.certificates,
        }))
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.contains(end_entity) {
            check_time(end_entity, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let inner = &self.inner;
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(feature = "server")]
mod clients {
    use rustls::DistinguishedName;
    use rustls::server::WebPkiClientVerifier;
    use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};

    use super::{
        Arc, Authorities, CertificateDer, DigitallySignedStruct, Error, HandshakeSignatureValid,
        SignatureScheme, TlsError, UnixTime, check_time, provider,
    };

    /// Checks clients.
    #[derive(Debug)]
    struct ClientVerifier {
        inner: Arc<dyn ClientCertVerifier>,
        pinned: Vec<CertificateDer<'static>>,
    }

    impl Authorities {
        /// Checks clients against these authorities.
        pub(in crate::tls) fn client_verifier(
            self,
        ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
            let builder = WebPkiClientVerifier::builder_with_provider(self.roots, provider());
            let inner = builder
                .build()
                .map_err(|error| TlsError::Setup(error.to_string()))?;
            Ok(Arc::new(ClientVerifier {
                inner,
                pinned: self.certificates,
            }))
        }
    }

    impl ClientCertVerifier for ClientVerifier {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            self.inner.root_hint_subjects()
        }

        fn verify_client_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            now: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            if self.pinned.contains(end_entity) {
                check_time(end_entity, now)?;
                return Ok(ClientCertVerified::assertion());
            }
            self.inner
                .verify_client_cert(end_entity, intermediates, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls12_signature(message, cert, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls13_signature(message, cert, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    }
}
