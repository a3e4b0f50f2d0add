//! Frames: finding a client's in a buffer, taking its mask off, and writing ours.
//!
//! The scanner has the shape of [`crate::protocol::scan`], so that both kinds of connection read
//! their sockets the same way.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::close_code::{CloseCode, MAX_CONTROL};
use super::error::WsFrameError;
use crate::protocol::{Run, Scan, Stop};

/// Length of the mask, in bytes.
const MASK_LEN: usize = 4;
/// Length of the longest head of a client's frame, in bytes.
const MAX_HEAD: usize = 14;
/// The two values of the 7-bit length that say how long the real one is.
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// Type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn read(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Set if it is the last fragment of its message.
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    /// The mask of the payload.
    pub(crate) mask: [u8; MASK_LEN],
    /// Length of the head, mask included, in bytes.
    pub(crate) head_len: usize,
    /// Length of the payload behind it, in bytes.
    pub(crate) payload_len: usize,
}

/// Finds the run of whole, good client frames at the start of `buf`.
///
/// A data frame is good with a payload of up to `max_payload` bytes. What is wrong with a head is
/// told as soon as the bytes that show it are there, whatever is missing behind them.
pub(crate) fn scan(buf: &[u8], max_payload: usize) -> Scan<WsFrameError> {
    let mut run = Run { len: 0, frames: 0 };
    let stop = loop {
        let rest = &buf[run.len..];
        if rest.is_empty() {
            break Stop::End;
        }
        let len = match FrameStart::read(rest, run.len, max_payload) {
            Ok(FrameStart::Len(len)) => len,
            Ok(FrameStart::Unknown) => break Stop::Partial { need: MAX_HEAD },
            Err(error) => break Stop::Bad(error),
        };
        let need = len.head.saturating_add(len.payload);
        if rest.len() < need {
            break Stop::Partial { need };
        }
        run.len += need;
        run.frames += 1;
    };
    Scan { run, stop }
}

/// Walks a run that was scanned before: the frames and their payloads, still masked.
///
/// It does not check anything again: on bytes that are no run it ends early or yields rubbish, but
/// does not panic.
pub(crate) fn client_frames(run: &[u8]) -> impl Iterator<Item = (FrameHead, &[u8])> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let head = FrameHead::read(rest)?;
        let (payload, tail) = rest[head.head_len..].split_at_checked(head.payload_len)?;
        rest = tail;
        Some((head, payload))
    })
}

