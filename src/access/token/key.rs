//! Keys that verify tokens, and the files that they come from.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use rustls::pki_types::alg_id;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde::Deserialize;
use thiserror::Error;

/// Shortest secret, in bytes, that does not have to be feared for: as long as the hash (RFC 7518, 3.2).
const SAFE_SECRET: usize = 32;
/// Length of a coordinate of P-256, and of a key of Ed25519, in bytes.
const POINT: usize = 32;

/// A key that verifies tokens (JWT). It is for one algorithm: HS256, RS256, ES256 or EdDSA.
#[derive(Clone, Debug)]
pub struct TokenKey {
    algorithm: Algorithm,
    /// Its name, if it has one (`kid`).
    id: Option<Box<str>>,
    key: DecodingKey,
}

/// Reason for which a file holds no keys for tokens.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadTokenKey {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It holds something else.
    #[error("it holds {0}; needed is a PEM file with a public key, a JWKS file, or a secret")]
    Other(&'static str),
    /// It holds a private key, which this server should not even have.
    #[error(
        "it holds a private key; servers need the public one (openssl pkey -in FILE -pubout -out NEW)"
    )]
    Private,
    /// It begins as PEM does, and is none.
    #[error("it is not a PEM file")]
    Pem,
    /// The key is none of those that are supported.
    #[error(
        "its key is not for HS256, RS256 (2048 bits or more), ES256 (P-256) or EdDSA (Ed25519)"
    )]
    Unsupported,
    /// It begins as JSON does, and is no set of keys.
    #[error("it is not a JWKS file: {0}")]
    Jwks(String),
    /// It has more than one line.
    #[error("a secret must be alone in its file, on one line")]
    Lines,
}

/// Returns the algorithm that a header names, if it is supported.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::HS256),
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.is_same(other)
    }
}

impl Eq for TokenKey {}

impl TokenKey {
    /// Creates the key of a secret that is shared with whoever signs tokens (HS256).
    #[must_use]
    pub fn secret(secret: &[u8]) -> Self {
        Self::new(Algorithm::HS256, DecodingKey::from_secret(secret))
    }

    /// Reads the keys in a file, whose content tells what it is: public keys in PEM, a set of keys in JSON (JWKS), or a
    /// secret alone on its line. Keys of a set that are for something else are left out.
    ///
    /// # Errors
    ///
    /// See [`BadTokenKey`]. There is at least one key otherwise.
    pub fn parse(file: &[u8]) -> Result<Vec<Self>, BadTokenKey> {
        let text = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        let text = text.trim_ascii();
        match text {
            [] => Err(BadTokenKey::Empty),
            [b'{', ..] => parse_jwks(text),
            _ if text.starts_with(b"-----BEGIN") => parse_pem(text),
            _ if text.contains(&b'\n') || text.contains(&b'\r') => Err(BadTokenKey::Lines),
            secret => Ok(vec![Self::secret(secret)]),
        }
    }

    /// Returns `true` if it is a secret so short that it can be found by trying.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        let secret = match self.key.kind() {
            DecodingKeyKind::SecretOrDer(secret) => Some(secret),
            DecodingKeyKind::RsaModulusExponent { .. } => None,
        };
        self.is_secret() && secret.is_some_and(|secret| secret.len() < SAFE_SECRET)
    }

    /// Returns `true` if it signs tokens as well as it verifies them.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.algorithm == Algorithm::HS256
    }

    fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self {
            algorithm,
            id: None,
            key,
        }
    }

    /// Returns `true` if a token may be signed with it that names this algorithm and key.
    pub(super) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let may_be_named = match (&self.id, id) {
            (Some(own), Some(id)) => **own == *id,
            (None, _) | (_, None) => true,
        };
        self.algorithm == algorithm && may_be_named
    }

    /// Returns `true` if `signature` was made of `signed` with it.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let verified =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm);
        verified.unwrap_or(false)
    }

    /// Returns `true` if `other` verifies the same tokens.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(own), DecodingKeyKind::SecretOrDer(other)) => {
                own == other
            }
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: n2, e: e2 },
            ) => n == n2 && e == e2,
            _ => false,
        };
        self.algorithm == other.algorithm && is_same
    }
}

