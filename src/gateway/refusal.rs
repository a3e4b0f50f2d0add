//! Words for refusals: the statuses, close codes and reasons that clients of the gateway get.

use std::borrow::Cow;

use crate::access::Denied;
use crate::shard::refusal::{NO_MEMORY_FOR_REQUEST, Refusal};
use crate::websocket::{CloseCode, Status};

/// Returns the status of the answer to an HTTP client, and the reason in it.
pub(super) fn for_http(refusal: &Refusal) -> (Status, Cow<'static, str>) {
    let (status, reason) = match refusal {
        Refusal::Denied(denied) => {
            let status = match denied {
                Denied::WrongSecret => Status::UNAUTHORIZED,
                Denied::Host { .. } => Status::MISDIRECTED,
                _ => Status::FORBIDDEN,
            };
            return (status, denied.reason().into());
        }
        Refusal::Fault(why) => return (Status::BAD_REQUEST, why.clone().into()),
        Refusal::TooSlow { .. } | Refusal::Idle => (Status::TIMEOUT, "too slow"),
        Refusal::LimitReached(_) => (
            Status::UNAVAILABLE,
            "too many connections from your address",
        ),
        Refusal::Overdrawn => (Status::UNAVAILABLE, NO_MEMORY_FOR_REQUEST),
        _ => (Status::UNAVAILABLE, "the request failed"),
    };
    (status, reason.into())
}

/// Returns the code and the reason of the close frame for a WebSocket client.
pub(super) fn for_websocket(refusal: &Refusal) -> (CloseCode, Cow<'static, str>) {
    let (code, reason) = match refusal {
        Refusal::Denied(Denied::NameTooLong { .. }) => (
            CloseCode::POLICY,
            "uid or channel name longer than the server allows",
        ),
        Refusal::Denied(denied) => return (CloseCode::AUTH, denied.reason().into()),
        Refusal::LimitReached(full) => {
            let reason = format!("the server is at its limit ({})", full.limit());
            return (CloseCode::TRY_LATER, reason.into());
        }
        Refusal::LetGo(_) => (CloseCode::TRY_LATER, "the server is at its limit"),
        Refusal::Overdrawn => (
            CloseCode::TRY_LATER,
            "no memory left for incomplete messages (partial_bytes)",
        ),
        Refusal::TooSlow { .. } => return (CloseCode::POLICY, refusal.to_string().into()),
        Refusal::Duplicate | Refusal::CidInUse | Refusal::Superseded => (
            CloseCode::DUPLICATE,
            "a session with this uid is in the channel",
        ),
        Refusal::TooManyChannels => (CloseCode::TRY_LATER, "the server has too many channels"),
        Refusal::Stopping => (CloseCode::GOING_AWAY, "the server is stopping"),
        _ => (CloseCode::INTERNAL, "the join failed"),
    };
    (code, reason.into())
}