impl FrameHead {
    /// Reads the head at the start of `buf`; `None` if it is cut off or bad.
    fn read(buf: &[u8]) -> Option<Self> {
        let Ok(FrameStart::Len(len)) = FrameStart::read(buf, 0, usize::MAX) else {
            return None;
        };
        let first = *buf.first()?;
        let head = buf.get(..len.head)?;
        Some(Self {
            fin: first & FIN != 0,
            opcode: Opcode::read(first & OPCODE)?,
            mask: *head.last_chunk()?,
            head_len: len.head,
            payload_len: len.payload,
        })
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;

/// The facts about a client's frame that its first bytes tell.
enum FrameStart {
    /// Too few are there for the length, nothing wrong so far.
    Unknown,
    /// The lengths of both parts, in bytes.
    Len(Lengths),
}

struct Lengths {
    head: usize,
    payload: usize,
}

impl FrameStart {
    /// Reads the start of the frame `buf`, which begins at `at`.
    #[inline]
    fn read(buf: &[u8], at: usize, max_payload: usize) -> Result<Self, WsFrameError> {
        let Some(&first) = buf.first() else {
            return Ok(Self::Unknown);
        };
        let is_control = check_first(first, at)?;
        let at = at + 1;
        let Some(&second) = buf.get(1) else {
            return Ok(Self::Unknown);
        };
        if second & MASKED == 0 {
            return Err(WsFrameError::Unmasked { at });
        }
        let short = second & !MASKED;
        let limit = match () {
            () if !is_control => max_payload,
            () if usize::from(short) <= MAX_CONTROL => MAX_CONTROL,
            () => return Err(WsFrameError::LongControl { at }),
        };
        let (len, width) = match short {
            LEN_16 => (long_len::<2>(&buf[2..], LEN_16.into(), limit, at)?, 2),
            LEN_64 => (long_len::<8>(&buf[2..], 1 << 16, limit, at)?, 8),
            _ => (within(short.into(), limit, at).map(Some)?, 0),
        };
        Ok(len.map_or(Self::Unknown, |payload| {
            Self::Len(Lengths {
                head: 2 + width + MASK_LEN,
                payload,
            })
        }))
    }
}

/// Checks the first byte of a frame and tells whether it is a control frame.
#[inline]
fn check_first(first: u8, at: usize) -> Result<bool, WsFrameError> {
    if first & RESERVED != 0 {
        let bits = (first & RESERVED) >> 4;
        return Err(WsFrameError::ReservedBits { bits, at });
    }
    let opcode = first & OPCODE;
    let is_control = Opcode::read(opcode)
        .ok_or(WsFrameError::ReservedOpcode { opcode, at })?
        .is_control();
    if is_control && first & FIN == 0 {
        return Err(WsFrameError::FragmentedControl { at });
    }
    Ok(is_control)
}

/// Reads a length of `N` bytes, of which some may be missing: `None` if so, and nothing is wrong yet.
fn long_len<const N: usize>(
    buf: &[u8],
    least: u64,
    limit: usize,
    at: usize,
) -> Result<Option<usize>, WsFrameError> {
    let come = &buf[..buf.len().min(N)];
    // What the length is at least and at most, whatever is missing.
    let (mut low, mut high) = ([0; 8], [0; 8]);
    high[8 - N..].fill(0xFF);
    low[8 - N..][..come.len()].copy_from_slice(come);
    high[8 - N..][..come.len()].copy_from_slice(come);
    let (low, high) = (u64::from_be_bytes(low), u64::from_be_bytes(high));
    if low >> 63 != 0 || high < least {
        return Err(WsFrameError::BadLength { at });
    }
    let len = within(low, limit, at)?;
    Ok((come.len() == N).then_some(len))
}

#[inline]
fn within(len: u64, limit: usize, at: usize) -> Result<usize, WsFrameError> {
    match usize::try_from(len) {
        Ok(len) if len <= limit => Ok(len),
        _ => Err(WsFrameError::TooLong { len, limit, at }),
    }
}

/// Appends `payload` to `out`, the mask taken off.
pub(crate) fn unmask_into(out: &mut Vec<u8>, payload: &[u8], mask: [u8; MASK_LEN]) {
    let start = out.len();
    out.extend_from_slice(payload);
    let pair = (u64::from(u32::from_ne_bytes(mask)) << 32) | u64::from(u32::from_ne_bytes(mask));
    // Words, so that the compiler makes vectors of them.
    let (words, tail) = out[start..].as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ pair).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Returns the length in bytes of the head of one of our frames.
pub(crate) const fn head_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends the head of one of our frames to `out`: whole messages, without a mask.
pub(crate) fn put_head(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    let first = FIN | opcode.bits();
    match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(len @ ..LEN_16), _) => out.extend([first, len]),
        (_, Ok(len)) => {
            out.extend([first, LEN_16]);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.extend([first, LEN_64]);
            out.extend((payload_len as u64).to_be_bytes());
        }
    }
}

/// Returns the length in bytes of the frame of ours that starts at `buf`, without checking it. `None` if its
/// head is cut off.
pub(crate) fn server_frame_len(buf: &[u8]) -> Option<usize> {
    let len = buf.get(2..);
    let payload_len = match buf.get(1)? & !MASKED {
        LEN_16 => u16::from_be_bytes(*len?.first_chunk()?).into(),
        LEN_64 => u64::from_be_bytes(*len?.first_chunk()?),
        short => short.into(),
    };
    let payload_len = usize::try_from(payload_len).ok()?;
    head_len(payload_len).checked_add(payload_len)
}

/// Returns the opcode and the payload of the frame of ours at the start of `buf`. `None` if it is cut off.
pub(crate) fn split_server_frame(buf: &[u8]) -> Option<(Opcode, &[u8])> {
    let frame = buf.get(..server_frame_len(buf)?)?;
    let head = match frame[1] {
        LEN_16 => 4,
        LEN_64 => 10,
        _ => 2,
    };
    Some((Opcode::read(frame[0] & OPCODE)?, &frame[head..]))
}

/// Returns a whole frame of ours.
pub(crate) fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(head_len(payload.len()) + payload.len());
    put_head(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// Returns a close frame; the reason is cut to what fits, at the end of a character.
pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let payload = [&code.as_u16().to_be_bytes(), &reason.as_bytes()[..end]].concat();
    server_frame(Opcode::Close, &payload)
}
