//! The header at the start of each payload, as the scanner reads it and publishers write it.
//!
//! Closed loops need to know which message came: eight bytes, [`Stamp`]. Open loops need to know
//! when it was due and when it was sent as well: [`TimedStamp`], in the payload itself, so that a
//! subscriber needs no table to look a message up in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::verify::Stamp;

/// Length of the longest header.
const LONGEST: usize = TimedStamp::LEN;

/// The first [`PayloadHeader::LEN`] bytes of a payload.
pub(crate) trait PayloadHeader: Copy {
    /// Bytes of a payload that a header takes: the smallest payload there is.
    const LEN: usize;

    /// Returns a message that only asks "do you hear me" and is never counted.
    fn probe() -> Self;

    /// Returns the header at the start of `payload`; `None` when it has not come whole.
    fn read(payload: &[u8]) -> Option<Self>;

    /// Returns the header at the start of a payload that is base64; `None` when it has not come whole, or
    /// is none.
    fn read_base64(payload: &[u8]) -> Option<Self> {
        let mut header = [0; 3 * LONGEST.div_ceil(3)];
        let letters = payload.get(..4 * Self::LEN.div_ceil(3))?;
        let len = STANDARD.decode_slice(letters, &mut header).ok()?;
        Self::read(&header[..len])
    }

    /// Writes it to the start of `payload`.
    ///
    /// # Panics
    /// `payload` is shorter than [`PayloadHeader::LEN`].
    fn write(self, payload: &mut [u8]);

    /// Returns which message it is.
    fn stamp(self) -> Stamp;
}

impl PayloadHeader for Stamp {
    const LEN: usize = Stamp::LEN;

    fn probe() -> Self {
        Stamp::probe()
    }

    #[inline]
    fn read(payload: &[u8]) -> Option<Self> {
        payload.first_chunk().copied().map(Self::from_bytes)
    }

    fn write(self, payload: &mut [u8]) {
        payload[..Self::LEN].copy_from_slice(&self.to_bytes());
    }

    fn stamp(self) -> Stamp {
        self
    }
}

/// A message, when it was due, and when it was sent: nanoseconds since the start of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedStamp {
    /// Which message.
    pub(crate) stamp: Stamp,
    /// When the schedule wanted it to be sent.
    pub(crate) intended: u64,
    /// When it was handed to its socket.
    pub(crate) sent: u64,
}

impl PayloadHeader for TimedStamp {
    const LEN: usize = Stamp::LEN + 16;

    fn probe() -> Self {
        Self {
            stamp: Stamp::probe(),
            intended: 0,
            sent: 0,
        }
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (stamp, times) = payload.split_first_chunk()?;
        let (intended, times) = times.split_first_chunk()?;
        let sent = times.first_chunk()?;
        Some(Self {
            stamp: Stamp::from_bytes(*stamp),
            intended: u64::from_be_bytes(*intended),
            sent: u64::from_be_bytes(*sent),
        })
    }

    fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.stamp.to_bytes());
        payload[8..16].copy_from_slice(&self.intended.to_be_bytes());
        payload[16..Self::LEN].copy_from_slice(&self.sent.to_be_bytes());
    }

    fn stamp(self) -> Stamp {
        self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_part_is_not() {
        let header = TimedStamp {
            stamp: Stamp::new(7, 1 << 40),
            intended: 1_000_000_007,
            sent: u64::MAX - 3,
        };
        let mut payload = [0xAA; TimedStamp::LEN + 5];
        header.write(&mut payload);
        assert_eq!(TimedStamp::read(&payload), Some(header));
        assert_eq!(
            payload[TimedStamp::LEN..],
            [0xAA; 5],
            "what follows is left"
        );
        assert_eq!(TimedStamp::read(&payload[..TimedStamp::LEN - 1]), None);
        assert!(TimedStamp::probe().stamp().is_probe());
    }

    #[test]
    fn headers_are_read_from_base64_too() {
        let stamp = Stamp::new(3, 0x0102_0304);
        let header = TimedStamp {
            stamp,
            intended: 5,
            sent: 6,
        };
        let mut payload = [0xFB; TimedStamp::LEN + 5];
        header.write(&mut payload);
        let text = STANDARD.encode(payload);
        assert_eq!(TimedStamp::read_base64(text.as_bytes()), Some(header));
        assert_eq!(Stamp::read_base64(text.as_bytes()), Some(stamp));
        assert_eq!(Stamp::read_base64(&text.as_bytes()[..11]), None);
        assert_eq!(Stamp::read_base64(b"{}{}{}{}{}{}"), None);
    }
}
