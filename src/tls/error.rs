//! What can be wrong with certificates and keys in files.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can be wrong with certificates and keys in files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate without a key, or a key without a certificate, or neither.
    #[error("a certificate and its key are needed, both")]
    HalfAPair,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{path} is not PEM: {reason}")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no certificate.
    #[error("no certificate in {0}: it should have `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(PathBuf),
    /// A certificate cannot be used.
    #[error("a certificate in {path} cannot be used: {reason}")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no private key.
    #[error("no private key in {0}: it should have `-----BEGIN PRIVATE KEY-----`")]
    NoKey(PathBuf),
    /// A private key is encrypted.
    #[error(
        "the private key in {0} is encrypted, and there is nobody to ask for its password; \
         `openssl pkey -in FILE -out NEW` writes it without one"
    )]
    EncryptedKey(PathBuf),
    /// A private key cannot be used.
    #[error("the private key in {path} cannot be used: {reason}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate is for another key.
    #[error("the certificate in {cert} does not belong to the key in {key}")]
    Mismatch {
        /// The file with the certificate.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The system has no authorities that it trusts.
    #[error(
        "this system has no trusted certificates ({0}); install ca-certificates or name a file"
    )]
    NoSystemRoots(String),
    /// TLS cannot be had from these parts.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}
