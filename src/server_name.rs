//! Names of servers as users write them: `[tls://]HOST[:PORT]`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::protocol::DEFAULT_PORT;

/// Prefix of servers that speak TLS.
const TLS: &str = "tls://";
/// The part of error messages that mentions the prefix.
const TLS_TOO: &str = if cfg!(feature = "tls") {
    "; tls:// in front for TLS"
} else {
    ""
};

/// The name or the address of a server, and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName {
    host: String,
    port: u16,
    tls: bool,
}

/// The error for a text that is not `HOST` or `HOST:PORT`, with or without `tls://` in front.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a server: expected HOST or HOST:PORT, IPv6 addresses as [ADDRESS]:PORT{TLS_TOO}"
)]
pub struct BadServerName(pub String);

impl ServerName {
    /// Returns the name or the address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; [`DEFAULT_PORT`] if none was given.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns `true` if the server speaks TLS. Without the feature `tls` such names are not accepted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl ServerName {
    /// Reads the name of a server that listens at `default` unless a port is given.
    pub(crate) fn with_default_port(text: &str, default: u16) -> Result<Self, BadServerName> {
        let after = text.strip_prefix(TLS).filter(|_| cfg!(feature = "tls"));
        let bad = || BadServerName(text.to_owned());
        let (host, port) = split(after.unwrap_or(text), default).ok_or_else(bad)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: after.is_some(),
        })
    }
}

impl FromStr for ServerName {
    type Err = BadServerName;

    fn from_str(text: &str) -> Result<Self, BadServerName> {
        Self::with_default_port(text, DEFAULT_PORT)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        if *tls {
            f.write_str(TLS)?;
        }
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Splits a server's name into host and port.
///
/// A bare IPv6 address has no port; with a port it stands in brackets.
fn split(server: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match server.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (server, None),
        }
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return None;
    }
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|&port| port != 0)?,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_users_write() {
        for (text, host, port, shown) in [
            ("localhost", "localhost", 8077, "localhost:8077"),
            (
                "broker.example:80",
                "broker.example",
                80,
                "broker.example:80",
            ),
            ("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
            ("::1", "::1", 8077, "[::1]:8077"),
            ("[::1]", "::1", 8077, "[::1]:8077"),
            ("[fe80::1%eth0]:9", "fe80::1%eth0", 9, "[fe80::1%eth0]:9"),
        ] {
            let name: ServerName = text.parse().expect(text);
            assert_eq!((name.host(), name.port()), (host, port), "{text}");
            assert_eq!(name.to_string(), shown);
            assert_eq!(
                shown.parse().as_ref(),
                Ok(&name),
                "what is shown can be read"
            );
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_asked_for_in_front() {
        for (text, shown) in [
            ("tls://broker.example:8443", "tls://broker.example:8443"),
            ("tls://[::1]:1", "tls://[::1]:1"),
            ("tls://localhost", "tls://localhost:8077"),
        ] {
            let name: ServerName = text.parse().expect(text);
            assert!(name.is_tls());
            assert_eq!(name.to_string(), shown);
            assert_eq!(shown.parse().as_ref(), Ok(&name));
        }
        let plain: ServerName = "localhost".parse().expect("a server");
        assert!(!plain.is_tls());
    }

    #[test]
    fn refuses_what_is_no_server() {
        for text in [
            "",
            ":80",
            "host:",
            "host:x",
            "host:0",
            "host:65536",
            "[::1",
            "[::1]80",
            "[]:80",
            "tcp://host",
            "tls://",
            "tls://host:x",
            "a b",
        ] {
            let bad = BadServerName(text.to_owned());
            assert_eq!(text.parse::<ServerName>(), Err(bad));
        }
    }
}
