//! A socket as the fleet uses it, plain or under TLS.

use std::io::{self, Read as _, Write as _};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::arrival::Arrival;
use super::tls::Tls;

/// A non-blocking connection. Errors of TLS are I/O errors with the reason.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Stream {
    /// Reads into `buffer`, by way of `sealed` under TLS.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, or the connection is of no more use.
    pub(super) fn read(&mut self, buffer: &mut [u8], sealed: &mut [u8]) -> io::Result<Arrival> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => return tls.read(buffer, sealed),
        };
        Ok(match stream.read(buffer)? {
            0 => Arrival::End,
            // A read that did not fill the buffer has emptied the socket.
            len => Arrival::Bytes {
                len,
                is_last: len < buffer.len(),
            },
        })
    }

    /// Takes some of `bytes` to send, and says how many.
    ///
    /// # Errors
    /// `WouldBlock` when it can take none now, or the connection is of no more use.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Sends what was taken and is still here.
    ///
    /// # Errors
    /// As [`Stream::write`].
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.socket(),
        }
    }
}

impl Source for Stream {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket().register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket().reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.socket().deregister(from)
    }
}
