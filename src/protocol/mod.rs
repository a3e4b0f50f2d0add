//! The Mles v1 wire: frame header, body codec, keys, resync messages, links between servers,
//! positions and notices, and the frame scanner.
//!
//! `docs/PROTOCOL.md` describes the wire for those who write a client or a server.
//!
//! Pure functions over byte slices. Nothing here reads a socket or a clock, allocates by a length
//! that a peer announced, or panics on bytes that came from outside. What a peer sent wrong comes
//! back as an error that says what was wrong and at which byte.

mod body;
mod cbor;
mod check;
mod error;
mod extensions;
mod header;
mod key;
mod link;
mod message_kind;
mod message_reader;
mod notice;
mod position;
mod prefix;
mod reader;
mod resume;
mod resync;
mod scan;
mod token;

pub use body::{Message, encode_frame, is_presence};
pub use check::BodyCheck;
pub use error::{BodyError, CborType, FrameError, ResyncError};
pub use extensions::{JoinExtensions, MAX_TOKEN_LEN, encode_join, take_extensions};
#[cfg(feature = "server")]
pub(crate) use header::clear_keys;
pub use header::{FrameHeader, HEADER_LEN, MAGIC, MAX_BODY_LEN, MAX_FRAME_LEN, frame_len};
pub use key::{Cid, Key, Keyring, address_string};
pub use link::{LinkHello, LinkNotice, LinkRefusal, MAX_LINK_PATH};
pub use message_kind::MessageKind;
pub(crate) use message_reader::MessageCounter;
#[cfg(feature = "server")]
pub(crate) use message_reader::MessageReader;
pub use notice::{NOTICE_MAGIC, Notice, Welcome};
pub use position::{BadPosition, Epoch, Position};
pub use prefix::{BodyPrefix, put_frame_start};
pub use resume::ResumeRequest;
pub use resync::{
    CheckedFrame, NestedFrame, Resync, ResyncDecoder, ResyncLimits, decode_late, decode_resync,
    encode_late, encode_resync, is_resync, resync_join, resync_link,
};
pub use scan::{Run, Scan, Stop, frames, scan, scan_with_notices};
pub use token::{decode_token, encode_token};

/// The port of Mles v1 over TCP.
pub const DEFAULT_PORT: u16 = 8077;
