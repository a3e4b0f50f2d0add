//! The TCP set-up that all clients share, with a runtime and without.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// A client that only listens learns of a dead server by keepalive alone: after this long without
/// traffic the first probe is sent, then others, so that it takes about 30 s in all.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// Time for which a connection is kept that was opened to see whether anybody listens. A server that dies
/// closes its sockets one after the other, and may accept a connection just before: that one is reset.
pub(super) const SETTLING: Duration = Duration::from_millis(50);

/// The addresses of a new connection, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectInfo {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Without the look-up of the name and TLS: about a round trip.
    pub(super) connecting: Duration,
}

impl ConnectInfo {
    /// Prepares a socket that was connected to `remote`.
    ///
    /// # Errors
    ///
    /// Those of the system, and [`io::ErrorKind::ConnectionRefused`] if both ends of the connection are
    /// one. The system makes such a connection when nobody listens at a port of its own range and
    /// the port happens to be chosen for the client as well.
    pub(super) fn of(
        socket: &SockRef<'_>,
        remote: SocketAddr,
        connecting: Duration,
    ) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket();
        let local = local.ok_or(io::ErrorKind::Unsupported)?;
        if (local.ip(), local.port()) == (remote.ip(), remote.port()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_IDLE)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_PROBES),
        )?;
        Ok(Self {
            local,
            remote,
            connecting,
        })
    }
}

/// Has a connection reset when its socket is closed. The other side then learns at once that nobody is
/// there, and what was sent and not acknowledged is lost.
///
/// # Errors
///
/// Those of the system.
pub(super) fn reset_on_drop(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))
}

/// Returns the error for a name without addresses.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// Returns the error for a server that accepts the connection and does not answer to TLS.
#[cfg(feature = "tls")]
pub(super) fn no_handshake(timeout: Duration) -> io::Error {
    let text = format!("connected, but no answer to TLS within {timeout:?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_connection_to_itself_is_none() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap();
        socket.connect(&address).unwrap();
        let address = address.as_socket().unwrap();
        let connected = ConnectInfo::of(&SockRef::from(&socket), address, Duration::ZERO);
        let refused = connected.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
