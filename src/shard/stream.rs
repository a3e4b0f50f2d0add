//! The two sides of a connection: plain TCP, or with TLS or WebSocket in between.
//!
//! A plain connection belongs to one session, which writes its queue to the socket as it is. A
//! layered one (TLS, WebSocket, or both) may be shared by several sessions, and writes things of
//! its own between theirs, so it takes whole units only: what the socket does not take of a unit is
//! kept here and goes out before anything else.
//!
//! Invariants:
//!
//! * What is kept is bounded: the rest of one unit, which its channel's other members share; a pong,
//!   a ping and a close frame; and of TLS what was encrypted with one write, at most 64 KiB.
//! * Nothing blocks. What does not go out now goes out when the socket has room.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::Connection;
use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::framing::Framing;
use super::layered::Layered;
use crate::channel::{Encoding, FRAMES, Form, Outbox, SessionId};

/// Longest time for which a connection stays open so that the last bytes sent arrive.
const LINGER: Duration = Duration::from_millis(500);
/// Runs passed to one vectored write.
const SLICES: usize = 64;
/// Bytes passed to one write. A socket with room may take megabytes at once, and everybody else waits.
const MOST: usize = 256 << 10;

/// The sending side of a session.
#[derive(Debug)]
pub(super) enum StreamWriter {
    /// TCP and nothing else.
    Plain(OwnedWriteHalf),
    /// With something in between.
    Layered(Rc<Layered>),
}

/// The receiving side.
#[derive(Debug)]
pub(crate) enum StreamReader {
    /// TCP and nothing else.
    Plain(OwnedReadHalf),
    /// With something in between.
    Layered(Rc<Layered>),
}

/// Takes out what the other side still sends, for a short time: closing a socket with data in it
/// would cut off what was said last.
pub(crate) async fn see_off(reader: &mut StreamReader) {
    // It is over in any case.
    let _ = timeout(LINGER, tokio::io::copy(reader, &mut tokio::io::sink())).await;
}

/// Returns `true` if the error only says that the client is gone.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

/// Passes what is queued next to one vectored write.
pub(super) fn with_slices<T>(outbox: &Outbox, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.slices(&mut slices);
    let mut left = MOST;
    let fitting = slices[..count].iter().take_while(|slice| {
        let rest = left.checked_sub(slice.len());
        left = rest.unwrap_or_default();
        rest.is_some()
    });
    match (fitting.count(), slices[..count].first()) {
        (0, Some(first)) => write(&[IoSlice::new(&first[..MOST])]),
        (fitting, _) => write(&slices[..fitting]),
    }
}

/// Returns the two sides of a connection, plain or with TLS.
pub(super) fn sides(stream: TcpStream, tls: Option<Connection>) -> (StreamReader, StreamWriter) {
    if tls.is_some() {
        let layered = Rc::new(Layered::new(stream, tls));
        return (
            StreamReader::Layered(layered.clone()),
            StreamWriter::Layered(layered),
        );
    }
    let (reader, writer) = stream.into_split();
    (StreamReader::Plain(reader), StreamWriter::Plain(writer))
}

