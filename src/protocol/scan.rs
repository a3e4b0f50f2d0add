//! The frame scanner: finds the run of whole frames at the start of a buffer and checks each.
//!
//! This is on the path of every frame. Without a body check it touches four bytes a frame; with
//! one, a body encoded as we do costs one comparison.

use super::check::{BodyCheck, check_names};
use super::error::FrameError;
use super::header::{HEADER_LEN, HeaderStart, MAGIC, frame_len};
use super::notice::NOTICE_MAGIC;

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
    scan_behind(Run::EMPTY, buf, max_body, check)
}

/// Finds the run of whole, good frames at the start of `buf`, like [`scan`], where a client may say something to the
/// server as well: frames that begin with [`NOTICE_MAGIC`] are good, whatever is in their bodies. Returns `true` if there
/// are such frames in the run.
#[must_use]
pub fn scan_with_notices(buf: &[u8], max_body: usize, check: &BodyCheck) -> (Scan, bool) {
    let mut run = Run::EMPTY;
    let mut has_notices = false;
    loop {
        let found = scan_behind(run, buf, max_body, check);
        if !matches!(found.stop, Stop::Bad(FrameError::BadMagic { found, .. }) if found == NOTICE_MAGIC)
        {
            return (found, has_notices);
        }
        run = found.run;
        if let Err(stop) = run.extend(NOTICE_MAGIC, buf, max_body, |_, _| Ok(())) {
            return (Scan { run, stop }, has_notices);
        }
        has_notices = true;
    }
}

fn scan_behind(run: Run, buf: &[u8], max_body: usize, check: &BodyCheck) -> Scan {
    // One loop for each kind of check, so that none is made inside it.
    match check {
        BodyCheck::Off => scan_with(run, buf, max_body, |_, _| Ok(())),
        BodyCheck::Channel(names) => scan_with(run, buf, max_body, |body, at| {
            check_names(body, at, names, true)
        }),
        BodyCheck::Sender(names) => scan_with(run, buf, max_body, |body, at| {
            check_names(body, at, names, false)
        }),
    }
}

#[inline]
fn scan_with(
    mut run: Run,
    buf: &[u8],
    max_body: usize,
    check: impl Fn(&[u8], usize) -> Result<(), FrameError>,
) -> Scan {
    let stop = loop {
        if run.len == buf.len() {
            break Stop::End;
        }
        if let Err(stop) = run.extend(MAGIC, buf, max_body, &check) {
            break stop;
        }
    };
    Scan { run, stop }
}

impl Run {
    const EMPTY: Self = Self { len: 0, frames: 0 };

    /// Takes in the next frame, which has to begin with `magic`.
    #[inline]
    fn extend(
        &mut self,
        magic: u8,
        buf: &[u8],
        max_body: usize,
        check: impl Fn(&[u8], usize) -> Result<(), FrameError>,
    ) -> Result<(), Stop> {
        let body_len = match HeaderStart::read_after(magic, buf, self.len, max_body) {
            Ok(HeaderStart::BodyLen(len)) => len,
            Ok(HeaderStart::Unknown) => return Err(Stop::Partial { need: HEADER_LEN }),
            Err(error) => return Err(Stop::Bad(error)),
        };
        let body_at = self.len + HEADER_LEN;
        let end = body_at + body_len;
        let Some(body) = buf.get(body_at..end) else {
            return Err(Stop::Partial {
                need: HEADER_LEN + body_len,
            });
        };
        check(body, body_at).map_err(Stop::Bad)?;
        self.len = end;
        self.frames += 1;
        Ok(())
    }
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
