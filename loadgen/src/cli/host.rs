//! Where a broker listens: an address, or a name that has some.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

/// How long an address may take to answer before the next is tried.
const PATIENCE: Duration = Duration::from_secs(2);

/// The addresses that `HOST:PORT` stands for, at least one.
#[derive(Clone, Debug)]
pub(super) struct Host {
    first: SocketAddr,
    others: Vec<SocketAddr>,
}

impl FromStr for Host {
    type Err = String;

    /// Looks a name up; addresses are taken as they are.
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "give it as HOST:PORT, like localhost:8077 or [::1]:8077";
        let (name, port) = text.rsplit_once(':').ok_or(shape)?;
        // More than one colon is an address of IPv6, whose last part must not be taken for a port.
        if name.is_empty() || (name.contains(':') && !name.starts_with('[')) {
            return Err(shape.to_owned());
        }
        let port: u16 = port
            .parse()
            .map_err(|_| format!("{port:?} is no port from 0 to 65535"))?;
        let name = match name.strip_prefix('[') {
            Some(name) => name.strip_suffix(']').ok_or(shape)?,
            None => name,
        };
        let found = (name, port).to_socket_addrs();
        let mut found = found.map_err(|error| format!("{name:?} cannot be found: {error}"))?;
        let first = found.next();
        Ok(Self {
            first: first.ok_or_else(|| format!("{name:?} has no address"))?,
            others: found.collect(),
        })
    }
}

impl Host {
    /// Returns the first address.
    pub(super) fn first(&self) -> SocketAddr {
        self.first
    }

    /// Returns the first address where somebody accepts connections: `localhost` is two, and a server may
    /// have only one of them. Where there is no choice, nothing is tried.
    pub(super) fn reachable(&self) -> SocketAddr {
        let accepts = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, PATIENCE).is_ok();
        let all = || std::iter::once(&self.first).chain(&self.others);
        if self.others.iter().all(|other| *other == self.first) {
            return self.first;
        }
        all().find(accepts).copied().unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_and_names_are_taken() {
        for (text, addr) in [
            ("127.0.0.1:8077", "127.0.0.1:8077"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let host: Host = text.parse().expect("it is an address");
            assert_eq!(host.reachable().to_string(), addr);
        }
        let host: Host = "localhost:8077".parse().expect("every machine has it");
        assert!(host.first().ip().is_loopback());
    }

    #[test]
    fn what_is_no_address_is_told_in_a_line() {
        for bad in [
            "localhost",
            ":8077",
            "::1:8077",
            "::1",
            "[::1:80",
            "localhost:",
            "localhost:99999",
            "localhost:http",
            "name.invalid:80",
            "",
        ] {
            let error = bad.parse::<Host>().expect_err(bad);
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_address_that_accepts_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let open = listener.local_addr().expect("it is bound");
        let closed = TcpListener::bind("127.0.0.1:0")
            .and_then(|gone| gone.local_addr())
            .expect("a free port");
        let host = Host {
            first: closed,
            others: vec![open],
        };
        assert_eq!(host.reachable(), open);
    }
}
