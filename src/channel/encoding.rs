//! Encodings of queues.

use bytes::Bytes;

use super::run::FrameRun;
use crate::protocol::{frame_len, frames};

/// The encoding of a queue: the units that it is made of, none of which may be torn apart, and how frames
/// become such units.
///
/// The core itself knows [`FRAMES`]. Who adds members that are sent anything else brings a `static` for
/// it. Two encodings are equal if they are the same `static`.
#[derive(Debug)]
pub struct Encoding {
    unit_len: fn(&[u8]) -> Option<usize>,
    encode: fn(&Bytes) -> (Bytes, u32),
}

/// Frames, unchanged.
pub static FRAMES: Encoding = Encoding::new(frame_len, |run| {
    let count = u32::try_from(frames(run).count());
    (run.clone(), count.unwrap_or(u32::MAX))
});

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Encoding {}

impl Encoding {
    /// Creates an encoding.
    ///
    /// `unit_len` returns the length of the unit at the start of a slice, `None` if its head is cut.
    /// `encode` makes units of whole frames, and returns how many units there are.
    pub(crate) const fn new(
        unit_len: fn(&[u8]) -> Option<usize>,
        encode: fn(&Bytes) -> (Bytes, u32),
    ) -> Self {
        Self { unit_len, encode }
    }

    /// Returns the length of the unit at the start of `bytes`; `None` if its head is cut.
    pub(super) fn unit_len(&self, bytes: &[u8]) -> Option<usize> {
        (self.unit_len)(bytes)
    }

    /// Encodes whole frames. Returns the units, and how many there are.
    pub(super) fn encode(&self, frames: &Bytes) -> (Bytes, u32) {
        (self.encode)(frames)
    }
}

/// A run in every encoding that was asked for, each made once however many members take it.
pub(super) struct EncodedRun<'a> {
    run: &'a FrameRun,
    /// The first encoding besides [`FRAMES`]. Most channels have no other.
    first: Option<Encoded>,
    /// Any others.
    more: Vec<Encoded>,
}

/// A run in one encoding.
struct Encoded {
    encoding: &'static Encoding,
    /// The units, and how many there are.
    units: (Bytes, u32),
}

impl<'a> EncodedRun<'a> {
    pub(super) const fn new(run: &'a FrameRun) -> Self {
        Self {
            run,
            first: None,
            more: Vec::new(),
        }
    }

    /// Returns the run in `encoding`, and how many units that is.
    #[inline]
    pub(super) fn get(&mut self, encoding: &'static Encoding) -> (Bytes, u32) {
        if encoding == &FRAMES {
            return (self.run.bytes().clone(), self.run.frame_count());
        }
        match &self.first {
            Some(first) if first.encoding == encoding => first.units.clone(),
            _ => self.get_other(encoding),
        }
    }

    /// Returns the run in an encoding that is not the first, unless there is no first.
    fn get_other(&mut self, encoding: &'static Encoding) -> (Bytes, u32) {
        let mut others = self.more.iter();
        if let Some(known) = others.find(|encoded| encoded.encoding == encoding) {
            return known.units.clone();
        }
        let units = encoding.encode(self.run.bytes());
        let encoded = Encoded {
            encoding,
            units: units.clone(),
        };
        match self.first {
            None => self.first = Some(encoded),
            Some(_) => self.more.push(encoded),
        }
        units
    }

    /// Like [`EncodedRun::get`], without the first `skip` bytes of the run. It is encoded for each caller.
    pub(super) fn get_behind(&self, skip: usize, encoding: &Encoding) -> (Bytes, u32) {
        if skip >= self.run.bytes().len() {
            return (Bytes::new(), 0);
        }
        encoding.encode(&self.run.bytes().slice(skip..))
    }
}
