//! Opening the connection of a link.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server_name::ServerName;

/// Connects to the first address of `upstream` that answers; finding the addresses may take as long
/// as each of them.
///
/// Cancel safe: the connection closes.
pub(super) async fn connect(upstream: &ServerName, patience: Duration) -> io::Result<TcpStream> {
    let lookup = tokio::net::lookup_host((upstream.host(), upstream.port()));
    let addresses = timeout(patience, lookup).await.map_err(|_| {
        let text = format!("no address for {} within {patience:.1?}", upstream.host());
        io::Error::new(io::ErrorKind::TimedOut, text)
    })??;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match with_somebody_else(stream) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(address, patience),
        }
    }
    Err(last)
}

/// A connection to a port of this machine on which nobody listens can end up with itself, when the
/// system chooses that very port for our end (TCP simultaneous open).
fn with_somebody_else(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn no_answer(address: SocketAddr, patience: Duration) -> io::Error {
    let text = format!("no answer from {address} within {patience:.1?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}
