//! Checks of certificates in a handshake.
//!
//! The usual way to make a certificate that signs itself (`openssl req -x509`) makes it one of an
//! authority, and webpki does not accept an authority's certificate as that of a server or a client.
//! Whoever names exactly that certificate trusts it. So a certificate that equals a named one byte for
//! byte is **pinned**: it is accepted if its time is right, and for servers its name. That its owner has
//! the key is checked as with any other.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
#[cfg(feature = "server")]
use rustls::server::{
    WebPkiClientVerifier,
    danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::authorities::Authorities;
use super::error::TlsError;
use super::provider::provider;
use super::validity::check_time;

/// Makes the methods about signatures, which are the same in every verifier: whoever shows a
/// certificate must have its key.
macro_rules! signature_methods {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = provider().signature_verification_algorithms;
            verify_tls12_signature(message, cert, signed, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = provider().signature_verification_algorithms;
            verify_tls13_signature(message, cert, signed, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let algorithms = provider().signature_verification_algorithms;
            algorithms.supported_schemes()
        }
    };
}

/// Accepts pinned certificates, and what `inner` accepts.
#[derive(Debug)]
struct PinningVerifier<V: ?Sized> {
    inner: Arc<V>,
    pinned: Vec<CertificateDer<'static>>,
}

impl<V: ?Sized> PinningVerifier<V> {
    /// Returns `true` if the certificate is pinned.
    ///
    /// # Errors
    ///
    /// It is pinned and not valid at `now`.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.pinned.contains(certificate) {
            return Ok(false);
        }
        check_time(certificate, now)?;
        Ok(true)
    }
}

/// Returns a verifier that accepts `pinned` certificates besides those that `built` accepts.
fn pinning<V: ?Sized>(
    built: Result<Arc<V>, impl ToString>,
    pinned: Vec<CertificateDer<'static>>,
) -> Result<PinningVerifier<V>, TlsError> {
    let inner = built.map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(PinningVerifier { inner, pinned })
}

/// Returns a verifier of servers that trusts `authorities`.
pub(super) fn server_verifier(
    authorities: Authorities,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let builder = WebPkiServerVerifier::builder_with_provider(authorities.roots, provider());
    let verifier = pinning(builder.build(), authorities.certificates)?;
    Ok(Arc::new(verifier))
}

impl ServerCertVerifier for PinningVerifier<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_pinned(end_entity, now)? {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let inner = &self.inner;
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    signature_methods!();
}

/// Returns a verifier of clients that trusts `authorities`.
#[cfg(feature = "server")]
pub(super) fn client_verifier(
    authorities: Authorities,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(authorities.roots, provider());
    let verifier = pinning(builder.build(), authorities.certificates)?;
    Ok(Arc::new(verifier))
}

#[cfg(feature = "server")]
impl ClientCertVerifier for PinningVerifier<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.is_pinned(end_entity, now)? {
            return Ok(ClientCertVerified::assertion());
        }
        self.inner
            .verify_client_cert(end_entity, intermediates, now)
    }

    signature_methods!();
}

/// Accepts any certificate of a server.
#[derive(Debug)]
pub(super) struct AnyServerVerifier;

impl ServerCertVerifier for AnyServerVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    signature_methods!();
}
