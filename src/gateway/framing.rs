//! The encodings and control frames that members over WebSocket are sent, in both versions of the protocol.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use crate::channel::{Encoding, NoticeEncoding, Unit};
use crate::shard::drain::retry_after;
use crate::shard::ended::{Ended, slow_text};
use crate::shard::framing::Framing;
use crate::shard::labels::Transport;
use crate::websocket::{
    CloseCode, Opcode, bodies_run, body_notice, close_frame, holds_hint, marked_notice,
    marked_payloads_run, payloads_run, read_body_notice, read_marked_notice, server_frame,
    server_frame_len,
};

/// Why a session ends that is let go.
pub(super) const STOPPING: &str = "the server is stopping";

/// A WebSocket message for the body of each frame.
static BODIES: Encoding = OF_BODIES.with_silent(&SILENT_BODIES);

static SILENT_BODIES: Encoding = OF_BODIES.silenced();

const OF_BODIES: Encoding =
    Encoding::new(server_frame_len, |run, _| bodies_run(run)).with_notices(NoticeEncoding {
        encode: body_notice,
        read: read_body_message,
    });

/// A WebSocket message for what the message of each frame says. Hints of presence are left out.
static PAYLOADS: Encoding = Encoding::new(server_frame_len, |run, _| payloads_run(run));

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
    let (code, reason) = reason(ended)?;
    Some(match ended {
        Ended::Stopping => close_frame(code, &stopping()),
        _ => close_frame(code, &reason),
    })
}

/// Returns the reason in the close of a server that stops, which says when to come back.
pub(super) fn stopping() -> String {
    format!("{STOPPING}; retry after {} ms", retry_after())
}

/// Returns why the connection of a session is closed that has ended; `None` if the client does not need to be told.
pub(super) fn reason(ended: &Ended) -> Option<(CloseCode, Cow<'static, str>)> {
    match ended {
        Ended::Stopping => Some((CloseCode::GOING_AWAY, STOPPING.into())),
        Ended::Slow(reason) => Some((CloseCode::SLOW, slow_text(*reason).into())),
        Ended::ByOperator => Some((CloseCode::POLICY, "ended by an operator".into())),
        Ended::Replaced => Some((CloseCode::DUPLICATE, "a new session took its place".into())),
        Ended::Denied(denied) => Some((CloseCode::AUTH, denied.reason().into())),
        Ended::RightsLost(_) => {
            Some((CloseCode::AUTH, "the key or the rights have changed".into()))
        }
        // The task of the connection says why it has ended the session.
        Ended::ByPeer(_) | Ended::Protocol(_) | Ended::Fault(_) => None,
        Ended::Overdrawn | Ended::Overdue | Ended::LetGo(_) => None,
    }
}