/// Reads all public keys of a PEM file.
fn parse_pem(text: &[u8]) -> Result<Vec<TokenKey>, BadTokenKey> {
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|_| BadTokenKey::Pem)?;
        keys.push(match kind {
            SectionKind::PublicKey => public_key(&der).ok_or(BadTokenKey::Unsupported)?,
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(BadTokenKey::Private);
            }
            SectionKind::Certificate => return Err(BadTokenKey::Other("a certificate")),
            _ => return Err(BadTokenKey::Other("something else in PEM")),
        });
    }
    if keys.is_empty() {
        return Err(BadTokenKey::Pem);
    }
    Ok(keys)
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280).
fn public_key(der: &[u8]) -> Option<TokenKey> {
    let (0x30, info, []) = der_item(der)? else {
        return None;
    };
    let (0x30, algorithm, rest) = der_item(info)? else {
        return None;
    };
    let (0x03, bits, []) = der_item(rest)? else {
        return None;
    };
    // The first byte counts unused bits, of which keys have none.
    let [0, key @ ..] = bits else {
        return None;
    };
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        return rsa_key(key);
    }
    if algorithm == alg_id::ECDSA_P256.as_ref() && key.len() == 1 + 2 * POINT {
        return Some(TokenKey::new(
            Algorithm::ES256,
            DecodingKey::from_ec_der(key),
        ));
    }
    if algorithm == alg_id::ED25519.as_ref() && key.len() == POINT {
        return Some(TokenKey::new(
            Algorithm::EdDSA,
            DecodingKey::from_ed_der(key),
        ));
    }
    None
}

/// Reads an `RSAPublicKey` (RFC 8017).
fn rsa_key(der: &[u8]) -> Option<TokenKey> {
    let (0x30, numbers, []) = der_item(der)? else {
        return None;
    };
    let (0x02, modulus, rest) = der_item(numbers)? else {
        return None;
    };
    let (0x02, exponent, []) = der_item(rest)? else {
        return None;
    };
    rsa_of(modulus, exponent)
}

/// Returns the RSA key of these numbers, unless it is shorter than verification takes.
fn rsa_of(modulus: &[u8], exponent: &[u8]) -> Option<TokenKey> {
    let bare = |number: &[u8]| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        number[zeros..].to_vec()
    };
    let (modulus, exponent) = (bare(modulus), bare(exponent));
    if modulus.len() < 256 || exponent.is_empty() {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    Some(TokenKey::new(Algorithm::RS256, key))
}

/// Takes an item of DER apart: its tag, its content, and what follows it.
pub(super) fn der_item(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let len = len
                .iter()
                .fold(0, |len, &byte| len << 8 | usize::from(byte));
            (len, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// A set of keys (RFC 7517), or one key.
#[derive(Deserialize)]
struct Jwks {
    keys: Option<Vec<serde_json::Value>>,
}

/// A key as it is encoded. Members that are not known are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

fn parse_jwks(text: &[u8]) -> Result<Vec<TokenKey>, BadTokenKey> {
    let bad = |error: serde_json::Error| BadTokenKey::Jwks(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(text).map_err(bad)?;
    let set: Jwks = serde::Deserialize::deserialize(&value).map_err(bad)?;
    let mut keys = Vec::new();
    for key in set.keys.unwrap_or_else(|| vec![value]) {
        let key: Jwk = serde_json::from_value(key).map_err(bad)?;
        if key.d.is_some() {
            return Err(BadTokenKey::Private);
        }
        keys.extend(key.token_key());
    }
    if keys.is_empty() {
        return Err(BadTokenKey::Unsupported);
    }
    Ok(keys)
}

impl Jwk {
    /// Returns the key, if it is one that may verify tokens here.
    fn token_key(&self) -> Option<TokenKey> {
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return None;
        }
        let point = |coordinate: &Option<String>| {
            let bytes = super::decode(coordinate.as_deref()?).ok()?;
            (bytes.len() == POINT).then_some(bytes)
        };
        let number = |number: &Option<String>| super::decode(number.as_deref()?).ok();
        let mut key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => TokenKey::secret(&number(&self.k).filter(|k| !k.is_empty())?),
            ("RSA", _) => rsa_of(&number(&self.n)?, &number(&self.e)?)?,
            ("EC", Some("P-256")) => {
                let point = [&[0x04][..], &point(&self.x)?, &point(&self.y)?].concat();
                TokenKey::new(Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let key = DecodingKey::from_ed_der(&point(&self.x)?);
                TokenKey::new(Algorithm::EdDSA, key)
            }
            _ => return None,
        };
        let is_for = |name: &String| algorithm(name) == Some(key.algorithm);
        if !self.alg.as_ref().is_none_or(is_for) {
            return None;
        }
        key.id = self.kid.as_deref().map(Into::into);
        Some(key)
    }
}
