//! Reading frames from a socket.
//!
//! A connection that has nothing pending holds no buffer: its shard reads into one scratch buffer,
//! and only when the socket is ready. A small run is copied out to its exact size; a large one
//! takes the scratch buffer with it. What has come of an incomplete frame is kept by the
//! connection, in a buffer that grows as bytes come, never by the length that was announced.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::allowance::{Allowance, FREE, Overdrawn, Share};
use super::frame_deadline::FrameProgress;
use super::turn;
use crate::channel::FrameRun;
use crate::protocol::{BodyCheck, FrameError, Run, Scan, Stop, scan, scan_with_notices};

/// Bytes asked for with one read.
pub(crate) const CHUNK: usize = 64 << 10;
/// An incomplete frame up to this size is copied in front of the next read; of a longer one the
/// rest is read straight into its own buffer.
const COPIED: usize = FREE;
/// Runs from this size on take the scratch buffer with them instead of being copied.
const GIVEN: usize = CHUNK / 2;

/// Finds the frames in what a connection has sent.
pub(crate) trait Scanner {
    /// The fault of bytes that are no frame.
    type Error;

    /// Returns the run of whole, good frames at the start of `buf`.
    fn scan(&self, buf: &[u8]) -> Scan<Self::Error>;
}

/// Mles v1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames<'a> {
    /// Largest body in bytes.
    pub(crate) max_body: usize,
    /// The check that frames have to pass; `None` if there are only messages, which may hold anything.
    pub(crate) check: Option<&'a InputCheck>,
}

impl Scanner for Frames<'_> {
    type Error = FrameError;

    fn scan(&self, buf: &[u8]) -> Scan {
        match self.check {
            None => scan(buf, self.max_body, &BodyCheck::Off),
            Some(check) => check.scan(buf, self.max_body),
        }
    }
}

/// The check of the frames that a client sends after its join.
#[derive(Debug)]
pub(crate) struct InputCheck {
    body: BodyCheck,
    takes_tokens: bool,
    /// Set when a run that was found has tokens among its messages.
    has_tokens: Cell<bool>,
}

impl InputCheck {
    pub(super) const fn new(body: BodyCheck, takes_tokens: bool) -> Self {
        Self {
            body,
            takes_tokens,
            has_tokens: Cell::new(false),
        }
    }

    /// Returns `true` if the run that was found last has tokens among its messages.
    pub(super) fn has_tokens(&self) -> bool {
        self.has_tokens.get()
    }

    fn scan(&self, buf: &[u8], max_body: usize) -> Scan {
        if !self.takes_tokens {
            return scan(buf, max_body, &self.body);
        }
        let (found, has_tokens) = scan_with_notices(buf, max_body, &self.body);
        self.has_tokens.set(has_tokens);
        found
    }
}

/// The read buffer of many connections of a shard, and the memory they share.
#[derive(Debug)]
pub(crate) struct Scratch {
    buf: BytesMut,
    /// The memory for incomplete frames.
    pub(crate) allowance: Allowance,
}

impl Scratch {
    /// Creates a buffer and `allowance` bytes of memory for incomplete frames, over all connections.
    pub(crate) fn new(allowance: usize) -> Self {
        Self {
            buf: Self::fresh(),
            allowance: Allowance::new(allowance),
        }
    }

    fn fresh() -> BytesMut {
        BytesMut::with_capacity(CHUNK + COPIED)
    }
}

/// The outcome of one read.
#[derive(Debug)]
pub(crate) struct ReadStep<E = FrameError> {
    /// The whole frames in it.
    pub(crate) run: Option<FrameRun>,
    /// The reason to go on, wait or end.
    pub(crate) next: Next<E>,
}

impl<E> ReadStep<E> {
    pub(crate) const fn overdrawn() -> Self {
        Self {
            run: None,
            next: Next::Overdrawn,
        }
    }
}

/// The caller's next step after a [`ReadStep`].
#[derive(Debug)]
pub(crate) enum Next<E = FrameError> {
    /// Wait for more.
    Wait,
    /// There is probably more in the socket: read again when others have had their turn.
    Again,
    /// The client has closed its sending side; whether it did so inside a frame.
    Eof { torn: bool },
    /// The bytes behind the run are no frame.
    Bad(E),
    /// There is no memory for the incomplete frame behind the run, or it is needed for another's.
    Overdrawn,
}

