//! The byte streams under a session: TCP.
//!
//! The one place that knows what a connection is made of; the rest asks for [`AsyncRead`] and
//! [`AsyncWrite`] of the two halves only.
//!
//! [`AsyncRead`]: tokio::io::AsyncRead
//! [`AsyncWrite`]: tokio::io::AsyncWrite

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, tcp};
use tokio::time::timeout;

use super::error::Error;
use crate::server_name::ServerName;

/// The receiving half of a connection.
pub(super) type ReadHalf = tcp::OwnedReadHalf;
/// The sending half; dropping it tells the server that nothing more will come.
pub(super) type WriteHalf = tcp::OwnedWriteHalf;

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
}

/// Connects to the first address of `server` that answers; each has `patience`.
pub(super) async fn connect(server: &str, patience: Duration) -> Result<Connection, Error> {
    let target: ServerName = server.parse()?;
    let failed = |source| Error::Connect {
        server: server.to_owned(),
        source,
    };
    let stream = connect_any((target.host(), target.port()), patience)
        .await
        .map_err(failed)?;
    prepare(&SockRef::from(&stream)).map_err(failed)?;
    let local = stream.local_addr().map_err(failed)?;
    let (reader, writer) = stream.into_split();
    Ok(Connection {
        reader,
        writer,
        local,
    })
}

async fn connect_any(target: (&str, u16), patience: Duration) -> io::Result<TcpStream> {
    let mut last = no_address();
    for address in tokio::net::lookup_host(target).await? {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(address, patience),
        }
    }
    Err(last)
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
