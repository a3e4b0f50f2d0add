//! The authorities that one side trusts, read from a PEM file.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::TlsError;
use super::pem;

/// Certificates to trust: what they have signed, and each of them by itself.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    /// The authorities that may have signed a certificate.
    pub(super) roots: Arc<RootCertStore>,
    /// All certificates of the file, each trusted by itself.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads a PEM file with at least one certificate.
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        let certificates = pem::certificates(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|error| pem::bad_certificate(path, &error))?;
        }
        Ok(Self {
            roots: roots.into(),
            certificates,
        })
    }
}