/// The incomplete frame of one connection.
#[derive(Debug, Default)]
pub(crate) struct Input {
    partial: BytesMut,
    /// Length of the whole frame, once known.
    need: u32,
    /// Counts the frames, to tell one from the next.
    frame: u32,
    /// The part of the allowance that `partial` takes.
    share: Share,
}

impl Input {
    /// Starts with bytes that came earlier.
    pub(crate) fn resume(
        &mut self,
        partial: &[u8],
        scratch: &mut Scratch,
        scanner: &impl Scanner,
    ) -> Result<(), Overdrawn> {
        let need = match scanner.scan(partial).stop {
            Stop::Partial { need } => need,
            Stop::End | Stop::Bad(_) => 0,
        };
        self.keep(BytesMut::from(partial), need, scratch)
    }

    /// Takes out what has come of an incomplete frame.
    pub(crate) fn take_partial(&mut self, scratch: &mut Scratch) -> Bytes {
        let partial = std::mem::take(&mut self.partial);
        self.release(scratch);
        partial.freeze()
    }

    /// Gives its part of the allowance back; to be called when the connection ends.
    pub(crate) fn release(&mut self, scratch: &mut Scratch) {
        scratch.allowance.release(&mut self.share);
        self.partial = BytesMut::new();
        self.need = 0;
    }

    /// Returns its part of the allowance.
    pub(crate) const fn share(&self) -> &Share {
        &self.share
    }

    /// Returns the bytes received of an incomplete frame, if there is one.
    pub(crate) fn received(&self) -> Option<FrameProgress> {
        (!self.partial.is_empty()).then_some(FrameProgress {
            frame: (self.frame, 0),
            bytes: self.partial.len(),
        })
    }