impl StreamWriter {
    /// Writes from the front of the queue of `session` and returns how many bytes of it are done with. With
    /// an empty queue it writes what is kept here.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while the socket is full; anything else: the connection is gone.
    pub(super) fn try_write(&self, session: SessionId, outbox: &Outbox) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => {
                if let Some(run) = outbox.single() {
                    return writer.try_write(&run[..run.len().min(MOST)]);
                }
                with_slices(outbox, |slices| writer.try_write_vectored(slices))
            }
            Self::Layered(layered) => layered.try_write(session, outbox),
        }
    }

    /// Writes frames when nothing is queued. Not cancel safe: a part of them may be written.
    pub(super) async fn write_all(&self, frames: Bytes) -> io::Result<()> {
        let mut outbox = Outbox::default();
        outbox.push(frames);
        let mut form = Form::from(&FRAMES);
        while !(outbox.is_empty() && self.is_clear()) {
            match self.try_write(SessionId::NONE, &outbox) {
                Ok(n) => {
                    outbox.advance(n, &mut form);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable(SessionId::NONE).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns `true` once everything that was taken from queues is in the socket.
    pub(super) fn is_clear(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Layered(layered) => layered.is_clear(),
        }
    }

    /// Returns when the socket last took something, where the queues alone do not show it.
    pub(super) fn progress(&self) -> Option<Instant> {
        match self {
            Self::Plain(_) => None,
            Self::Layered(layered) => layered.progress(),
        }
    }

    /// Returns the layered connection, if it is one.
    pub(super) fn layered(&self) -> Option<&Rc<Layered>> {
        match self {
            Self::Plain(_) => None,
            Self::Layered(layered) => Some(layered),
        }
    }

    fn framing(&self) -> Option<&'static Framing> {
        self.layered()?.framing()
    }

    /// Returns `true` if a gateway's protocol carries the sessions.
    pub(super) fn has_framing(&self) -> bool {
        self.framing().is_some()
    }

    /// Writes the last words of a session of frames, as far as the socket takes them now.
    pub(super) fn say_last(&self, words: Bytes) {
        match self {
            // What does not go out is not said.
            Self::Plain(writer) => _ = writer.try_write(&words),
            Self::Layered(layered) => layered.say_last(words),
        }
    }

    /// Returns `true` if the client answers pings.
    pub(super) fn has_pings(&self) -> bool {
        self.framing().is_some_and(|framing| framing.ping.is_some())
    }

    /// Sends a ping, if the client answers that.
    pub(super) fn ping(&self) {
        if let (Some(layered), Some(framing)) = (self.layered(), self.framing())
            && let Some(ping) = framing.ping
        {
            layered.ping(ping());
        }
    }

    /// Returns the encoding of the queue of a session that writes here.
    pub(super) fn encoding(&self) -> &'static Encoding {
        self.framing().map_or(&FRAMES, |framing| framing.encoding)
    }

    /// The connection itself.
    pub(super) fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(writer) => writer.as_ref(),
            Self::Layered(layered) => layered.stream(),
        }
    }

    /// Waits until the socket has room and it is the turn of `session` to write. Cancel safe.
    pub(super) async fn writable(&self, session: SessionId) -> io::Result<()> {
        if let Self::Layered(layered) = self {
            layered.turn(session).await;
        }
        self.stream().writable().await
    }

    /// Waits until the connection has failed. Cancel safe.
    pub(super) async fn failed(&self) -> io::Error {
        let ready = self.stream().ready(Interest::ERROR).await;
        ready
            .err()
            .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Waits until the other side has closed the connection or it has failed, whatever of what came
    /// before that is still to be read. Cancel safe.
    pub(super) async fn ended(&self) {
        #[cfg(target_os = "linux")]
        let end = Interest::PRIORITY.add(Interest::ERROR);
        #[cfg(not(target_os = "linux"))]
        let end = Interest::ERROR;
        // An error is an end as well.
        let _ = self.stream().ready(end).await;
    }

    /// Shuts the socket down in both directions, which wakes whoever waits for it; or has it seen
    /// off by the task that does that.
    pub(super) fn shut_down(&self) {
        match self {
            // It fails only when the other side was faster.
            Self::Plain(writer) => {
                let _ = SockRef::from(writer.as_ref()).shutdown(Shutdown::Both);
            }
            Self::Layered(layered) => layered.shut_down(),
        }
    }

    /// Tells the other side that nothing more will come, or has it told so.
    pub(super) fn finish(&self) {
        match self {
            Self::Plain(writer) => {
                let _ = SockRef::from(writer.as_ref()).shutdown(Shutdown::Write);
            }
            Self::Layered(layered) => layered.finish(),
        }
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(reader) => Pin::new(reader).poll_read(cx, buf),
            Self::Layered(layered) => layered.poll_read(cx, buf),
        }
    }
}
