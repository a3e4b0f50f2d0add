//! What can be wrong with bytes from a peer.
use thiserror::Error;
/// Something is wrong with a frame header.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("todo")]
pub struct FrameError;
/// Something is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("todo")]
pub enum BodyError {
    /// Too long.
    #[error("body of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes.
        len: usize,
        /// Bytes.
        limit: usize,
    },
}
/// A session key does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("todo")]
pub struct KeyError;
/// Something is wrong with a resync message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("todo")]
pub struct ResyncError;
