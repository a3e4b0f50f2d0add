//! The dates between which certificates are valid, and warnings about them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use webpki::EndEntityCert;

use super::explain::{between, duration};
use super::provider::provider;

/// A certificate that expires within this time is worth a warning.
const SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 86_400;
/// In seconds, after everything that a certificate can say: the year 10,000.
const END_OF_TIME: u64 = 253_402_300_800;

/// The dates of the certificates in one file, and what else to warn of.
#[derive(Clone, Debug)]
pub(super) struct CertificateFile {
    path: PathBuf,
    /// The consequence of a certificate that is out of date, as a sentence.
    consequence: &'static str,
    /// Those of the certificates that can be parsed.
    valid: Vec<ValidityPeriod>,
    /// A warning that does not depend on the time.
    oddity: Option<String>,
}

/// The dates between which a certificate is valid.
#[derive(Clone, Copy, Debug)]
struct ValidityPeriod {
    /// Its place in the file, counted from 1.
    number: usize,
    from: UnixTime,
    until: UnixTime,
}

/// A certificate that is out of date, or will be soon; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DateProblem {
    Expired(Duration),
    NotYet(Duration),
    Expires(Duration),
}

impl CertificateFile {
    /// Describes a certificate, followed by those of the authorities above it. `consequence` says, as a
    /// sentence, what happens when one of them is out of date.
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

    /// Describes the certificates of authorities, in any order.
    pub(super) fn authorities(
        path: &Path,
        certificates: &[CertificateDer<'_>],
        consequence: &'static str,
    ) -> Self {
        let valid = certificates.iter().enumerate().filter_map(|(i, cert)| {
            let (from, until) = validity(cert)?;
            let number = i + 1;
            Some(ValidityPeriod {
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

    /// Returns when the first of the certificates expires; `None` if there is none that can be parsed.
    #[cfg(feature = "server")]
    pub(super) fn expires(&self) -> Option<SystemTime> {
        let until = self.valid.iter().map(|valid| valid.until.as_secs()).min()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(until))
    }

    /// Returns all warnings at `now`.
    pub(super) fn warnings(&self, now: SystemTime) -> impl Iterator<Item = String> {
        self.oddity.clone().into_iter().chain(self.out_of_date(now))
    }

    /// Returns the warning about dates at `now`: one line for the file, about the worst of them.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let now = UnixTime::since_unix_epoch(now);
        let problem = |valid: &ValidityPeriod| Some((valid.problem(now)?, valid.number));
        let (worst, number) = self.valid.iter().filter_map(problem).min()?;
        let which = if number == 1 {
            "the certificate".to_owned()
        } else {
            format!("certificate {number}")
        };
        let path = self.path.display();
        let others = match self.valid.iter().filter_map(problem).count() {
            0 | 1 => String::new(),
            more => format!("; {} more in that file", more - 1),
        };
        let consequence = match worst {
            DateProblem::Expires(_) => "renew it in time",
            _ => self.consequence,
        };
        Some(format!("{which} in {path} {worst}: {consequence}{others}"))
    }
}

impl ValidityPeriod {
    fn problem(self, now: UnixTime) -> Option<DateProblem> {
        if now > self.until {
            Some(DateProblem::Expired(between(self.until, now)))
        } else if now < self.from {
            Some(DateProblem::NotYet(between(now, self.from)))
        } else {
            let left = between(now, self.until);
            (left <= SOON).then_some(DateProblem::Expires(left))
        }
    }
}

impl fmt::Display for DateProblem {
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

/// Returns the dates between which a certificate is valid.
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

/// Lets webpki check a certificate. It checks the time before everything else, and the rest fails for
/// want of roots.
fn check(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let roots = RootCertStore::empty();
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
}

/// Returns a warning if a chain is in the wrong order: clients that do not sort it refuse it.
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
