//! The encodings and control frames that members over WebSocket are sent, in both versions of the protocol.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::channel::Encoding;
use crate::shard::ended::{Ended, slow_text};
use crate::shard::framing::Framing;
use crate::websocket::{
    CloseCode, Opcode, bodies_run, close_frame, payloads_run, server_frame, server_frame_len,
};

/// A WebSocket message for the body of each frame.
static BODIES: Encoding = Encoding::new(server_frame_len, |run, _| bodies_run(run));

/// A WebSocket message for what the message of each frame says. Hints of presence are left out.
static PAYLOADS: Encoding = Encoding::new(server_frame_len, |run, _| payloads_run(run));

/// Mles v1 over WebSocket.
pub(super) static V1: Framing = Framing {
    encoding: &BODIES,
    ping,
    close,
};

/// Mles v2.
pub(super) static V2: Framing = Framing {
    encoding: &PAYLOADS,
    ping,
    close,
};

/// Returns an empty ping.
pub(super) fn ping() -> Bytes {
    server_frame(Opcode::Ping, &[])
}

fn close(ended: &Ended) -> Option<Bytes> {
    let (code, reason) = match ended {
        Ended::Stopping => (CloseCode::GOING_AWAY, "the server is stopping"),
        Ended::Slow(reason) => (CloseCode::SLOW, slow_text(*reason)),
        Ended::Replaced => (CloseCode::DUPLICATE, "a new session took its place"),
        // The task of the connection says why it has ended the session.
        Ended::ByPeer(_) | Ended::Protocol(_) | Ended::Fault(_) => return None,
        Ended::Overdrawn | Ended::Overdue | Ended::LetGo(_) => return None,
    };
    Some(close_frame(code, reason))
}
