//! A connection with something between its sessions and TCP: TLS, WebSocket messages, or both.

mod out;
mod tls;

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice, Write as _};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use rustls::Connection;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use self::out::{Control, Out};
use self::tls::{TlsProgress, TlsSocket, read_tls};
use super::ended::Ended;
use super::framing::Framing;
use super::labels::Transport;
use super::stream::with_slices;
use super::turn;
use crate::channel::{Outbox, SessionId};

/// A connection that is more than TCP.
#[derive(Debug)]
pub(crate) struct Layered {
    stream: TcpStream,
    tls: Option<Box<RefCell<Connection>>>,
    /// The framing that a gateway puts around the sessions; without it they exchange frames.
    framing: Cell<Option<&'static Framing>>,
    out: RefCell<Out>,
    progress: Cell<Option<Instant>>,
    /// Sessions that have a seat.
    seats: Cell<u32>,
    /// Tells the task that sees the connection off, if it has one, that it is time.
    over: OnceCell<Box<Notify>>,
}

impl Layered {
    /// Creates the layers of a connection; the handshake of `tls` is over.
    pub(crate) fn new(stream: TcpStream, tls: Option<Connection>) -> Self {
        Self {
            stream,
            tls: tls.map(|tls| Box::new(RefCell::new(tls))),
            framing: Cell::new(None),
            out: RefCell::default(),
            progress: Cell::new(None),
            seats: Cell::new(0),
            over: OnceCell::new(),
        }
    }

    /// Takes it apart, before anything has been written to it.
    pub(super) fn into_parts(self) -> (TcpStream, Option<Connection>) {
        (self.stream, self.tls.map(|tls| tls.into_inner()))
    }

    /// Returns `true` if nobody on the way can read it.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sets what is put around the sessions, before the first of them.
    pub(crate) fn set_framing(&self, framing: &'static Framing) {
        self.framing.set(Some(framing));
    }

