//! Sockets that a service manager has opened for the broker (systemd's socket activation), as they are in `LISTEN_FDS`,
//! `LISTEN_FDNAMES` and `LISTEN_PID`.
//!
//! A socket of a name takes the place of the option of that name: the broker listens on it, and on nothing else that the
//! option says. So whatever is checked about an address that is configured is checked about these.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use thiserror::Error;

use super::options::ConfigOptions;
use crate::config::OPTIONS;
use crate::settings::OpenSockets;

/// The option of a name in `LISTEN_FDNAMES` is the name itself, as `FileDescriptorName=` has it. Without that it is the
/// name of the socket unit: `mles.socket`, `mles-tls.socket` and so on.
const NAMES: [(&str, &str); 6] = [
    ("mles", "listen"),
    ("listen", "listen"),
    ("tls", "tls"),
    ("ws", "ws"),
    ("tls-ws", "tls_ws"),
    ("admin", "admin"),
];

/// A socket that cannot be used.
#[derive(Debug, Error)]
pub(super) enum InheritError {
    /// It is of a kind that the broker does not know.
    #[error(
        "the service manager has passed a socket called \"{0}\": set FileDescriptorName= of its unit to listen, tls, \
         ws, tls-ws or admin"
    )]
    Name(String),
    /// It is no listener for TCP.
    #[error(
        "the service manager has passed a socket called \"{name}\" that cannot be used: {source}"
    )]
    Socket { name: String, source: io::Error },
}

/// Takes the sockets that were passed, and puts their addresses in the place of what `options` say.
///
/// # Errors
///
/// See [`InheritError`].
pub(super) fn take(options: &mut ConfigOptions) -> Result<OpenSockets, InheritError> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..passed.len() {
        // All are for Mles v1 where the manager has given them no names.
        let name = names.split(':').nth(index).filter(|name| !name.is_empty());
        let name = name.unwrap_or("listen");
        let option = option_of(name).ok_or_else(|| InheritError::Name(name.to_owned()))?;
        let fail = |source| InheritError::Socket {
            name: name.to_owned(),
            source,
        };
        let none = || io::ErrorKind::NotFound.into();
        let listener = passed.take_tcp_listener(index).map_err(fail)?;
        let listener = listener.ok_or_else(|| fail(none()))?;
        let address = listener.local_addr().map_err(fail)?;
        taken.push((option, address, listener));
    }
    replace(
        options,
        taken.iter().map(|(option, address, _)| (*option, *address)),
    );
    Ok(taken
        .into_iter()
        .map(|(_, _, listener)| listener)
        .collect::<Vec<TcpListener>>()
        .into())
}

/// Returns the option that a socket stands for.
fn option_of(name: &str) -> Option<&'static str> {
    let name = name
        .strip_suffix(".socket")
        .map_or(name, |unit| unit.strip_prefix("mles-").unwrap_or(unit));
    let known = NAMES
        .iter()
        .find(|(known, _)| *known == name.replace('_', "-"));
    known.map(|(_, option)| *option)
}

/// Puts addresses in the place of what the options have said.
fn replace(
    ConfigOptions(options): &mut ConfigOptions,
    sockets: impl Iterator<Item = (&'static str, SocketAddr)> + Clone,
) {
    for opt in OPTIONS {
        let addresses = sockets.clone().filter(|(option, _)| *option == opt.name);
        let addresses: Vec<_> = addresses.map(|(_, address)| address.to_string()).collect();
        if !addresses.is_empty() {
            options.retain(|(other, _)| other.name != opt.name);
            options.push((opt, addresses));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_options_or_of_units() {
        for (name, option) in [
            ("listen", Some("listen")),
            ("tls-ws", Some("tls_ws")),
            ("tls_ws", Some("tls_ws")),
            ("mles.socket", Some("listen")),
            ("mles-ws.socket", Some("ws")),
            ("web.socket", None),
            ("connection", None),
        ] {
            assert_eq!(option_of(name), option, "{name}");
        }
    }

    #[test]
    fn sockets_take_the_place_of_options() {
        let opt = |name: &str| OPTIONS.iter().find(|opt| opt.name == name).unwrap();
        let words = |text: &str| vec![text.to_owned()];
        let mut options = ConfigOptions(vec![(opt("ws"), words("1")), (opt("listen"), words("2"))]);
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let sockets = [("listen", at(7)), ("tls", at(8)), ("listen", at(9))];
        replace(&mut options, sockets.into_iter());
        let found: Vec<_> = options
            .0
            .into_iter()
            .map(|(opt, words)| (opt.name, words))
            .collect();
        let both = vec!["127.0.0.1:7".to_owned(), "127.0.0.1:9".to_owned()];
        assert_eq!(
            found,
            [
                ("ws", words("1")),
                ("listen", both),
                ("tls", words("127.0.0.1:8"))
            ]
        );
    }
}
