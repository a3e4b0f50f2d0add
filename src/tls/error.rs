//! What can be wrong with certificates and keys in files.

use std::io;
use std::path::{Path, PathBuf};

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
    /// A file has nothing in it.
    #[error("{0} is empty")]
    Empty(PathBuf),
    /// A file is not PEM.
    #[error("{path} is not PEM: {reason}")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no certificate.
    #[error("no certificate in {path}: it should have `-----BEGIN CERTIFICATE-----`{found}")]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What it has instead, to follow the rest; may be empty.
        found: String,
    },
    /// A certificate cannot be used.
    #[error("a certificate in {path} cannot be used: {reason}")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has no private key.
    #[error("no private key in {path}: it should have `-----BEGIN PRIVATE KEY-----`{found}")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What it has instead, to follow the rest; may be empty.
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
    /// The certificate that belongs to the key is not the first of its file.
    #[error(
        "the certificates in {cert} are in the wrong order: number {number} belongs to the key in \
         {key} and has to be the first, followed by that of the authority that has signed it, and \
         so on"
    )]
    WrongOrder {
        /// The file with the certificates.
        cert: PathBuf,
        /// The place of the one that should be first, from 1.
        number: usize,
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

impl TlsError {
    /// The file that it is about, if it is about one.
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
