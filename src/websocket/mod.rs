//! WebSocket (RFC 6455) as the server needs it, and how Mles is carried over it.
//!
//! | file | job |
//! | --- | --- |
//! | `handshake` | reads the HTTP request that asks for an upgrade |
//! | `frame` | finds and writes frames |
//! | `assembly` | follows messages over their fragments |
//! | `greeting` | reads the first message of Mles v2 |
//! | `payload` | turns Mles frames into messages of both versions, and messages of v2 into Mles frames |
//! | `notice` | notices as messages of both versions |
//! | `close`, `close_code`, `error` | why a connection ends, as codes and in words |
//!
//! Own framing and not a library's, because the libraries own buffers and messages: here one
//! prepared frame is shared by the queues of all members of a channel, and a connection that has
//! nothing pending holds no buffer, since its shard reads into one scratch buffer.
//!
//! Invariants:
//!
//! - Pure functions over byte slices: no I/O, no clock, no runtime. Nothing panics on bytes that
//!   came from outside, and nothing is allocated by a length that a peer announced.
//! - Bad input is told as soon as the bytes that show it are there.
//! - What we send is whole messages in single frames without a mask, in the shortest encoding. No
//!   extension is ever agreed on.
//! - Nothing behind a close frame or an error is to be looked at.
//!
//! It must not know sessions or channels, or decide who may join.

mod assembly;
mod close;
mod close_code;
mod error;
mod frame;
mod greeting;
mod handshake;
mod notice;
mod payload;

pub(crate) use assembly::{Assembly, Kind, Part};
pub(crate) use close::parse_close;
pub(crate) use close_code::CloseCode;
pub(crate) use error::{MessageError, WsFrameError};
pub(crate) use frame::{
    FrameHead, Opcode, client_frames, close_frame, scan, server_frame, server_frame_len,
    unmask_into,
};
pub(crate) use greeting::{Greeting, GreetingError, parse_resume};
pub(crate) use handshake::{
    BadRequest, Hosts, HttpRequest, MAX_HEAD, Offer, Subprotocol, Upgrade, host_allowed,
    origin_allowed, parse,
};
pub(crate) use notice::{
    Mark, body_notice, marked_notice, read_body_notice, read_marked_notice, read_token, split_mark,
};
pub(crate) use payload::{
    bodies_run, holds_hint, marked_payloads_run, max_payload, payloads_run, put_message_start,
};
