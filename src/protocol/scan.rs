//! The frame scanner: finds the run of whole frames at the start of a buffer and checks each.
//!
//! This is on the path of every frame. Without a body check it touches four bytes a frame; with
//! one, a body encoded as we do costs one comparison.

use super::check::{BodyCheck, check_names};
use super::error::FrameError;
use super::header::{HEADER_LEN, HeaderStart, frame_len};

/// Whole frames, back to back, at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Length in bytes.
    pub len: usize,
    /// Number of frames.
    pub frames: usize,
}

/// Reason for the scan to stop after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop<E = FrameError> {
    /// The buffer ended with the run.
    End,
    /// The frame that begins at the end of the run has not come as a whole.
    Partial {
        /// Its whole length in bytes when its first 4 bytes have come, else [`HEADER_LEN`].
        need: usize,
    },
    /// The frame that begins at the end of the run is bad; offsets count from the start of the
    /// buffer.
    Bad(E),
}

/// Result of [`scan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan<E = FrameError> {
    /// The good frames.
    pub run: Run,
    /// Reason why the run ends there.
    pub stop: Stop<E>,
}

/// Finds the run of whole, good frames at the start of `buf`.
///
/// A frame is good when it begins with the magic, its body has 1 ..= `max_body` bytes, and `check`
/// lets the body through. What is wrong with the first four bytes of a frame is told as soon as
/// they are there, a body only when it has come as a whole.
#[must_use]
pub fn scan(buf: &[u8], max_body: usize, check: &BodyCheck) -> Scan {
    // One loop for each kind of check, so that none is made inside it.
    match check {
        BodyCheck::Off => scan_with(buf, max_body, |_, _| Ok(())),
        BodyCheck::Channel(names) => {
            scan_with(buf, max_body, |body, at| check_names(body, at, names, true))
        }
        BodyCheck::Sender(names) => scan_with(buf, max_body, |body, at| {
            check_names(body, at, names, false)
        }),
    }
}

#[inline]
fn scan_with(
    buf: &[u8],
    max_body: usize,
    check: impl Fn(&[u8], usize) -> Result<(), FrameError>,
) -> Scan {
    let mut run = Run { len: 0, frames: 0 };
    let stop = loop {
        if run.len == buf.len() {
            break Stop::End;
        }
        let body_len = match HeaderStart::read(buf, run.len, max_body) {
            Ok(HeaderStart::BodyLen(len)) => len,
            Ok(HeaderStart::Unknown) => break Stop::Partial { need: HEADER_LEN },
            Err(error) => break Stop::Bad(error),
        };
        let body_at = run.len + HEADER_LEN;
        let end = body_at + body_len;
        let Some(body) = buf.get(body_at..end) else {
            break Stop::Partial {
                need: HEADER_LEN + body_len,
            };
        };
        if let Err(error) = check(body, body_at) {
            break Stop::Bad(error);
        }
        run.len = end;
        run.frames += 1;
    };
    Scan { run, stop }
}

/// Walks a run that was scanned before, frame by frame, headers included.
///
/// It does not check anything again: on bytes that are no run it ends early or yields rubbish, but
/// does not panic.
pub fn frames(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let (frame, tail) = rest.split_at_checked(frame_len(rest)?)?;
        rest = tail;
        Some(frame)
    })
}
