//! Binding listeners: one socket for each shard on every address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// Connections that the kernel completes before they are accepted, for each listener.
const BACKLOG: i32 = 4096;

/// A listener could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Error of the system.
    pub source: io::Error,
}

/// The sockets on one address: one for each shard.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Listens on `address` with one socket for each of `shards`, so that the kernel spreads
/// connections over them. Port 0 lets the system choose a port, the same for all. `all`: the
/// addresses that this broker listens on.
pub(crate) fn bind(
    address: SocketAddr,
    shards: usize,
    all: &[SocketAddr],
) -> Result<Listeners, ListenError> {
    // SO_REUSEPORT would let a second broker of the same user share the port unnoticed; a socket
    // without it is refused while anyone listens there.
    let chosen = listener(address, Families::of(address, all), false)
        .and_then(|probe| probe.local_addr())
        .map_err(|source| ListenError { address, source })?;
    bind_beside(chosen, shards, all)
}

/// Like [`bind`], where another listener of this broker has the address, and is about to be closed.
pub(crate) fn bind_beside(
    address: SocketAddr,
    shards: usize,
    all: &[SocketAddr],
) -> Result<Listeners, ListenError> {
    let families = Families::of(address, all);
    let one = |_| listener(address, families, true);
    let sockets: io::Result<Vec<_>> = (0..shards).map(one).collect();
    Ok(Listeners {
        address,
        sockets: sockets.map_err(|source| ListenError { address, source })?,
    })
}

/// Returns `true` if a listener at `address` leaves IPv4 to another one. `all`: the addresses that this broker listens
/// on.
pub(crate) fn is_v6_only(address: SocketAddr, all: &[SocketAddr]) -> bool {
    Families::of(address, all) == Families::V6
}

impl Listeners {
    /// Shares one socket that the caller has made among `shards`.
    pub(crate) fn share(listener: TcpListener, shards: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let mut sockets = (1..shards)
            .map(|_| listener.try_clone())
            .collect::<io::Result<Vec<_>>>()?;
        sockets.push(listener);
        Ok(Self { address, sockets })
    }
}

/// Which clients an IPv6 socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    /// `[::]` takes IPv4 too, whatever the system's default is.
    Both,
    /// There is a listener for IPv4 on the same port.
    V6,
}

impl Families {
    fn of(address: SocketAddr, all: &[SocketAddr]) -> Self {
        let is_v4_too = |other: &SocketAddr| is_any_v4(*other) && other.port() == address.port();
        if address.is_ipv6() && address.port() != 0 && all.iter().any(is_v4_too) {
            Self::V6
        } else {
            Self::Both
        }
    }
}

fn is_any_v4(address: SocketAddr) -> bool {
    address.ip().to_canonical() == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
}

/// Returns, of two addresses to listen on, the one that is part of the other, and that other; `None` if both
/// can be had. `all`: the addresses that this broker listens on.
#[cfg(feature = "cli")]
pub(crate) fn overlap(
    a: SocketAddr,
    b: SocketAddr,
    all: &[SocketAddr],
) -> Option<(SocketAddr, SocketAddr)> {
    if a.port() != b.port() || a.port() == 0 {
        return None;
    }
    let is_part = |part: SocketAddr, whole: SocketAddr| {
        let (part_ip, whole_ip) = (part.ip().to_canonical(), whole.ip().to_canonical());
        match (part_ip, whole_ip) {
            // Addresses of one link each, perhaps.
            (IpAddr::V6(a), IpAddr::V6(b)) if a == b => part == whole,
            _ if part_ip == whole_ip => true,
            (IpAddr::V4(_), IpAddr::V4(whole)) => whole.is_unspecified(),
            (IpAddr::V6(_), IpAddr::V6(whole)) => whole.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(ip)) => {
                ip.is_unspecified() && Families::of(whole, all) == Families::Both
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    };
    if is_part(a, b) {
        Some((a, b))
    } else {
        is_part(b, a).then_some((b, a))
    }
}

/// Says whether this machine has an address, without taking a port of it.
#[cfg(feature = "cli")]
pub(crate) fn check_address(address: SocketAddr) -> Result<(), ListenError> {
    let any_port = SocketAddr::new(address.ip(), 0);
    let any_port = match (any_port, address) {
        (SocketAddr::V6(mut any), SocketAddr::V6(address)) => {
            any.set_scope_id(address.scope_id());
            any.into()
        }
        (any, _) => any,
    };
    let bound = socket(any_port, Families::Both).and_then(|socket| socket.bind(&any_port.into()));
    bound.map_err(|source| ListenError { address, source })
}

fn socket(address: SocketAddr, families: Families) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::V6)?;
    }
    Ok(socket)
}

fn listener(address: SocketAddr, families: Families, shared: bool) -> io::Result<TcpListener> {
    let socket = socket(address, families)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(all(test, feature = "cli"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_a_client_could_reach_both() {
        for (a, b, part) in [
            ("127.0.0.1:1", "127.0.0.1:1", Some("127.0.0.1:1")),
            ("127.0.0.1:1", "127.0.0.1:2", None),
            ("127.0.0.1:1", "127.0.0.2:1", None),
            ("127.0.0.1:1", "0.0.0.0:1", Some("127.0.0.1:1")),
            ("0.0.0.0:1", "127.0.0.1:1", Some("127.0.0.1:1")),
            ("0.0.0.0:0", "127.0.0.1:0", None),
            ("[::]:1", "[::1]:1", Some("[::1]:1")),
            ("[::]:1", "127.0.0.1:1", Some("127.0.0.1:1")),
            ("[::1]:1", "127.0.0.1:1", None),
            ("[::1]:1", "0.0.0.0:1", None),
            ("0.0.0.0:1", "[::]:1", None),
            (
                "[::ffff:127.0.0.1]:1",
                "127.0.0.1:1",
                Some("[::ffff:127.0.0.1]:1"),
            ),
            (
                "[::ffff:127.0.0.1]:1",
                "0.0.0.0:1",
                Some("[::ffff:127.0.0.1]:1"),
            ),
            ("[fe80::1%1]:1", "[fe80::1%2]:1", None),
        ] {
            let (a, b): (SocketAddr, SocketAddr) = (a.parse().unwrap(), b.parse().unwrap());
            let part = part.map(|part| part.parse().unwrap());
            let found = overlap(a, b, &[a, b]).map(|(part, _)| part);
            assert_eq!(found, part, "{a} and {b}");
        }
    }

    #[test]
    fn an_address_that_this_machine_has_not_is_told() {
        check_address("127.0.0.1:1".parse().unwrap()).unwrap();
        check_address("0.0.0.0:80".parse().unwrap()).unwrap();
        // For documentation: nobody has it.
        let error = check_address("192.0.2.1:1".parse().unwrap()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
