//! Opening the connection of a link.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{ClientConnection, Connection};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server_name::ServerName;
use crate::shard::stream::{StreamReader, StreamWriter, sides};
use crate::tls::ClientTls;

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    pub(super) fn sides(self) -> (StreamReader, StreamWriter) {
        let tls = self.tls.map(|tls| Connection::Client(*tls));
        sides(self.stream, tls)
    }
}

/// Connects to the first address of `upstream` that answers; finding the addresses may take as long
/// as each of them.
///
/// Cancel safe: the connection closes.
pub(super) async fn connect(
    upstream: &ServerName,
    patience: Duration,
    tls: Option<&ClientTls>,
) -> io::Result<Line> {
    let lookup = tokio::net::lookup_host((upstream.host(), upstream.port()));
    let addresses = timeout(patience, lookup).await.map_err(|_| {
        let text = format!("no address for {} within {patience:.1?}", upstream.host());
        io::Error::new(io::ErrorKind::TimedOut, text)
    })??;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match with_somebody_else(stream) {
                Ok(stream) => return secure(upstream, stream, patience, tls).await,
                Err(error) => last = error,
            },
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(address, patience),
        }
    }
    Err(last)
}

/// Does the TLS handshake, if the upstream is to be talked to over TLS. What goes wrong with it goes
/// wrong with the upstream's other addresses as well.
async fn secure(
    upstream: &ServerName,
    stream: TcpStream,
    patience: Duration,
    tls: Option<&ClientTls>,
) -> io::Result<Line> {
    if !upstream.is_tls() {
        return Ok(Line { stream, tls: None });
    }
    let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
    let address = stream.peer_addr()?;
    let handshake = timeout(patience, tls.connect(upstream.host(), stream)).await;
    let (stream, tls) = handshake
        .map_err(|_| no_answer(address, patience))??
        .into_inner();
    let tls = Some(Box::new(tls));
    Ok(Line { stream, tls })
}

/// Returns the connection unless it is one with itself, as a port of this machine on which nobody listens may lead to, when
/// the system chooses that very port for our end (TCP simultaneous open).
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
