//! Explains the errors of rustls in plain words.
//!
//! Its own messages show names of its code (`UnknownCA`, `NoKxGroupsInCommon`). Those that are met in
//! practice have sentences here. The rest, and those of later versions, are spelled out.

use std::fmt::Debug;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Explains an error between this side and `peer`, as in "the client".
pub(crate) fn explain_error(error: &Error, peer: &str) -> String {
    match error {
        Error::InvalidCertificate(reason) => {
            format!("the certificate of {peer} {}", explain_certificate(reason))
        }
        Error::AlertReceived(alert) => format!("{peer} said: {}", explain_alert(*alert)),
        Error::InvalidMessage(reason) => {
            format!("what {peer} sends is not TLS ({})", spelled(reason))
        }
        Error::PeerIncompatible(reason) => explain_incompatible(reason, peer),
        Error::PeerMisbehaved(reason) => {
            format!("{peer} does not keep to the protocol: {}", spelled(reason))
        }
        Error::InappropriateMessage { got_type, .. } => {
            format!(
                "{peer} sent a message out of turn: {}",
                kind_of_message(got_type)
            )
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            format!(
                "{peer} sent a message out of turn: {}",
                kind_of_message(got_type)
            )
        }
        Error::NoCertificatesPresented => format!("{peer} has shown no certificate"),
        Error::NoApplicationProtocol => {
            format!("{peer} does not offer the protocol that is used here (ALPN)")
        }
        Error::DecryptError => format!("a message of {peer} cannot be decrypted"),
        Error::PeerSentOversizedRecord => format!("{peer} sent a record that is too large"),
        Error::UnsupportedNameType => "a name of that kind cannot be checked".to_owned(),
        Error::HandshakeNotComplete => "the handshake is not over".to_owned(),
        Error::FailedToGetCurrentTime => "the system's clock cannot be read".to_owned(),
        Error::FailedToGetRandomBytes => "the system gives no random numbers".to_owned(),
        // Text that somebody has written.
        Error::General(text) => text.clone(),
        Error::Other(other) => other.0.to_string(),
        other => spelled(other),
    }
}

/// Explains the fault of a certificate, in words that follow "the certificate".
pub(super) fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "is damaged: it cannot be decoded".to_owned(),
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            format!("has expired {} ago", duration(between(*not_after, *time)))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet".to_owned()
        }
        CertificateError::Revoked => "has been revoked".to_owned(),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not from an authority that is trusted here".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not known here".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed with an algorithm that is not accepted, such as SHA-1".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".to_owned()
        }
        CertificateError::InvalidPurposeContext { required, .. } => {
            format!("may not be used for {required} (extended key usage)")
        }
        CertificateError::InvalidPurpose => "may not be used for this".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => explain_webpki(error),
            None => format!("cannot be used: {}", other.0),
        },
        other => format!("cannot be used: {}", spelled(other)),
    }
}

fn explain_webpki(error: &webpki::Error) -> String {
    match error {
        webpki::Error::CaUsedAsEndEntity => {
            "is that of an authority (CA:TRUE); name that very certificate as an authority to \
             trust it"
                .to_owned()
        }
        webpki::Error::EndEntityUsedAsCa => {
            "is signed by a certificate that is not an authority's".to_owned()
        }
        webpki::Error::UnsupportedCertVersion => {
            "is of version 1 of X.509, and only version 3 will do: one with extensions, such as \
             subjectAltName"
                .to_owned()
        }
        other => format!("cannot be used: {}", spelled(other)),
    }
}

fn explain_incompatible(reason: &PeerIncompatible, peer: &str) -> String {
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            format!("{peer} speaks versions of TLS before 1.2 only")
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            format!("{peer} offers no cipher suite that is taken here")
        }
        PeerIncompatible::NoKxGroupsInCommon => {
            format!("{peer} offers no key exchange that is taken here")
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            format!("{peer} takes no certificate with a key of this kind")
        }
        other => format!("{peer} and this side cannot agree: {}", spelled(other)),
    }
}

/// Explains an alert.
pub(super) fn explain_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown authority".to_owned(),
        AlertDescription::CertificateUnknown => "certificate not accepted".to_owned(),
        AlertDescription::UnknownPSKIdentity => "unknown key identity".to_owned(),
        AlertDescription::Unknown(code) => format!("alert {code}"),
        other => spelled(&other),
    }
}

fn kind_of_message(kind: &(impl Debug + ?Sized)) -> String {
    // Numbers that are not known have them inside of the name's brackets.
    match format!("{kind:?}").split_once('(') {
        Some((_, rest)) => format!("type {}", rest.trim_end_matches(')')),
        None => spelled(kind),
    }
}

/// Spells the name of a variant in small words, without what it holds: `NoKxGroupsInCommon` becomes
/// "no kx groups in common".
pub(super) fn spelled(value: &(impl Debug + ?Sized)) -> String {
    let shown = format!("{value:?}");
    let is_name = |c: char| c.is_alphanumeric();
    let name = shown.split(|c| !is_name(c)).next().unwrap_or_default();
    let mut words = String::with_capacity(name.len() + 8);
    let mut was_small = false;
    for c in name.chars() {
        if c.is_uppercase() && was_small {
            words.push(' ');
        }
        was_small = !c.is_uppercase();
        words.extend(c.to_lowercase());
    }
    words
}

/// Returns the time between two dates in seconds; none if `later` is the earlier one.
pub(super) fn between(earlier: UnixTime, later: UnixTime) -> Duration {
    Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()))
}

/// Writes a time in the unit that a person would use.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (count, unit) = units
        .into_iter()
        .map(|(length, unit)| (seconds / length, unit))
        .find(|(count, _)| *count > 0)
        .unwrap_or((0, "second"));
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}
