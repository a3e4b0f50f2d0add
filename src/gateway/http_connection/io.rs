//! A connection as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::HttpConnection;
use crate::hyper_io;
use crate::shard::stream::StreamReader;
use crate::shard::turn::{self, TurnWait};

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// The socket of a connection, which tells the connection what passes.
pub(super) struct HttpIo {
    connection: Rc<HttpConnection>,
    reader: StreamReader,
    /// Bytes that were read before hyper was there.
    early: Bytes,
    /// Wait for its next turn.
    turn: TurnWait,
}

impl HttpIo {
    pub(super) fn new(connection: Rc<HttpConnection>, early: Bytes) -> Self {
        Self {
            reader: StreamReader::Layered(connection.layered.clone()),
            connection,
            early,
            turn: TurnWait::default(),
        }
    }
}

impl Read for HttpIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let connection = &this.connection;
        connection.wants_input();
        if this.early.has_remaining() {
            let early = this.early.split_to(this.early.len().min(buf.remaining()));
            buf.put_slice(&early);
            return Poll::Ready(connection.received(early.len()));
        }
        ready!(connection.shard.poll_turn(cx, &mut this.turn));
        let reader = Pin::new(&mut this.reader);
        let read = ready!(hyper_io::poll_read::<CHUNK>(reader, cx, &mut buf))?;
        turn::spend(turn::SYSTEM_CALL);
        turn::spend_bytes(read);
        Poll::Ready(match read {
            0 => Ok(()),
            n => connection.received(n),
        })
    }
}

impl Write for HttpIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        turn::spend(turn::SYSTEM_CALL);
        turn::spend_bytes(buf.len());
        let connection = &self.connection;
        connection.writes();
        let written = connection.layered.poll_write(cx, buf);
        connection.sent(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.connection;
        let flushed = connection.layered.poll_flushed(cx);
        connection.sent(flushed.is_pending());
        // The library flushes when it has passed on all that it had.
        if flushed.is_ready() {
            connection.flushed();
        }
        flushed
    }

    /// Does nothing: the task of the connection sees the client off.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
