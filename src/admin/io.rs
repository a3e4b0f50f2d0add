//! A connection as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use super::connection::Shared;
use crate::hyper_io;

/// Bytes read at once.
const CHUNK: usize = 4 << 10;

/// The socket of a connection, which tells what passes.
pub(super) struct AdminIo {
    stream: TcpStream,
    shared: Rc<Shared>,
}

impl AdminIo {
    pub(super) fn new(stream: TcpStream, shared: Rc<Shared>) -> Self {
        Self { stream, shared }
    }
}

impl Read for AdminIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.wants_input();
        let stream = Pin::new(&mut this.stream);
        if ready!(hyper_io::poll_read::<CHUNK>(stream, cx, &mut buf))? > 0 {
            this.shared.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for AdminIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.shared.sent(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
