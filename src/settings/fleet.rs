//! Settings of a fleet: where its log is, and how to log in there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::server_name::ServerName;
use crate::tls::ClientTlsOptions;
#[cfg(feature = "fleet")]
use crate::tls::{ClientTls, TlsError};

/// The port of NATS servers, by custom.
const NATS_PORT: u16 = 4222;
/// Longest name of a fleet in bytes.
const MAX_NAME: usize = 32;

/// The fleet that this broker is a node of. Without servers it is none, and serves alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// NATS servers with JetStream: one or more of a cluster, tried in random order.
    pub servers: Vec<FleetServer>,
    /// The name of the fleet, as it was given to `mles fleet init`. Needed as soon as there are servers.
    pub name: Option<FleetName>,
    /// How to log in to the servers.
    pub login: FleetLogin,
    /// TLS to the servers: the authorities to trust, and the certificate to show.
    pub tls: ClientTlsOptions,
    /// Time for which a record of this node may stay away before the node is not ready, and its publishers wait.
    pub patience: Duration,
}

impl Default for FleetSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            name: None,
            login: FleetLogin::default(),
            tls: ClientTlsOptions::default(),
            patience: Duration::from_secs(10),
        }
    }
}

impl FleetSettings {
    /// Returns `true` if the broker is a node of a fleet.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Loads the configuration of TLS; `None` when nothing asks for it. A server that insists on TLS gets it all the
    /// same, with the authorities of the system. Reads files.
    #[cfg(feature = "fleet")]
    pub(crate) fn client_tls(&self) -> Result<Option<ClientTls>, TlsError> {
        let asks = self.tls != ClientTlsOptions::default();
        let needs_tls = asks || self.servers.iter().any(FleetServer::is_tls);
        let tls = needs_tls.then(|| ClientTls::new(self.tls.clone()));
        tls.transpose()
    }
}

/// How to log in to NATS: with nothing, or with one of user, token, nkey and creds file. Secrets are read from their files
/// whenever the node connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetLogin {
    /// The name of a user.
    pub user: Option<String>,
    /// The file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// The file that holds a token.
    pub token_file: Option<PathBuf>,
    /// The file that holds the seed of an nkey.
    pub nkey_file: Option<PathBuf>,
    /// A creds file: a JWT and the seed of its nkey.
    pub creds_file: Option<PathBuf>,
}

/// The address of a NATS server: `[nats://|tls://]HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FleetServer(ServerName);

/// The error for a text that is no address of a NATS server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFleetServer {
    /// It has a login in front. The text is not shown, as the login is secret.
    #[error(
        "a server's address must not contain a login: name the user, and the file of its password, by options"
    )]
    Login,
    /// It is something else.
    #[error("{0:?} is not a NATS server: expected nats://HOST[:PORT] or tls://HOST[:PORT]")]
    Text(String),
}

impl FleetServer {
    /// Returns the host and the port.
    #[cfg(feature = "cli")]
    pub(crate) fn name(&self) -> &ServerName {
        &self.0
    }

    /// Returns `true` if the address asks for TLS. A server may insist on it all the same.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

impl FromStr for FleetServer {
    type Err = BadFleetServer;

    fn from_str(text: &str) -> Result<Self, BadFleetServer> {
        if text.contains('@') {
            return Err(BadFleetServer::Login);
        }
        let rest = text.strip_prefix("nats://").unwrap_or(text);
        let bad = |_| BadFleetServer::Text(text.to_owned());
        let is_twice = rest.len() < text.len() && rest.contains("://");
        if is_twice {
            return Err(BadFleetServer::Text(text.to_owned()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        ServerName::with_default_port(rest, NATS_PORT)
            .map(Self)
            .map_err(bad)
    }
}

impl fmt::Display for FleetServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "" } else { "nats://" };
        write!(f, "{scheme}{}", self.0)
    }
}

/// The name of a fleet: letters, digits, `-` and `_`, at most 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FleetName(String);

/// The error for a text that cannot be the name of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a name for a fleet: expected 1 to {MAX_NAME} letters, digits, - and _")]
pub struct BadFleetName(pub String);

impl FleetName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FleetName {
    type Err = BadFleetName;

    fn from_str(text: &str) -> Result<Self, BadFleetName> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let is_good = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain);
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadFleetName(text.to_owned()))
        }
    }
}

impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_as_nats_has_them() {
        for (text, shown) in [
            ("nats://10.0.0.1:4333", "nats://10.0.0.1:4333"),
            ("nats://nats.example/", "nats://nats.example:4222"),
            ("localhost", "nats://localhost:4222"),
            ("[::1]:1", "nats://[::1]:1"),
            ("tls://nats.example", "tls://nats.example:4222"),
        ] {
            let server: FleetServer = text.parse().expect(text);
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse().as_ref(), Ok(&server), "can be read again");
        }
        for text in [
            "",
            "nats://",
            "http://a",
            "nats://tls://a",
            "a:0",
            "a b",
            "nats://a/b",
        ] {
            let bad = BadFleetServer::Text(text.to_owned());
            assert_eq!(text.parse::<FleetServer>(), Err(bad));
        }
    }

    #[test]
    fn a_login_in_an_address_is_refused_and_not_shown() {
        let error = "nats://me:hunter2@host".parse::<FleetServer>();
        let error = error.expect_err("a login");
        assert_eq!(error, BadFleetServer::Login);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn names_fit_into_subjects() {
        for good in ["demo", "a", "Chat-2_eu", &"x".repeat(32)] {
            assert_eq!(good.parse::<FleetName>().expect(good).as_str(), good);
        }
        for bad in ["", "a.b", "a b", "*", "ä", &"x".repeat(33)] {
            assert_eq!(bad.parse::<FleetName>(), Err(BadFleetName(bad.to_owned())));
        }
    }
}
