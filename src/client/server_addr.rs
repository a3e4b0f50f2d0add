//! `HOST[:PORT]`, as users write servers.

use super::config::DEFAULT_PORT;
use super::error::Error;

/// Splits a server's name into host and port.
///
/// A bare IPv6 address has no port; with a port it stands in brackets.
pub(super) fn parse(server: &str) -> Result<(&str, u16), Error> {
    let bad = || Error::Address(server.to_owned());
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
        }
    } else {
        match server.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (server, None),
        }
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(bad());
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|&p| p != 0).ok_or_else(bad)?,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_users_write() {
        for (server, expected) in [
            ("localhost", ("localhost", 8077)),
            ("broker.example:80", ("broker.example", 80)),
            ("127.0.0.1:1", ("127.0.0.1", 1)),
            ("::1", ("::1", 8077)),
            ("[::1]", ("::1", 8077)),
            ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9)),
        ] {
            assert_eq!(parse(server).ok(), Some(expected), "{server}");
        }
    }

    #[test]
    fn refuses_what_is_no_server() {
        for server in [
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
            "a b",
        ] {
            assert!(
                matches!(parse(server), Err(Error::Address(s)) if s == server),
                "{server}"
            );
        }
    }
}