    /// Reads once and returns what is whole. Nothing is lost when it is pending.
    pub(crate) fn poll_read<S: Scanner>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncRead + Unpin),
        scratch: &mut Scratch,
        scanner: &S,
    ) -> Poll<io::Result<ReadStep<S::Error>>> {
        self.poll_read_up_to(CHUNK, cx, socket, scratch, scanner)
    }

    /// Like [`Self::poll_read`], for at most `room` bytes, which are no more than [`CHUNK`]. Of a long frame that has
    /// begun, what there is of its rest is read.
    pub(crate) fn poll_read_up_to<S: Scanner>(
        &mut self,
        room: usize,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncRead + Unpin),
        scratch: &mut Scratch,
        scanner: &S,
    ) -> Poll<io::Result<ReadStep<S::Error>>> {
        if scratch.allowance.is_evicted(&self.share, cx) {
            return Poll::Ready(Ok(ReadStep::overdrawn()));
        }
        if self.partial.len() > COPIED {
            return self.poll_rest(cx, socket, scratch, scanner);
        }
        scratch.buf.clear();
        scratch.buf.extend_from_slice(&self.partial);
        let n = ready!(poll_read_buf(cx, socket, &mut scratch.buf, room))?;
        if n == 0 {
            return Poll::Ready(Ok(self.at_eof()));
        }
        self.release(scratch);
        let found = scanner.scan(&scratch.buf);
        let (run, kept) = self.take_run(found.run, &found.stop, scratch);
        let next = if kept.is_ok() {
            next(found.stop, n == room)
        } else {
            Next::Overdrawn
        };
        Poll::Ready(Ok(ReadStep { run, next }))
    }

    /// Reads the rest of a long frame into the frame's own buffer.
    fn poll_rest<S: Scanner>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncRead + Unpin),
        scratch: &mut Scratch,
        scanner: &S,
    ) -> Poll<io::Result<ReadStep<S::Error>>> {
        if self.make_room(scratch).is_err() {
            return Poll::Ready(Ok(ReadStep::overdrawn()));
        }
        let need = self.need as usize;
        let room = self.partial.capacity().min(need) - self.partial.len();
        let n = ready!(poll_read_buf(cx, socket, &mut self.partial, room))?;
        if n == 0 {
            return Poll::Ready(Ok(self.at_eof()));
        }
        scratch.allowance.progressed(&self.share);
        if self.partial.len() < need {
            let next = if n == room { Next::Again } else { Next::Wait };
            return Poll::Ready(Ok(ReadStep { run: None, next }));
        }
        let found = scanner.scan(&self.partial);
        let capacity = self.partial.capacity();
        let frame = std::mem::take(&mut self.partial).freeze();
        self.release(scratch);
        self.frame = self.frame.wrapping_add(1);
        let run = (found.run.frames > 0).then(|| FrameRun::slice_of(frame, 1, capacity));
        Poll::Ready(Ok(ReadStep {
            run,
            next: next(found.stop, n == room),
        }))
    }

    fn at_eof<E>(&self) -> ReadStep<E> {
        ReadStep {
            run: None,
            next: Next::Eof {
                torn: !self.partial.is_empty(),
            },
        }
    }

    /// Makes the buffer of a long frame larger if it is full: to twice its size, and to the size
    /// of the frame at most.
    fn make_room(&mut self, scratch: &mut Scratch) -> Result<(), Overdrawn> {
        let (len, need) = (self.partial.len(), self.need as usize);
        if len < self.partial.capacity().min(need) {
            return Ok(());
        }
        let capacity = need.min((2 * len).max(CHUNK));
        let mut larger = BytesMut::with_capacity(capacity);
        larger.extend_from_slice(&self.partial);
        self.keep(larger, need, scratch)
    }

    /// Takes the run out of the scratch buffer and keeps the incomplete frame behind it.
    fn take_run<E>(
        &mut self,
        run: Run,
        stop: &Stop<E>,
        scratch: &mut Scratch,
    ) -> (Option<FrameRun>, Result<(), Overdrawn>) {
        let need = if let Stop::Partial { need } = stop {
            *need
        } else {
            0
        };
        let frames = u32::try_from(run.frames).unwrap_or(u32::MAX);
        self.frame = self.frame.wrapping_add(frames);
        if run.len >= GIVEN {
            let mut given = std::mem::replace(&mut scratch.buf, Scratch::fresh());
            let capacity = given.capacity();
            let bytes = given.split_to(run.len).freeze();
            let kept = self.keep(BytesMut::from(&given[..]), need, scratch);
            return (Some(FrameRun::slice_of(bytes, frames, capacity)), kept);
        }
        if run.len == 0 && scratch.buf.len() >= GIVEN {
            let given = std::mem::replace(&mut scratch.buf, Scratch::fresh());
            return (None, self.keep(given, need, scratch));
        }
        let (whole, rest) = scratch.buf.split_at(run.len);
        let (whole, rest) = (Bytes::copy_from_slice(whole), BytesMut::from(rest));
        let run = (frames > 0).then(|| FrameRun::exact(whole, frames));
        (run, self.keep(rest, need, scratch))
    }

    /// Makes `buf` the buffer of a frame of `need` bytes, within the allowance. Does nothing if
    /// `need` is 0: there is no such frame.
    fn keep(&mut self, buf: BytesMut, need: usize, scratch: &mut Scratch) -> Result<(), Overdrawn> {
        if need == 0 {
            return Ok(());
        }
        self.need = u32::try_from(need).map_err(|_| Overdrawn)?;
        scratch.allowance.hold(&mut self.share, buf.capacity())?;
        self.partial = buf;
        Ok(())
    }
}

fn next<E>(stop: Stop<E>, filled: bool) -> Next<E> {
    match stop {
        Stop::Bad(error) => Next::Bad(error),
        Stop::End | Stop::Partial { .. } if filled => Next::Again,
        Stop::End | Stop::Partial { .. } => Next::Wait,
    }
}

/// Polls one read of at most `room` bytes, appended to `buf`. Pending means nothing was read.
fn poll_read_buf(
    cx: &mut Context<'_>,
    socket: &mut (impl AsyncRead + Unpin),
    buf: &mut BytesMut,
    room: usize,
) -> Poll<io::Result<usize>> {
    let mut limited = buf.limit(room);
    let read = pin!(socket.read_buf(&mut limited));
    let read = ready!(read.poll(cx));
    turn::spend(turn::SYSTEM_CALL);
    turn::spend_bytes(read.as_ref().map_or(0, |&n| n));
    Poll::Ready(read)
}
