//! Reasons for which connections over TLS fail, in plain words.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error as ThisError;

use super::explain::{
    between, duration, explain_alert, explain_certificate, explain_error, spelled,
};

/// The reason for which a connection over TLS failed.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server's certificate is too old.
    #[error("the server's certificate has expired{}", ago(.0.as_ref()))]
    Expired(
        /// The time since then.
        Option<Duration>,
    ),
    /// The server's certificate is not valid yet.
    #[error("the server's certificate is not valid yet; is this machine's clock right?")]
    NotYetValid,
    /// The server's certificate is not from an authority that is trusted here.
    #[error(
        "the server's certificate is not from an authority that is trusted here; if it should be, \
         name a file with the authority's certificate, or with the server's own if it signed itself"
    )]
    UnknownIssuer,
    /// The server's certificate is for another name.
    #[error("the server's certificate is not for this name{}", presented(.0))]
    WrongName(
        /// The names that it is for.
        Vec<String>,
    ),
    /// The server's certificate is not acceptable for another reason.
    #[error("the server's certificate {0}")]
    BadCertificate(
        /// The fault, in words that follow "the certificate".
        String,
    ),
    /// The server asks for a certificate of the client, and the client has none.
    #[error("the server wants a certificate of this client, and there is none")]
    CertificateRequired,
    /// The server did not accept the certificate of the client.
    #[error("the server does not accept this client's certificate ({0})")]
    CertificateRefused(String),
    /// The server closed the connection before the handshake was over, which may mean that it does not
    /// speak TLS.
    #[error("the server closed the connection in the handshake; does it speak TLS on this port?")]
    Closed,
    /// The server answers with something that is not TLS.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The server speaks TLS, but not Mles inside.
    #[error("the server does not offer Mles inside of TLS on this port")]
    NotMles,
    /// The host is neither a name nor an address that a certificate could be for.
    #[error("{0:?} is neither an address nor a name that a certificate could be for")]
    BadName(String),
    /// Another reason, in plain words.
    #[error("TLS failed: {0}")]
    Other(String),
}

impl HandshakeError {
    /// Returns the reason if `error`, of a read or a write over TLS, is about TLS; `None` if it is about the
    /// connection below.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(known) = inner.downcast_ref::<Self>() {
            return Some(known.clone());
        }
        inner.downcast_ref().map(Self::from)
    }
}

impl From<&Error> for HandshakeError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(reason) => certificate(reason),
            Error::AlertReceived(alert) => refusal(*alert),
            Error::InvalidMessage(_) => Self::NotTls,
            Error::NoApplicationProtocol => Self::NotMles,
            other => Self::Other(explain_error(other, "the server")),
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

fn certificate(reason: &CertificateError) -> HandshakeError {
    match reason {
        CertificateError::Expired => HandshakeError::Expired(None),
        CertificateError::ExpiredContext { time, not_after } => {
            HandshakeError::Expired(Some(between(*not_after, *time)))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            HandshakeError::NotYetValid
        }
        // The latter is an authority with the same name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            HandshakeError::UnknownIssuer
        }
        CertificateError::NotValidForName => HandshakeError::WrongName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            HandshakeError::WrongName(presented.iter().map(|name| plain_name(name)).collect())
        }
        other => HandshakeError::BadCertificate(explain_certificate(other)),
    }
}

fn refusal(alert: AlertDescription) -> HandshakeError {
    match alert {
        AlertDescription::CertificateRequired => HandshakeError::CertificateRequired,
        AlertDescription::NoApplicationProtocol => HandshakeError::NotMles,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            HandshakeError::CertificateRefused(explain_alert(alert))
        }
        other => HandshakeError::Other(format!("the server said: {}", explain_alert(other))),
    }
}

/// Returns a name without what stands around it, as in `IpAddress(192.0.2.1)`.
fn plain_name(name: &str) -> String {
    match name.split_once('(') {
        Some((_, rest)) => rest.trim_end_matches(')').trim_matches('"').to_owned(),
        None => spelled(&format_args!("{name}")),
    }
}

fn ago(time: Option<&Duration>) -> String {
    time.map_or_else(String::new, |time| format!(" {} ago", duration(*time)))
}

fn presented(names: &[String]) -> String {
    if names.is_empty() {
        ": it has none in subjectAltName, and its common name does not count".to_owned()
    } else {
        format!(", but for {}", names.join(", "))
    }
}
