//! Marks: kinds of messages, told by the encoding of their lengths.
//!
//! Mles v2 has text and binary messages, and empty ones; v1 has byte strings only, and takes an
//! empty one for a hint that its sender is present. So that a v2 message comes out at other v2
//! members as it went in, its length is encoded in a longer form than needed. Every v1 decoder
//! takes all forms, frames pass servers and histories byte for byte, and no encoder makes these by
//! itself, since bodies are under 16 MiB.

/// Head of a byte string that has its length in it.
const SHORT: u8 = 0x40;
/// Head of a byte string that has its length in 4 bytes behind it.
const LEN_4: u8 = 0x5A;
/// Head of a byte string that has its length in 8 bytes behind it.
const LEN_8: u8 = 0x5B;

/// Kind of a message, for members that tell text from binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Not marked: text if it is UTF-8, and a hint of presence if it is empty.
    None,
    /// Text, even if it is empty. The length of an empty one is encoded in 4 bytes; others go
    /// without a mark.
    Text,
    /// Binary, even if it is UTF-8. The length is encoded in 8 bytes.
    Binary,
}

impl MessageKind {
    /// Length in bytes of the longest head of a message, whatever its mark.
    pub const MAX_HEAD: usize = 9;

    /// Reads the mark of a message of `len` bytes whose CBOR head begins with `first`.
    pub(super) fn read(first: Option<u8>, len: usize) -> Self {
        match first {
            Some(LEN_8) => Self::Binary,
            Some(LEN_4) if len == 0 => Self::Text,
            _ => Self::None,
        }
    }

    /// Returns the number of bytes in which the length of a message of `len` bytes is encoded.
    fn width(self, len: usize) -> usize {
        match (self, len) {
            (Self::Binary, _) => 8,
            (Self::Text, 0) => 4,
            (_, 0..=23) => 0,
            (_, 24..=0xFF) => 1,
            (_, 0x100..=0xFFFF) => 2,
            _ => 4,
        }
    }

    /// Returns the length in bytes of the head of a message of `len` bytes.
    pub(super) fn head_len(self, len: usize) -> usize {
        1 + self.width(len)
    }

    /// Appends the head of a message of `message_len` bytes.
    pub(super) fn append_head(self, out: &mut Vec<u8>, message_len: usize) {
        let width = self.width(message_len);
        let len = (message_len as u64).to_be_bytes();
        out.push(match width {
            0 => SHORT | len[7],
            1 => 0x58,
            2 => 0x59,
            4 => LEN_4,
            _ => LEN_8,
        });
        out.extend_from_slice(&len[8 - width..]);
    }
}
