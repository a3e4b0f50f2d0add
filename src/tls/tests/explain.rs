//! Errors in plain words.

use rustls::{
    CertRevocationListError, ContentType, EncryptedClientHelloError, HandshakeType,
    InconsistentKeys, InvalidMessage, OtherError, PeerMisbehaved,
};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::*;
use crate::tls::HandshakeError;
use crate::tls::explain::{explain_alert, explain_error, spelled};

/// Fails on what only a programmer would write: names in camel case, braces, brackets, paths.
#[track_caller]
fn assert_words(text: &str) {
    let chars: Vec<char> = text.chars().collect();
    let is_camel = chars
        .windows(2)
        .any(|pair| pair[0].is_lowercase() && pair[1].is_uppercase());
    let known = ["subjectAltName", "OpenSSL"];
    let is_known = known.iter().any(|word| text.contains(word));
    assert!(!is_camel || is_known, "{text}");
    assert!(!text.contains(['{', '}', '[', ']', '"', '_']), "{text}");
    assert!(!text.contains("::"), "{text}");
    assert!(!text.trim().is_empty());
}

#[test]
fn every_alert_is_in_words() {
    for code in 0..=u8::MAX {
        let alert = AlertDescription::from(code);
        assert_words(&explain_error(&Error::AlertReceived(alert), "the client"));
    }
    let said = explain_error(
        &Error::AlertReceived(AlertDescription::UnknownCA),
        "the client",
    );
    assert_eq!(said, "the client said: unknown authority");
    assert_eq!(
        explain_alert(AlertDescription::HandshakeFailure),
        "handshake failure"
    );
    assert_eq!(explain_alert(AlertDescription::Unknown(200)), "alert 200");
}

#[test]
#[allow(deprecated, reason = "rustls may still say it")]
fn every_kind_of_error_is_in_words() {
    let webpki = |error| CertificateError::Other(OtherError(Arc::new(error)));
    let at = UnixTime::since_unix_epoch(Duration::from_secs(1 << 30));
    let certificate = [
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::NotValidYetContext {
            time: at,
            not_before: at,
        },
        CertificateError::Revoked,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus,
        CertificateError::ExpiredRevocationListContext {
            time: at,
            next_update: at,
        },
        CertificateError::BadSignature,
        CertificateError::UnsupportedSignatureAlgorithm,
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![1, 2],
            supported_algorithms: Vec::new(),
        },
        CertificateError::InvalidPurpose,
        CertificateError::InvalidPurposeContext {
            required: rustls::ExtendedKeyPurpose::ServerAuth,
            presented: vec![rustls::ExtendedKeyPurpose::Other(vec![1, 3])],
        },
        CertificateError::InvalidOcspResponse,
        CertificateError::ApplicationVerificationFailure,
        webpki(webpki::Error::CaUsedAsEndEntity),
        webpki(webpki::Error::EndEntityUsedAsCa),
        webpki(webpki::Error::UnsupportedCertVersion),
        webpki(webpki::Error::TrailingData(webpki::DerTypeId::Certificate)),
        webpki(webpki::Error::PathLenConstraintViolated),
    ];
    let incompatible = [
        PeerIncompatible::Tls12NotOffered,
        PeerIncompatible::NoCipherSuitesInCommon,
        PeerIncompatible::NoKxGroupsInCommon,
        PeerIncompatible::ServerRejectedEncryptedClientHello(None),
    ];
    let others = [
        Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake],
            got_type: ContentType::ApplicationData,
        },
        Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ClientHello],
            got_type: HandshakeType::Unknown(99),
        },
        Error::InvalidEncryptedClientHello(EncryptedClientHelloError::InvalidConfigList),
        Error::InvalidMessage(InvalidMessage::InvalidContentType),
        Error::InvalidMessage(InvalidMessage::MissingData("ClientHello")),
        Error::InvalidMessage(InvalidMessage::DuplicateExtension(7)),
        Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests),
        Error::PeerMisbehaved(PeerMisbehaved::IllegalHelloRetryRequestWithEmptyCookie),
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature),
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InconsistentKeys(InconsistentKeys::Unknown),
    ];
    let all = certificate
        .into_iter()
        .map(Error::InvalidCertificate)
        .chain(incompatible.into_iter().map(Error::PeerIncompatible))
        .chain(others);
    for error in all {
        assert_words(&explain_error(&error, "the server"));
        assert_words(&HandshakeError::from(&error).to_string());
    }
}

#[test]
fn names_are_spelled_out() {
    for (shown, expected) in [
        ("NoKxGroupsInCommon", "no kx groups in common"),
        ("UnknownPSKIdentity", "unknown pskidentity"),
        ("MissingData(\"Hello\")", "missing data"),
        ("Context { time: 1 }", "context"),
    ] {
        assert_eq!(spelled(&format_args!("{shown}")), expected);
    }
}
