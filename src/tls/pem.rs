//! Reads certificates and keys from PEM files.
//!
//! Files are accepted as people have them: with a byte order mark in front, line ends of any system,
//! spaces at the ends of lines, text in between. For a file that is not PEM the error says what it looks
//! like.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustls::Error;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::TlsError;
use super::explain::{explain_certificate, explain_error, spelled};

/// Largest file in bytes that is read: a bundle of every public authority has a quarter of it.
const MAX_FILE: u64 = 1 << 20;
/// The mark that text in UTF-8 may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Longest label that is shown, in bytes.
const MAX_LABEL: usize = 40;

/// Reads all certificates of a file; there is at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = PemText::read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text.0).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NoCertificate {
            path: path.to_owned(),
            found: text.found(),
        }),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(not_pem(path, &text, &error)),
    }
}

/// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = PemText::read(path)?;
    // Both kinds say so in clear: the label of PKCS#8, and a header line of the older ones.
    let is_encrypted = |line: &[u8]| {
        line == b"-----BEGIN ENCRYPTED PRIVATE KEY-----" || line.starts_with(b"Proc-Type: 4,ENCR")
    };
    if text.lines().any(is_encrypted) {
        return Err(TlsError::EncryptedKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text.0).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
            found: text.found(),
        },
        error => not_pem(path, &text, &error),
    })
}

/// The text of a file, with one kind of line end and without spaces around lines.
struct PemText(Vec<u8>);

impl PemText {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let failed = |source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let bytes = read(path).map_err(failed)?;
        if bytes.trim_ascii().is_empty() {
            return Err(TlsError::Empty(path.to_owned()));
        }
        if let Some(reason) = binary(&bytes) {
            return Err(TlsError::NotPem {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
        Ok(Self::new(&bytes))
    }

    /// Normalizes text. Files put together may have a byte order mark in the middle.
    fn new(bytes: &[u8]) -> Self {
        let mut text = Vec::with_capacity(bytes.len());
        for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            text.extend_from_slice(line.trim_ascii());
            text.push(b'\n');
        }
        Self(text)
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'\n')
    }

    /// Says what the file has instead, in words that follow the complaint.
    fn found(&self) -> String {
        let label = self.lines().find_map(|line| {
            let rest = line.strip_prefix(b"-----BEGIN ")?;
            let label = rest.strip_suffix(b"-----")?;
            std::str::from_utf8(&label[..label.len().min(MAX_LABEL)]).ok()
        });
        match label {
            None => String::new(),
            Some("CERTIFICATE") => {
                "; it has a certificate: are certificate and key swapped?".to_owned()
            }
            Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
                "; it has a request for a certificate, which an authority has yet to sign"
                    .to_owned()
            }
            Some("OPENSSH PRIVATE KEY") => "; it has a key for SSH".to_owned(),
            Some("PKCS7" | "CMS") => {
                "; it has PKCS#7, which `openssl pkcs7 -print_certs -in FILE -out NEW` converts"
                    .to_owned()
            }
            Some("TRUSTED CERTIFICATE" | "X509 CERTIFICATE") => {
                "; it has one in a form of OpenSSL's own, which `openssl x509 -in FILE -out NEW` \
                 converts"
                    .to_owned()
            }
            Some(key) if key.ends_with("PRIVATE KEY") => {
                "; it has a private key: are certificate and key swapped?".to_owned()
            }
            Some(other) => format!("; it has {}", other.escape_default()),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        let reason = "larger than certificates and keys can be";
        return Err(io::Error::other(reason));
    }
    Ok(bytes)
}

/// Says what a file is that is not text.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        // A sequence of two lengths, that begins with the number 3.
        [0x30, 0x82, _, _, 0x02, 0x01, 0x03, ..] | [0x30, 0x80, 0x02, 0x01, 0x03, ..] => {
            Some("it is PKCS#12; `openssl pkcs12 -in FILE -nodes -out NEW` converts it")
        }
        [0x30, 0x81..=0x84, ..] => Some(
            "it is DER; `openssl x509 -inform der -in FILE -out NEW` converts a certificate, and \
             `openssl pkey -inform der -in FILE -out NEW` a key",
        ),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            Some("it is text in UTF-16; save it as UTF-8 or ASCII")
        }
        _ => bytes
            .contains(&0)
            .then_some("it is binary, and no kind that is known here"),
    }
}

fn not_pem(path: &Path, text: &PemText, error: &pem::Error) -> TlsError {
    let is_torn =
        |line: &&[u8]| line.starts_with(b"-----BEGIN ") && line[11..] != *label_and_dashes(line);
    let torn = text.lines().find(is_torn);
    let reason = match error {
        _ if torn.is_some_and(|line| line.windows(2).any(|pair| pair == br"\n")) => {
            "it has \\n written out where lines should end".to_owned()
        }
        _ if torn.is_some() => {
            "a line with -----BEGIN goes on behind the dashes, or ends before them".to_owned()
        }
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(&end_marker[..end_marker.len().min(MAX_LABEL)]);
            let label = label.escape_default();
            format!("the line -----END {label}----- is missing; was it cut off?")
        }
        pem::Error::Base64Decode(_) => {
            "what stands between -----BEGIN and -----END is damaged (no base64)".to_owned()
        }
        pem::Error::SectionTooLarge => "a part of it is too large".to_owned(),
        pem::Error::NoItemsFound => "it has nothing of use".to_owned(),
        other => spelled(other),
    };
    TlsError::NotPem {
        path: path.to_owned(),
        reason,
    }
}

/// Returns what should be the whole rest of a line that begins a section.
fn label_and_dashes(line: &[u8]) -> &[u8] {
    let rest = &line[11..];
    let dashes = rest.windows(5).position(|five| five == b"-----");
    &rest[..dashes.map_or(0, |at| at + 5)]
}

pub(super) fn bad_certificate(path: &Path, error: &Error) -> TlsError {
    TlsError::BadCertificate {
        path: path.to_owned(),
        reason: match error {
            Error::InvalidCertificate(reason) => format!("it {}", explain_certificate(reason)),
            other => explain_error(other, "the file"),
        },
    }
}
