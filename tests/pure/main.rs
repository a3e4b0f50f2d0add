//! The pure part of the library, protocol and channel. It needs no feature, no runtime and no I/O.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod channel_delivery;
mod channel_history;
mod channel_model;
mod channel_outbox;
mod channel_positions;
mod channel_presence;
mod channel_resume;
mod channel_slow;
mod channel_stored;
mod frames;
mod protocol_body;
mod protocol_extensions;
mod protocol_key;
mod protocol_link;
mod protocol_message_kind;
mod protocol_resume;
mod protocol_resync;
mod protocol_scan;
mod protocol_vectors;
mod vectors;
