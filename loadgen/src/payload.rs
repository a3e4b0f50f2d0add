//! The header at the start of each payload, as the scanner reads it and publishers write it.
//!
//! Closed loops need to know which message came: eight bytes, [`Stamp`]. Open loops need to know
//! when it was due and when it was sent as well: [`TimedStamp`], in the payload itself, so that a
//! subscriber needs no table to look a message up in.

use crate::verify::Stamp;

/// The first [`PayloadHeader::LEN`] bytes of a payload.
pub(crate) trait PayloadHeader: Copy {
    /// Bytes of a payload that a header takes: the smallest payload there is.
    const LEN: usize;

    /// Returns a message that only asks "do you hear me" and is never counted.
    fn probe() -> Self;

    /// Returns the header at the start of `payload`; `None` when it has not come whole.
    fn read(payload: &[u8]) -> Option<Self>;

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
}
