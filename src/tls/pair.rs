//! A certificate together with its private key.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::error::TlsError;
use super::pem;
use super::provider::provider;

/// PEM files with a certificate and its private key.
#[derive(Clone, Debug)]
pub(crate) struct PairFiles {
    /// The certificate, followed by those of the authorities above it.
    pub(crate) cert: PathBuf,
    /// The private key, not encrypted.
    pub(crate) key: PathBuf,
}

impl PairFiles {
    /// Takes both files, or none.
    ///
    /// # Errors
    ///
    /// [`TlsError::HalfAPair`] if there is only one.
    pub(crate) fn of(
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Option<Self>, TlsError> {
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key })),
            (None, None) => Ok(None),
            _ => Err(TlsError::HalfAPair),
        }
    }

    /// Reads both files and checks that the key is that of the certificate.
    pub(super) fn read(&self) -> Result<CertifiedKey, TlsError> {
        let (chain, private) = (pem::certificates(&self.cert)?, pem::private_key(&self.key)?);
        let signing = provider().key_provider.load_private_key(private);
        let signing = signing.map_err(|_| TlsError::BadKey {
            path: self.key.clone(),
            reason:
                "it is damaged, or of a kind that is not taken: RSA of 2048 to 8192 bits, ECDSA on \
                     P-256, P-384 or P-521, and Ed25519 are"
                    .to_owned(),
        })?;
        let pair = CertifiedKey::new(chain, signing);
        match pair.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
            Err(Error::InconsistentKeys(_)) => Err(self.mismatch(&pair)),
            Err(error) => Err(pem::bad_certificate(&self.cert, &error)),
        }
    }

    /// Says why certificate and key do not fit: perhaps another certificate of the file does.
    fn mismatch(&self, pair: &CertifiedKey) -> TlsError {
        let fits = |other: &CertificateDer<'static>| {
            let alone = CertifiedKey::new(vec![other.clone()], pair.key.clone());
            alone.keys_match().is_ok()
        };
        let Self { cert, key } = self.clone();
        match pair.cert.iter().position(fits) {
            Some(index) => TlsError::WrongOrder {
                cert,
                number: index + 1,
                key,
            },
            None => TlsError::Mismatch { cert, key },
        }
    }
}