    pub(super) fn framing(&self) -> Option<&'static Framing> {
        self.framing.get()
    }

    /// Returns what carries its sessions.
    pub(crate) fn transport(&self) -> Transport {
        let framing = self.framing().map(|framing| framing.transport);
        let transport = framing.unwrap_or(Transport::Tcp);
        if self.is_encrypted() {
            transport.encrypted()
        } else {
            transport
        }
    }

    /// Makes the caller's task the one that sees the connection off. To be waited for.
    pub(crate) fn over(&self) -> &Notify {
        self.over.get_or_init(Box::default)
    }

    /// Shuts the socket down in both directions, or has it seen off.
    pub(super) fn shut_down(&self) {
        match self.over.get() {
            Some(over) => over.notify_one(),
            // It fails only when the other side was faster.
            None => drop(SockRef::from(&self.stream).shutdown(Shutdown::Both)),
        }
    }

    /// Says that nothing more will come, or has it seen off.
    pub(super) fn finish(&self) {
        match self.over.get() {
            Some(over) => over.notify_one(),
            None => self.shut_down_write(),
        }
    }

    /// Says that nothing more will come.
    pub(crate) fn shut_down_write(&self) {
        self.end_tls();
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }

    /// Counts a session that has a seat.
    pub(super) fn take_seat(&self) {
        self.seats.set(self.seats.get() + 1);
    }

    /// Counts a session no more that has given up its seat. Returns `true` if it was the last.
    pub(super) fn leave_seat(&self, session: SessionId) -> bool {
        self.wait_no_more(session);
        self.seats.set(self.seats.get().saturating_sub(1));
        self.seats.get() == 0
    }

    /// Returns `true` if any session has a seat.
    pub(super) fn has_seats(&self) -> bool {
        self.seats.get() > 0
    }

    /// Returns `true` if several sessions write to it.
    pub(super) fn is_shared(&self) -> bool {
        self.seats.get() > 1
    }

    /// Waits until it is the session's turn to write. Cancel safe.
    pub(super) async fn turn(&self, session: SessionId) {
        std::future::poll_fn(|cx| self.out.borrow_mut().poll_turn(session, cx)).await;
    }

    /// Lets all sessions go that wait for the socket: they are about to end.
    pub(crate) fn let_all_go(&self) {
        self.out.borrow_mut().let_all_go();
    }

    /// Gives up the session's place among those that wait for the socket.
    pub(super) fn wait_no_more(&self, session: SessionId) {
        self.out.borrow_mut().wait_no_more(session);
    }

    pub(super) fn progress(&self) -> Option<Instant> {
        self.progress.get()
    }

    /// Keeps bytes that go out before anything else is written, in the place of others that nobody has begun to write.
    pub(crate) fn hold(&self, bytes: Bytes) {
        self.out.borrow_mut().rest = bytes;
    }

    /// Writes bytes before anything else is written. Not cancel safe: a part of them may be written.
    pub(crate) async fn write_all(&self, bytes: Bytes) -> io::Result<()> {
        self.hold(bytes);
        self.flushed().await
    }

    /// Writes bytes and returns how many were taken. For connections without sessions.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.push(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Waits until everything that was taken is in the socket.
    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Waits until everything that was taken is in the socket. Cancel safe.
    pub(crate) async fn flushed(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flushed(cx)).await
    }

    /// Returns `true` once everything that was taken from queues is in the socket.
    pub(super) fn is_clear(&self) -> bool {
        let is_encrypted = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.borrow().wants_write());
        !is_encrypted && self.out.borrow_mut().front().is_none()
    }

    /// Writes what is kept here, then from the front of the queue of `session`. Returns how many bytes of
    /// the queue are done with, whole units unless they are frames.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the socket is full, or it is another session's turn; anything else: the
    /// connection is gone or has been closed.
    pub(super) fn try_write(&self, session: SessionId, outbox: &Outbox) -> io::Result<usize> {
        let result = self.write_in_turn(session, outbox);
        if self.is_shared() {
            let mut out = self.out.borrow_mut();
            match &result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => out.wait(session),
                _ => out.wait_no_more(session),
            }
        }
        result
    }

    fn write_in_turn(&self, session: SessionId, outbox: &Outbox) -> io::Result<usize> {
        self.flush()?;
        if outbox.is_empty() {
            return Ok(0);
        }
        if self.out.borrow().is_closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !self.out.borrow().is_turn_of(session) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = with_slices(outbox, |slices| self.push(slices))?;
        let Some(framing) = self.framing() else {
            return Ok(n);
        };
        let rest = outbox.torn_at(n, framing.encoding);
        let done = n + rest.len();
        self.out.borrow_mut().rest = rest;
        Ok(done)
    }

    /// Writes what is kept here.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is something left.
    fn flush(&self) -> io::Result<()> {
        self.flush_tls()?;
        let mut out = self.out.borrow_mut();
        while let Some(next) = out.front() {
            let n = self.push(&[IoSlice::new(next)])?;
            out.advance(n);
        }
        out.control = None;
        // TLS may have taken it without passing it on.
        self.flush_tls()
    }

    /// Passes bytes to what is below: the socket, or TLS, which takes as much as it may hold.
    fn push(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            let n = self.stream.try_write_vectored(slices)?;
            self.progress.set(Some(Instant::now()));
            return Ok(n);
        };
        let n = tls.borrow_mut().writer().write_vectored(slices)?;
        match self.flush_tls() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if n == 0 && !slices.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(n),
        }
    }

    fn flush_tls(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        let mut tls = tls.borrow_mut();
        while tls.wants_write() {
            tls.write_tls(&mut TlsSocket(&self.stream))?;
            self.progress.set(Some(Instant::now()));
        }
        Ok(())
    }

    /// Writes what is kept here as far as the socket takes it, and has the task woken when it takes
    /// more. That the connection has failed shows when it is read.
    fn poll_flush(&self, cx: &mut Context<'_>) {
        while !self.is_clear() {
            match self.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.poll_write_ready(cx).is_pending() {
                        return;
                    }
                }
                Ok(()) | Err(_) => return,
            }
        }
    }

    /// Reads what was received, decrypted. Writes what is kept here as well.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_flush(cx);
        let before = buf.filled().len();
        loop {
            let result = match &self.tls {
                Some(tls) => read_tls(&mut tls.borrow_mut(), &self.stream, buf),
                None => self.stream.try_read_buf(buf).map(|_| TlsProgress::End),
            };
            match result {
                Ok(TlsProgress::More) if buf.remaining() > 0 && !turn::is_expensive() => {}
                // No bytes would mean the end of the stream.
                Ok(TlsProgress::More) if buf.filled().len() == before => {
                    turn::yield_to_sockets(cx);
                    return Poll::Pending;
                }
                Ok(TlsProgress::More | TlsProgress::End) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.poll_flush(cx);
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                    ready!(self.stream.poll_read_ready(cx))?;
                }
                // It comes again with the next call.
                Err(_) if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Err(error) => {
                    // An alert tells the other side what was wrong.
                    let _ = self.flush();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Answers a ping.
    pub(crate) fn pong(&self, frame: Bytes) {
        self.say(|control| control.pong = frame);
    }

    /// Sends a ping.
    pub(crate) fn ping(&self, frame: Bytes) {
        self.say(|control| control.ping = frame);
    }

    /// Sends a close frame, unless one was sent. Nothing follows it.
    pub(crate) fn close(&self, frame: Bytes) {
        self.say(|control| control.close = frame);
        self.out.borrow_mut().is_closed = true;
    }

    /// Writes the last words of a session of frames, as far as the socket takes them now.
    pub(super) fn say_last(&self, words: Bytes) {
        self.hold(words);
        // What does not go out is not said.
        let _ = self.flush();
    }

    /// Closes the connection with the reason why a session has ended, if its client can be told.
    pub(super) fn close_after(&self, ended: &Ended) {
        let close = self.framing().and_then(|framing| (framing.close)(ended));
        if let Some(frame) = close {
            self.close(frame);
        }
    }

    fn say(&self, what: impl FnOnce(&mut Control)) {
        let mut out = self.out.borrow_mut();
        if out.is_closed {
            return;
        }
        what(out.control.get_or_insert_default());
        drop(out);
        turn::spend(turn::SYSTEM_CALL);
        // What does not go out now goes out with the next read or write.
        let _ = self.flush();
    }

    /// Ends TLS in order, as far as the socket takes it.
    fn end_tls(&self) {
        let _ = self.flush();
        if let Some(tls) = &self.tls {
            tls.borrow_mut().send_close_notify();
            let _ = self.flush_tls();
        }
    }
}
