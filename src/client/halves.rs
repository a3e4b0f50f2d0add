//! The two halves of a connection, which may live in different tasks, over TCP or TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};

use super::socket::reset_on_drop;
#[cfg(feature = "tls")]
use super::tls_halves::{TlsRead, TlsWrite};

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(feature = "tls")]
    Tls(TlsRead),
}

impl ReadHalf {
    /// Has the connection reset when it is dropped, instead of closed.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(super) fn reset_on_drop(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => reset_on_drop(&SockRef::from(half.as_ref())),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.reset_on_drop(),
        }
    }
}

/// The sending half of a connection. Dropping it tells the server that nothing more will come. What was
/// written is on its way only after a flush.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Tls(TlsWrite),
}

/// Splits a TCP connection.
pub(super) fn split(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (reader, writer) = stream.into_split();
    (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.with(|stream| stream.poll_write(cx, bytes)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.with(|stream| stream.poll_flush(cx)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(half) => half.with(|stream| stream.poll_shutdown(cx)),
        }
    }
}
