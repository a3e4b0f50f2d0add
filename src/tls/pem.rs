//! Certificates and keys from PEM files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use super::error::TlsError;
use super::provider;

/// Largest file in bytes that is read: a bundle of every public authority has a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// A certificate with those above it, and its key. They have been found to fit.
pub(super) fn pair(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let (chain, private) = (chain(cert)?, private_key(key)?);
    let loaded = CertifiedKey::from_der(chain, private, &provider());
    loaded.map_err(|error| match error {
        Error::InconsistentKeys(_) => TlsError::Mismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        },
        Error::InvalidCertificate(_) => bad_certificate(cert, error),
        error => TlsError::BadKey {
            path: key.to_owned(),
            reason: error.to_string(),
        },
    })
}

/// Authorities to trust.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| bad_certificate(path, error))?;
    }
    Ok(roots)
}

/// All certificates of a file, at least one.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsError::NoCertificate(path.to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(not_pem(path, &error)),
    }
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    // Both kinds say so in clear: the label of PKCS#8, and a header line of the older ones.
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let is_encrypted = |line: &[u8]| {
        line == b"-----BEGIN ENCRYPTED PRIVATE KEY-----" || line == b"Proc-Type: 4,ENCRYPTED"
    };
    if lines.any(is_encrypted) {
        return Err(TlsError::EncryptedKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => not_pem(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(failed(std::io::Error::other(
            "larger than certificates and keys can be",
        )));
    }
    std::fs::read(path).map_err(failed)
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::NotPem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn bad_certificate(path: &Path, error: Error) -> TlsError {
    TlsError::BadCertificate {
        path: PathBuf::from(path),
        reason: error.to_string(),
    }
}
