//! The encodings and control frames that members over WebSocket are sent, in both versions of the protocol.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::channel::{Encoding, NoticeEncoding, Unit};
use crate::shard::ended::Ended;
use crate::shard::farewell::{for_end, stopping};
use crate::shard::framing::Framing;
use crate::shard::labels::Transport;
use crate::websocket::{
    Opcode, bodies_run, body_notice, close_frame, holds_hint, marked_notice, marked_payloads_run,
    payloads_run, read_body_notice, read_marked_notice, server_frame, server_frame_len,
};

/// A WebSocket message for the body of each frame.
static BODIES: Encoding = OF_BODIES.with_silent(&SILENT_BODIES);

static SILENT_BODIES: Encoding = OF_BODIES.silenced();

const OF_BODIES: Encoding =
    Encoding::new(server_frame_len, |run, _| bodies_run(run)).with_notices(NoticeEncoding {
        encode: body_notice,
        read: read_body_message,
    });

/// A WebSocket message for what the message of each frame says. Hints of presence are left out.
static PAYLOADS: Encoding = OF_PAYLOADS.with_silent(&SILENT_PAYLOADS);

static SILENT_PAYLOADS: Encoding = OF_PAYLOADS.silenced();

const OF_PAYLOADS: Encoding = Encoding::new(server_frame_len, |run, _| payloads_run(run));

/// A WebSocket message like that of [`PAYLOADS`] with a mark in front, which tells it from a notice.
static MARKED_PAYLOADS: Encoding = OF_MARKED_PAYLOADS.with_silent(&SILENT_MARKED_PAYLOADS);

static SILENT_MARKED_PAYLOADS: Encoding = OF_MARKED_PAYLOADS.silenced();

const OF_MARKED_PAYLOADS: Encoding =
    Encoding::new(server_frame_len, |run, _| marked_payloads_run(run)).with_notices(
        NoticeEncoding {
            encode: |notice, _| marked_notice(notice),
            read: |message| read_marked_notice(message).map_or(Unit::Message, Unit::Notice),
        },
    );

/// Mles v1 over WebSocket.
pub(super) static V1: Framing = Framing {
    transport: Transport::WebSocket,
    encoding: &BODIES,
    ping: Some(ping),
    close,
};

/// Mles v2.
pub(super) static V2: Framing = Framing {
    transport: Transport::WebSocket,
    encoding: &PAYLOADS,
    ping: Some(ping),
    close,
};

/// Mles v2 for clients that ask for positions.
pub(super) static V2_RESUME: Framing = Framing {
    transport: Transport::WebSocket,
    encoding: &MARKED_PAYLOADS,
    ping: Some(ping),
    close,
};

/// Tells what a WebSocket message of v1 is.
fn read_body_message(message: &[u8]) -> Unit {
    match read_body_notice(message) {
        Some(notice) => Unit::Notice(notice),
        None if holds_hint(message) => Unit::Hint,
        None => Unit::Message,
    }
}

/// Returns an empty ping.
pub(super) fn ping() -> Bytes {
    server_frame(Opcode::Ping, &[])
}

fn close(ended: &Ended) -> Option<Bytes> {
    let (code, reason) = for_end(ended)?;
    Some(match ended {
        Ended::Stopping => close_frame(code, &stopping()),
        _ => close_frame(code, &reason),
    })
}
