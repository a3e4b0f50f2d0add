//! The errors of certificates and keys in files.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// An error of a certificate or a key in a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or its key is missing.
    #[error("a certificate and its key are needed, both")]
    HalfAPair,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is empty.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// A file is not PEM.
    #[error("{path} is not PEM: {reason}")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The fault, in words that follow the rest.
        reason: String,
    },
    /// A file has no certificate.
    #[error("no certificate in {path}: it should have `-----BEGIN CERTIFICATE-----`{found}")]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// The content it has instead, in words that follow the rest; may be empty.
        found: String,
    },
    /// A certificate cannot be used.
    #[error("a certificate in {path} cannot be used: {reason}")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// The fault, in words that follow the rest.
        reason: String,
    },
    /// A file has no private key.
    #[error("no private key in {path}: it should have `-----BEGIN PRIVATE KEY-----`{found}")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The content it has instead, in words that follow the rest; may be empty.
        found: String,
    },
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
        /// The fault, in words that follow the rest.
        reason: String,
    },
    /// A certificate belongs to another key.
    #[error("the certificate in {cert} does not belong to the key in {key}")]
    Mismatch {
        /// The file with the certificate.
        cert: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The certificate that belongs to the key is not the first of its file.
    #[error(
        "the certificates in {cert} are in the wrong order: number {number} belongs to the key in \
         {key} and has to be the first, followed by that of the authority that has signed it, and \
         so on"
    )]
    WrongOrder {
        /// The file with the certificates.
        cert: PathBuf,
        /// The place of the one that should be first, counted from 1.
        number: usize,
        /// The file with the key.
        key: PathBuf,
    },
    /// The system has no authorities that can be trusted.
    #[error(
        "this system has no trusted certificates ({0}); install ca-certificates or name a file"
    )]
    NoSystemRoots(String),
    /// No configuration can be made of these parts.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsError {
    /// Returns the file that the error is about, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. }
            | Self::Empty(path)
            | Self::NotPem { path, .. }
            | Self::NoCertificate { path, .. }
            | Self::BadCertificate { path, .. }
            | Self::NoKey { path, .. }
            | Self::EncryptedKey(path)
            | Self::BadKey { path, .. }
            | Self::Mismatch { cert: path, .. }
            | Self::WrongOrder { cert: path, .. } => Some(path),
            Self::HalfAPair | Self::NoSystemRoots(_) | Self::Setup(_) => None,
        }
    }
}
