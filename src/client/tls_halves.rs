//! The halves of a connection over TLS.
//!
//! TLS has one state for both directions, so the halves share it behind a lock that is held for a
//! poll at a time and never across a wait. Dropping the sending half says goodbye in TLS and closes
//! the sending side of the connection, as dropping that of TCP does; when the system does not take
//! that at once, the receiving half goes on with it while it is polled.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::socket::reset_on_drop;
use super::tls::explain_read_error;
use crate::tls::explain_io_error;

/// The state of both halves.
#[derive(Debug)]
struct SharedTls {
    stream: TlsStream<TcpStream>,
    /// `true` if the sending half was dropped and the goodbye is not sent yet.
    closing: bool,
    /// The task that waits for something to read.
    reader: Waker,
}

impl SharedTls {
    /// Sends the goodbye, as far as the system takes it.
    fn close(&mut self, cx: &mut Context<'_>) {
        // A connection that is gone has nobody to say goodbye to; reading will tell.
        self.closing = Pin::new(&mut self.stream).poll_shutdown(cx).is_pending();
    }
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct TlsRead(Arc<Mutex<SharedTls>>);

/// The sending half.
#[derive(Debug)]
pub(super) struct TlsWrite(Arc<Mutex<SharedTls>>);

/// Splits a connection over TLS.
pub(super) fn split(stream: TlsStream<TcpStream>) -> (TlsRead, TlsWrite) {
    let shared = Arc::new(Mutex::new(SharedTls {
        stream,
        closing: false,
        reader: Waker::noop().clone(),
    }));
    (TlsRead(shared.clone()), TlsWrite(shared))
}

impl TlsRead {
    /// Has the connection reset when it is dropped, instead of closed.
    pub(super) fn reset_on_drop(&self) -> io::Result<()> {
        let shared = lock(&self.0);
        reset_on_drop(&SockRef::from(shared.stream.get_ref().0))
    }

    /// Reads, and sends what is left of a goodbye.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        if shared.closing {
            shared.close(cx);
        }
        let read = Pin::new(&mut shared.stream).poll_read(cx, buf);
        if read.is_pending() {
            shared.reader.clone_from(cx.waker());
        }
        read.map_err(explain_read_error)
    }
}

impl TlsWrite {
    /// Polls the connection to write, flush or close.
    pub(super) fn with<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut shared = lock(&self.0);
        poll(Pin::new(&mut shared.stream)).map_err(explain_io_error)
    }
}

impl Drop for TlsWrite {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.close(&mut Context::from_waker(Waker::noop()));
        if shared.closing {
            shared.reader.wake_by_ref();
        }
    }
}

fn lock(shared: &Mutex<SharedTls>) -> MutexGuard<'_, SharedTls> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
