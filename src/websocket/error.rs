//! Faults of WebSocket frames and messages, and the codes that connections are closed with for them.

use thiserror::Error;

use super::close_code::{CloseCode, MAX_CONTROL};

/// A fault of a frame. Every `at` counts in bytes from the start of what was scanned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WsFrameError {
    /// Bits are set that only an extension gives a meaning, and none was agreed on.
    #[error("byte {at}: reserved bits {bits:#05b} are set")]
    ReservedBits {
        /// The three bits.
        bits: u8,
        /// Offset at which the frame begins.
        at: usize,
    },
    /// An opcode that is not defined.
    #[error("byte {at}: reserved opcode {opcode:#x}")]
    ReservedOpcode {
        /// The opcode.
        opcode: u8,
        /// Offset at which the frame begins.
        at: usize,
    },
    /// A control frame that is a fragment.
    #[error("byte {at}: fragmented control frame")]
    FragmentedControl {
        /// Offset at which the frame begins.
        at: usize,
    },
    /// A control frame with a payload over 125 bytes.
    #[error("byte {at}: control frame with more than {MAX_CONTROL} bytes")]
    LongControl {
        /// Offset of its length.
        at: usize,
    },
    /// A frame from a client without a mask.
    #[error("byte {at}: the frame is not masked")]
    Unmasked {
        /// Offset of the mask bit.
        at: usize,
    },
    /// A length that is not encoded in the shortest form, or of more than 63 bits.
    #[error("byte {at}: malformed length")]
    BadLength {
        /// Offset of the length.
        at: usize,
    },
    /// The frame announces a payload over the limit.
    #[error("byte {at}: a frame of at least {len} bytes is over the limit of {limit}")]
    TooLong {
        /// The announced length in bytes, as far as it is known: bytes of it that have not come count
        /// as zero.
        len: u64,
        /// Largest length allowed, in bytes.
        limit: usize,
        /// Offset of the length.
        at: usize,
    },
}

impl WsFrameError {
    /// Returns the code to close the connection with.
    pub(crate) const fn code(&self) -> CloseCode {
        match self {
            Self::TooLong { .. } => CloseCode::TOO_BIG,
            Self::ReservedBits { .. }
            | Self::ReservedOpcode { .. }
            | Self::FragmentedControl { .. }
            | Self::LongControl { .. }
            | Self::Unmasked { .. }
            | Self::BadLength { .. } => CloseCode::PROTOCOL,
        }
    }
}

/// A fault of a message that is made up of good frames.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum MessageError {
    /// A continuation frame, and no message to continue.
    #[error("a continuation frame outside a message")]
    NothingToContinue,
    /// A new message before the last fragment of the one before.
    #[error("a new message inside a fragmented one")]
    Interleaved,
    /// The fragments so far are over the limit.
    #[error("a message of at least {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes so far.
        len: usize,
        /// Largest length allowed, in bytes.
        limit: usize,
    },
    /// Text, or the reason of a close, that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A close frame of one byte: half a code.
    #[error("a close frame of one byte")]
    CutClose,
    /// A close frame with a code that must not be sent.
    #[error("a close frame with the code {code}")]
    CloseCode {
        /// The code.
        code: u16,
    },
}

impl MessageError {
    /// Returns the code to close the connection with.
    pub(crate) const fn code(&self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::BAD_DATA,
            Self::TooLong { .. } => CloseCode::TOO_BIG,
            Self::NothingToContinue
            | Self::Interleaved
            | Self::CutClose
            | Self::CloseCode { .. } => CloseCode::PROTOCOL,
        }
    }
}
