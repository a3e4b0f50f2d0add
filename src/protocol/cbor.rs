//! Encoding of CBOR: the one module that knows serde_cbor.
//!
//! serde_cbor is unmaintained (RUSTSEC-2021-0127), so it only ever encodes: no byte from a peer
//! reaches it. Decoding is `reader`'s.

use serde::{Serialize, Serializer};

/// Returns the length in bytes of the shortest head that announces a length or count of `n`.
pub(super) const fn head_len(n: usize) -> usize {
    unsigned_len(n as u64)
}

/// Returns the length in bytes of a string of `len` bytes, head included.
pub(super) const fn string_len(len: usize) -> usize {
    head_len(len) + len
}

/// Returns the length in bytes of an unsigned integer.
pub(super) const fn unsigned_len(n: u64) -> usize {
    match n {
        0..=23 => 1,
        24..=0xFF => 2,
        0x100..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// Appends `body` to `out`: the names and the order of its fields are those of the wire.
pub(super) fn append(out: &mut Vec<u8>, body: &impl Serialize) {
    let mut serializer = serde_cbor::Serializer::new(serde_cbor::ser::IoWrite::new(out));
    body.serialize(&mut serializer)
        .expect("writing to a Vec does not fail, and every length is known");
}

/// Serialized as one byte string; serde would make a slice an array of numbers.
pub(super) struct ByteString<'a>(pub(super) &'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
