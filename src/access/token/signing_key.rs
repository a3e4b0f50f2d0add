//! Keys that sign tokens, for trying out.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::alg_id;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde::Serialize;
use thiserror::Error;

use super::key::der_item;

/// A key that signs tokens.
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// Reason for which a file holds no key that signs tokens.
#[derive(Debug, Error)]
pub(crate) enum BadSigningKey {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It begins as PEM does, and is none.
    #[error("it is not a PEM file")]
    Pem,
    /// It has the other half.
    #[error("it holds a public key; tokens are signed with the private one")]
    Public,
    /// It is encoded as OpenSSL used to.
    #[error(
        "it holds a key in the form SEC 1; convert it: openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW"
    )]
    Sec1,
    /// It is none of those that are supported.
    #[error("its key is not for RS256, ES256 (P-256) or EdDSA (Ed25519), or is encrypted")]
    Unsupported,
    /// It is a set of keys.
    #[error("it holds JSON; needed is a PEM file with a private key, or a secret")]
    Json,
    /// It has more than one line.
    #[error("a secret must be alone in its file, on one line")]
    Lines,
    /// The library does not take it.
    #[error("its key does not sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl SigningKey {
    /// Reads the key in a file, whose content tells what it is: a private key in PEM, or a secret alone on its line.
    ///
    /// # Errors
    ///
    /// See [`BadSigningKey`].
    pub(crate) fn parse(file: &[u8]) -> Result<Self, BadSigningKey> {
        let text = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        let text = text.trim_ascii();
        match text {
            [] => Err(BadSigningKey::Empty),
            [b'{', ..] => Err(BadSigningKey::Json),
            _ if text.starts_with(b"-----BEGIN") => parse_pem(text),
            _ if text.contains(&b'\n') || text.contains(&b'\r') => Err(BadSigningKey::Lines),
            secret => Ok(Self {
                algorithm: Algorithm::HS256,
                key: EncodingKey::from_secret(secret),
            }),
        }
    }

    /// Returns a token with these claims.
    ///
    /// # Errors
    ///
    /// The key does not sign.
    pub(crate) fn sign(
        &self,
        claims: &impl Serialize,
        id: Option<String>,
    ) -> Result<String, BadSigningKey> {
        let header = Header {
            kid: id,
            ..Header::new(self.algorithm)
        };
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}

fn parse_pem(text: &[u8]) -> Result<SigningKey, BadSigningKey> {
    let section = <(SectionKind, Vec<u8>)>::from_pem_slice(text);
    let (kind, der) = section.map_err(|_| BadSigningKey::Pem)?;
    match kind {
        SectionKind::PrivateKey => private_key(&der).ok_or(BadSigningKey::Unsupported),
        SectionKind::RsaPrivateKey => Ok(SigningKey {
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_der(&der),
        }),
        SectionKind::EcPrivateKey => Err(BadSigningKey::Sec1),
        SectionKind::PublicKey => Err(BadSigningKey::Public),
        _ => Err(BadSigningKey::Unsupported),
    }
}

/// Reads a `PrivateKeyInfo` (RFC 5208).
fn private_key(der: &[u8]) -> Option<SigningKey> {
    let (0x30, info, _) = der_item(der)? else {
        return None;
    };
    let (0x02, _version, rest) = der_item(info)? else {
        return None;
    };
    let (0x30, algorithm, rest) = der_item(rest)? else {
        return None;
    };
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        let (0x04, inner, _) = der_item(rest)? else {
            return None;
        };
        return Some(SigningKey {
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_der(inner),
        });
    }
    if algorithm == alg_id::ECDSA_P256.as_ref() {
        return Some(SigningKey {
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(der),
        });
    }
    if algorithm == alg_id::ED25519.as_ref() {
        return Some(SigningKey {
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(der),
        });
    }
    None
}
