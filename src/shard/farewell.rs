//! The last words to clients: why they are refused, or why their session ends.
//!
//! There is one code and one reason for each cause, whoever is told: WebSocket clients in their close frame, event streams
//! in an event, and clients over TCP in a notice, if they have asked for such.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Shard;
use super::drain::retry_after;
use super::ended::{Ended, slow_text};
use super::layered::Layered;
use super::limits::{Permit, TooOften};
use super::message::Socket;
use super::refusal::Refusal;
use super::session::{Role, Session};
use super::stream::{StreamReader, see_off};
use crate::access::Denied;
use crate::protocol::Notice;
use crate::websocket::CloseCode;

/// The longest time for telling somebody why it is refused.
const PATIENCE: Duration = Duration::from_millis(250);

/// Reason that a session is told which is let go.
pub(crate) const STOPPING: &str = "the server is stopping";

/// Returns the code and the reason for a client that is refused.
pub(crate) fn for_refusal(refusal: &Refusal) -> (CloseCode, Cow<'static, str>) {
    let (code, reason) = match refusal {
        Refusal::Denied(Denied::NameTooLong { .. }) => (
            CloseCode::POLICY,
            "uid or channel name longer than the server allows",
        ),
        Refusal::Denied(denied) => return for_denied(denied),
        Refusal::LimitReached(full) => {
            let reason = format!("the server is at its limit ({})", full.limit());
            return (CloseCode::TRY_LATER, reason.into());
        }
        Refusal::TooOften(TooOften { wait, .. }) | Refusal::Banned(wait) => {
            return (CloseCode::TRY_LATER, too_often(refusal, *wait).into());
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
        Refusal::Stopping => return (CloseCode::GOING_AWAY, stopping().into()),
        Refusal::CutOff => return (CloseCode::TRY_LATER, cut_off().into()),
        Refusal::Unwritten(_) => (CloseCode::TRY_LATER, "the server cannot write to its disk"),
        _ => (CloseCode::INTERNAL, "the join failed"),
    };
    (code, reason.into())
}

/// Returns the code and the reason for a client that may not do what it asks for or does. A right that is missing is told
/// apart from a key that is wrong: only who has shown what counts gets to know that.
fn for_denied(denied: &Denied) -> (CloseCode, Cow<'static, str>) {
    let code = match denied {
        Denied::NoRight { .. } => CloseCode::RIGHT,
        _ => CloseCode::AUTH,
    };
    (code, denied.reason().into())
}

/// Returns why the connection of a session is closed that has ended; `None` if the client does not need to be told.
pub(crate) fn for_end(ended: &Ended) -> Option<(CloseCode, Cow<'static, str>)> {
    match ended {
        Ended::Stopping => Some((CloseCode::GOING_AWAY, STOPPING.into())),
        Ended::CutOff => Some((CloseCode::TRY_LATER, cut_off().into())),
        Ended::Slow(reason) => Some((CloseCode::SLOW, slow_text(*reason).into())),
        Ended::ByOperator => Some((CloseCode::POLICY, "ended by an operator".into())),
        Ended::Replaced => Some((CloseCode::DUPLICATE, "a new session took its place".into())),
        Ended::Denied(denied) | Ended::RightsLost(denied) => Some(for_denied(denied)),
        // The task of the connection says why it has ended the session.
        Ended::ByPeer(_) | Ended::Protocol(_) | Ended::Fault(_) => None,
        Ended::Overdrawn | Ended::Overdue | Ended::LetGo(_) => None,
    }
}

/// Returns the reason in the close of a server that stops, which says when to come back.
pub(crate) fn stopping() -> String {
    format!("{STOPPING}; retry after {} ms", retry_after())
}

/// Returns the reason in the close of a node that is cut off from its fleet, which says when to come back.
fn cut_off() -> String {
    let refusal = Refusal::CutOff;
    format!("{refusal}; retry after {} ms", retry_after())
}

/// Returns the words for a client that has to wait, in the form of [`stopping`].
pub(crate) fn too_often(refusal: &Refusal, wait: Duration) -> String {
    let why = match refusal {
        Refusal::TooOften(too_often) => too_often.rate.limit(),
        _ => "ban_after",
    };
    format!("too often ({why}); retry after {} ms", wait.as_millis() + 1)
}

/// Returns the notice that tells a client over TCP why it is refused.
pub(crate) fn refusal_notice(refusal: &Refusal) -> Bytes {
    let (code, reason) = for_refusal(refusal);
    close_notice(code, &reason)
}

/// Returns the notice that tells a client over TCP why its session ends; `None` if it does not need to be told, or was
/// told before.
fn end_notice(ended: &Ended) -> Option<Bytes> {
    let (code, reason) = for_end(ended).filter(|_| !matches!(ended, Ended::Stopping))?;
    Some(close_notice(code, &reason))
}

fn close_notice(code: CloseCode, reason: &str) -> Bytes {
    let (code, reason) = (code.as_u16(), reason.into());
    Notice::Close { code, reason }.encode()
}

impl Shard {
    /// Sends the last words to whoever is refused, and closes the connection. It stays counted until then. If the other
    /// side does not take them, the reason stays untold.
    pub(crate) fn refuse_with(self: &Rc<Self>, socket: Socket, permit: Permit, words: Bytes) {
        if let Ok((mut reader, writer)) = socket.attach() {
            self.spawn(async move {
                let farewell = async {
                    let _ = timeout(PATIENCE, writer.write_all(words)).await;
                    writer.finish();
                    see_off(&mut reader).await;
                };
                permit.unless_let_go(farewell).await;
            });
        }
    }

    /// Returns the notice that tells the client of a session over TCP or TLS why it ends; `None` if it has not asked for
    /// notices, or is in the middle of a frame.
    pub(super) fn last_words(&self, session: &Session, ended: &Ended) -> Option<Bytes> {
        if session.role != Role::Client || session.writer.has_framing() {
            return None;
        }
        let words = end_notice(ended)?;
        let key = session.key.get()?;
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(session.home)?;
        let member = members.local.get(key, session.id)?;
        (member.has_positions() && !member.has_begun_unit()).then_some(words)
    }
}

/// Closes a connection over TLS, with the last words to a client that has asked for notices.
pub(super) async fn close_with(layered: Rc<Layered>, words: Option<Bytes>) {
    if let Some(words) = words {
        let _ = timeout(PATIENCE, layered.write_all(words)).await;
    }
    layered.shut_down_write();
    see_off(&mut StreamReader::Layered(layered)).await;
}
