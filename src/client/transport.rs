//! The byte streams under a session: TCP, and TLS on top of it.
//!
//! The one place that knows what a connection is made of; the rest asks for [`AsyncRead`] and
//! [`AsyncWrite`] of the two halves only.
//!
//! [`AsyncRead`]: tokio::io::AsyncRead
//! [`AsyncWrite`]: tokio::io::AsyncWrite

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admission::SETTLING;
use super::config::Client;
use super::error::Error;
use super::halves::{ReadHalf, WriteHalf, split};
use crate::server_name::ServerName;

/// A client that only listens learns of a dead server by keepalive alone: after this long without
/// traffic the first probe is sent, then others, so that it takes about 30 s in all.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// A connection that was just opened.
pub(super) struct Connection {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// How long connecting took, without the name and TLS: about a round trip.
    pub(super) connecting: Duration,
}

/// Connects to the first address of the server that answers; each has the client's patience, and so
/// has a handshake.
pub(super) async fn connect(client: &Client) -> Result<Connection, Error> {
    let target: ServerName = client.server.parse()?;
    let failed = |source| Error::Connect {
        server: client.server.clone(),
        source,
    };
    #[cfg(feature = "tls")]
    let tls = super::tls::of(client, &target)?;
    let connected = connect_any((target.host(), target.port()), client.connect_timeout).await;
    let (stream, remote, connecting) = connected.map_err(failed)?;
    prepare(&SockRef::from(&stream)).map_err(failed)?;
    // Where TLS is in between, it is still the address that the server sees.
    let local = stream.local_addr().map_err(failed)?;
    #[cfg(feature = "tls")]
    let (reader, writer) = match tls {
        None => split(stream),
        Some(tls) => shake_hands(&tls, target.host(), stream, client.connect_timeout)
            .await
            .map_err(failed)?,
    };
    #[cfg(not(feature = "tls"))]
    let (reader, writer) = split(stream);
    Ok(Connection {
        reader,
        writer,
        local,
        remote,
        connecting,
    })
}

#[cfg(feature = "tls")]
async fn shake_hands(
    tls: &crate::tls::ClientTls,
    host: &str,
    stream: TcpStream,
    patience: Duration,
) -> io::Result<(ReadHalf, WriteHalf)> {
    let stream = match timeout(patience, tls.connect(host, stream)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(no_handshake(patience)),
    };
    let (reader, writer) = super::tls_halves::split(stream);
    Ok((ReadHalf::Tls(reader), WriteHalf::Tls(writer)))
}

/// Returns `true` if somebody takes connections at `server`, as far as can be told within `patience`.
pub(super) async fn is_listening(server: SocketAddr, patience: Duration) -> bool {
    let connected = timeout(patience, TcpStream::connect(server)).await;
    let Ok(Ok(mut stream)) = connected else {
        return false;
    };
    let reset = timeout(SETTLING, stream.read_u8()).await;
    !matches!(reset, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset)
}

async fn connect_any(
    target: (&str, u16),
    patience: Duration,
) -> io::Result<(TcpStream, SocketAddr, Duration)> {
    let mut last = no_address();
    for address in tokio::net::lookup_host(target).await? {
        let begun = Instant::now();
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match not_to_itself(&SockRef::from(&stream), address) {
                Ok(()) => return Ok((stream, address, begun.elapsed())),
                Err(error) => last = error,
            },
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(address, patience),
        }
    }
    Err(last)
}

/// Refuses a connection to `remote` whose two ends are one. The system makes such a one when nobody
/// listens at a port of its own range and the port happens to be chosen for the client as well.
pub(super) fn not_to_itself(socket: &SockRef<'_>, remote: SocketAddr) -> io::Result<()> {
    let local = socket.local_addr()?.as_socket();
    let is_same = |local: SocketAddr| (local.ip(), local.port()) == (remote.ip(), remote.port());
    if local.is_some_and(is_same) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// Sets what every connection of a client needs.
pub(super) fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )
}

/// The error for a name without addresses.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn no_answer(address: SocketAddr, patience: Duration) -> io::Error {
    let text = format!("no answer from {address} within {patience:.1?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// The error for a server that takes the connection and does not answer to TLS.
#[cfg(feature = "tls")]
pub(super) fn no_handshake(patience: Duration) -> io::Error {
    let text = format!("connected, but no answer to TLS within {patience:.1?}");
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
        let refused = not_to_itself(&SockRef::from(&socket), address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
