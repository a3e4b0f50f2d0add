//! Opens the connections of async sessions, over TCP or TLS.
//!
//! The one place that knows how a connection is made; the rest asks for [`AsyncRead`] and
//! [`AsyncWrite`] of its two halves only.
//!
//! [`AsyncRead`]: tokio::io::AsyncRead
//! [`AsyncWrite`]: tokio::io::AsyncWrite

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::Error;
use super::halves::{ReadHalf, WriteHalf, split};
use super::options::SessionOptions;
use super::socket::{ConnectInfo, SETTLING, no_address, reset_on_drop};
use crate::server_name::ServerName;

/// Connects to the first address of the server that answers. Each address, and then the handshake, may
/// take the connect timeout.
pub(super) async fn connect(
    options: &SessionOptions,
) -> Result<(ReadHalf, WriteHalf, ConnectInfo), Error> {
    let target: ServerName = options.server.parse()?;
    let failed = |source| options.connect_error(source);
    #[cfg(feature = "tls")]
    let tls = super::tls::tls_for(options, &target)?;
    let connected = connect_any((target.host(), target.port()), options.connect_timeout).await;
    let (stream, info) = connected.map_err(failed)?;
    if options.reset_on_drop {
        reset_on_drop(&SockRef::from(&stream)).map_err(failed)?;
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = tls {
        let shaken = shake_hands(&tls, target.host(), stream, options.connect_timeout).await;
        let (reader, writer) = shaken.map_err(failed)?;
        return Ok((reader, writer, info));
    }
    let (reader, writer) = split(stream);
    Ok((reader, writer, info))
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
        Err(_) => return Err(super::socket::no_handshake(patience)),
    };
    let (reader, writer) = super::tls_halves::split(stream);
    Ok((ReadHalf::Tls(reader), WriteHalf::Tls(writer)))
}

/// Returns `true` if somebody accepts connections at `server`, as far as can be told within `patience`.
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
) -> io::Result<(TcpStream, ConnectInfo)> {
    let mut last = no_address();
    for address in tokio::net::lookup_host(target).await? {
        let begun = Instant::now();
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                match ConnectInfo::of(&SockRef::from(&stream), address, begun.elapsed()) {
                    Ok(info) => return Ok((stream, info)),
                    Err(error) => last = error,
                }
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = no_answer(address, patience),
        }
    }
    Err(last)
}

fn no_answer(address: SocketAddr, patience: Duration) -> io::Error {
    let text = format!("no answer from {address} within {patience:?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}
