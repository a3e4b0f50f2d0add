//! From when to when certificates are valid, and saying so in time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use webpki::EndEntityCert;

use super::provider::provider;
use super::words::{between, duration};

/// A certificate that expires within this time is worth a warning.
const SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 86_400;
/// In seconds, after everything that a certificate can say: the year 10,000.
const END_OF_TIME: u64 = 253_402_300_800;

/// The certificates of one file: when they are valid, and what else is odd about them.
#[derive(Clone, Debug)]
pub(super) struct CertificateFile {
    path: PathBuf,
    /// What follows from a certificate that is out of date.
    consequence: &'static str,
    /// Of each certificate that says it.
    valid: Vec<Valid>,
    /// What is not as it should be whatever the time.
    oddity: Option<String>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
struct Valid {
    /// Its place in the file, from 1.
    number: usize,
    from: UnixTime,
    until: UnixTime,
}

/// Out of date, or soon to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Expired(Duration),
    NotYet(Duration),
    Expires(Duration),
}

impl CertificateFile {
    /// A certificate, followed by those of the authorities above it. `consequence`: what follows
    /// when one of them is out of date, as a sentence.
    pub(super) fn chain(
        path: &Path,
        chain: &[CertificateDer<'_>],
        consequence: &'static str,
    ) -> Self {
        Self {
            oddity: order_warning(chain, path),
            ..Self::authorities(path, chain, consequence)
        }
    }

    /// Authorities in any order.
    pub(super) fn authorities(
        path: &Path,
        certificates: &[CertificateDer<'_>],
        consequence: &'static str,
    ) -> Self {
        let valid = certificates.iter().enumerate().filter_map(|(i, cert)| {
            let (from, until) = validity(cert)?;
            let number = i + 1;
            Some(Valid {
                number,
                from,
                until,
            })
        });
        Self {
            path: path.to_owned(),
            consequence,
            valid: valid.collect(),
            oddity: None,
        }
    }

    /// All there is to warn of at `now`.
    pub(super) fn warnings(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.oddity.clone().into_iter().chain(self.out_of_date(now))
    }

    /// What to warn of at `now`: one line for the file, about what is worst.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let now = UnixTime::since_unix_epoch(now);
        let standing = |valid: &Valid| Some((valid.standing(now)?, valid.number));
        let (worst, number) = self.valid.iter().filter_map(standing).min()?;
        let which = if number == 1 {
            "the certificate".to_owned()
        } else {
            format!("certificate {number}")
        };
        let path = self.path.display();
        let others = match self.valid.iter().filter_map(standing).count() {
            0 | 1 => String::new(),
            more => format!("; {} more in that file", more - 1),
        };
        let consequence = match worst {
            Standing::Expires(_) => "renew it in time",
            _ => self.consequence,
        };
        Some(format!("{which} in {path} {worst}: {consequence}{others}"))
    }
}

impl Valid {
    fn standing(self, now: UnixTime) -> Option<Standing> {
        if now > self.until {
            Some(Standing::Expired(between(self.until, now)))
        } else if now < self.from {
            Some(Standing::NotYet(between(now, self.from)))
        } else {
            let left = between(now, self.until);
            (left <= SOON).then_some(Standing::Expires(left))
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Expired(ago) => write!(f, "has expired {} ago", duration(ago)),
            Self::NotYet(wait) => write!(f, "is not valid before {} from now", duration(wait)),
            Self::Expires(left) => write!(f, "expires in {}", duration(left)),
        }
    }
}

/// Checks that a certificate is valid at `now`, and nothing else.
pub(super) fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    ParsedCertificate::try_from(certificate)?;
    let (not_before, not_after) = validity(certificate).ok_or(CertificateError::BadEncoding)?;
    if now > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        }
        .into());
    }
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
        .into());
    }
    Ok(())
}

/// From when to when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>) -> Option<(UnixTime, UnixTime)> {
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let until = match check(certificate, at(END_OF_TIME)) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            not_after
        }
        _ => return None,
    };
    let from = match check(certificate, at(0)) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => not_before,
        _ => at(0),
    };
    Some((from, until))
}

/// Has webpki look at a certificate. It checks time before everything else, and the rest fails for
/// want of roots.
fn check(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let roots = RootCertStore::empty();
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
}

/// What is not as it should be with the order of a chain: clients that do not sort it refuse it.
fn order_warning(chain: &[CertificateDer<'_>], path: &Path) -> Option<String> {
    let parsed: Vec<_> = chain
        .iter()
        .map(EndEntityCert::try_from)
        .collect::<Result<_, _>>()
        .ok()?;
    let is_signed_by = |pair: &[EndEntityCert<'_>]| pair[0].issuer() == pair[1].subject();
    let broken = parsed.windows(2).position(|pair| !is_signed_by(pair))?;
    Some(format!(
        "certificate {} in {} is not that of the authority that has signed the one before it: clients \
         may refuse the chain. The server's own comes first, then each time that of the authority \
         that has signed the last",
        broken + 2,
        path.display()
    ))
}
