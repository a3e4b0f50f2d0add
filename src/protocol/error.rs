//! Errors in bytes from a peer, each with its place.
//!
//! Every offset `at` counts in bytes from the start of what the failing function was given, unless
//! the variant says otherwise.

use thiserror::Error;

/// Guesses the protocol of a stream that is not Mles at all by its first byte: a record of TLS is an
/// alert or begins a handshake (RFC 8446, 5.1), a request of HTTP begins with its method.
fn looks_like(first: u8, at: usize) -> &'static str {
    match first {
        _ if at > 0 => "",
        0x15 | 0x16 => " (this looks like TLS)",
        b'P' => " (this looks like HTTP, or a PROXY header that is not expected from there)",
        b'\r' => " (this looks like a PROXY header that is not expected from there)",
        b'G' | b'H' | b'O' => " (this looks like HTTP)",
        _ => "",
    }
}

/// An error in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame does not begin with [`super::MAGIC`]: not Mles v1, or out of step.
    #[error("byte {at}: {found:#04x} where a frame begins with 'M'{}", looks_like(*found, *at))]
    BadMagic {
        /// The byte that was there instead.
        found: u8,
        /// Offset of the frame.
        at: usize,
    },
    /// The frame announces a body of no bytes.
    #[error("byte {at}: frame without a body")]
    EmptyBody {
        /// Offset of the length field.
        at: usize,
    },
    /// The frame announces a body over the limit.
    #[error("byte {at}: body of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Announced length in bytes.
        len: usize,
        /// Largest length allowed, in bytes.
        limit: usize,
        /// Offset of the length field.
        at: usize,
    },
    /// The body is not a message.
    #[error("body at byte {at}: {error}")]
    Body {
        /// Offset of the body, from which the offsets in `error` count.
        at: usize,
        /// The error in it.
        error: BodyError,
    },
    /// The body names another uid than the one expected.
    #[error("body at byte {at} names another uid")]
    OtherUid {
        /// Offset of the body.
        at: usize,
    },
    /// The body names another channel than the one expected.
    #[error("body at byte {at} names another channel")]
    OtherChannel {
        /// Offset of the body.
        at: usize,
    },
}

/// An error in a body.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The body ends before an item does: it is cut off, or a length in it is too large.
    #[error("byte {at}: the body ends before this item does")]
    Truncated {
        /// Offset of the item.
        at: usize,
    },
    /// An item of another type than the format has there.
    #[error("byte {at}: {found} where there should be {expected}")]
    WrongType {
        /// Offset of the item.
        at: usize,
        /// The type that should be there.
        expected: CborType,
        /// The type that was found.
        found: CborType,
    },
    /// A length or count that is not known in advance; allowed by CBOR, not by Mles.
    #[error("byte {at}: {item} of indefinite length")]
    Indefinite {
        /// Offset of the item.
        at: usize,
        /// Its type.
        item: CborType,
    },
    /// A length encoding that CBOR reserves.
    #[error("byte {at}: malformed CBOR")]
    Malformed {
        /// Offset of the item.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error("byte {at}: text is not UTF-8")]
    NotUtf8 {
        /// The first byte that does not fit.
        at: usize,
    },
    /// A text that is no position.
    #[error("byte {at}: not a position")]
    NoPosition {
        /// Offset of the text.
        at: usize,
    },
    /// A key that the format does not have.
    #[error("byte {at}: unknown key")]
    UnknownKey {
        /// Offset of the key.
        at: usize,
    },
    /// A key that was there before.
    #[error("byte {at}: second key {key:?}")]
    DuplicateKey {
        /// Which.
        key: &'static str,
        /// Offset of the second one.
        at: usize,
    },
    /// A map ended without a key that it must have.
    #[error("byte {at}: the map ends without the key {key:?}")]
    MissingKey {
        /// Which.
        key: &'static str,
        /// Offset of the end of the map.
        at: usize,
    },
    /// The body goes on after its one item.
    #[error("byte {at}: {count} more bytes after the end")]
    TrailingBytes {
        /// Offset at which it should have ended.
        at: usize,
        /// Number of bytes that follow.
        count: usize,
    },
    /// A message too large to be encoded.
    #[error("body of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Encoded length in bytes.
        len: usize,
        /// Largest length allowed, in bytes.
        limit: usize,
    },
}

/// The major types of CBOR (RFC 8949, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CborType {
    /// Major type 0.
    Unsigned,
    /// Major type 1.
    Negative,
    /// Major type 2.
    Bytes,
    /// Major type 3.
    Text,
    /// Major type 4.
    Array,
    /// Major type 5.
    Map,
    /// Major type 6.
    Tag,
    /// Major type 7: booleans, null, floats.
    Simple,
}

impl std::fmt::Display for CborType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "an unsigned integer",
            Self::Negative => "a negative integer",
            Self::Bytes => "a byte string",
            Self::Text => "a text string",
            Self::Array => "an array",
            Self::Map => "a map",
            Self::Tag => "a tag",
            Self::Simple => "a simple value",
        })
    }
}

/// An error in a resync message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResyncError {
    /// The message around the nested frames.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// There are no nested frames.
    #[error("byte {at}: no nested frame")]
    Empty {
        /// Offset of the array.
        at: usize,
    },
    /// More nested frames than allowed.
    #[error("byte {at}: {count} nested frames are over the limit of {limit}")]
    TooMany {
        /// Number that is announced.
        count: u64,
        /// Number that is allowed.
        limit: usize,
        /// Offset of the array.
        at: usize,
    },
    /// A nested frame is bad, or of another channel than the first one.
    #[error("nested frame {index} at byte {at}: {error}")]
    Frame {
        /// Its index, from 0.
        index: usize,
        /// Its offset, from which the offsets in `error` count.
        at: usize,
        /// The error in it.
        error: FrameError,
    },
    /// A nested frame whose header announces another length than it has.
    #[error("nested frame {index} at byte {at} has {len} bytes, its header says {announced}")]
    FrameLength {
        /// Its index, from 0.
        index: usize,
        /// Its offset.
        at: usize,
        /// Its length in bytes.
        len: usize,
        /// The length in bytes that its header announces; [`super::HEADER_LEN`] when it has no
        /// whole header.
        announced: usize,
    },
    /// A nested frame has a `seq` that cannot be: there is no `link`, it is the first frame, or the
    /// number is not above the one before or more than the link has sent.
    #[error("nested frame {index}: seq {seq} does not fit")]
    Sequence {
        /// Its index, from 0.
        index: usize,
        /// Its `seq`.
        seq: u64,
    },
}
