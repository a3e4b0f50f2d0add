//! Actions: what an operator has the broker do.

use std::net::SocketAddr;
use std::time::Instant;

use http::StatusCode;
use serde::Serialize;

use super::problem::AdminProblem;
use super::query::number;
use super::server::AdminState;
use super::view::{ListenerView, listener};
use crate::channel::SessionId;
use crate::settings::ListenerKind;
use crate::shard::inspect::Inspection;

/// The end of a session.
#[derive(Debug, Serialize)]
pub(super) struct EndedView {
    ended: u64,
}

/// The history of a channel that was cleared.
#[derive(Debug, Serialize)]
pub(super) struct ClearedView {
    cleared_messages: usize,
    cleared_bytes: usize,
}

/// Changes that a reload has made.
#[derive(Debug, Serialize)]
pub(super) struct ReloadView {
    changed: Vec<String>,
    needs_restart: Vec<String>,
    opened: Vec<ListenerView>,
    closed: Vec<ListenerView>,
    sessions_ended: u64,
}

/// The state of the server after it was told to stop.
#[derive(Debug, Serialize)]
pub(super) struct DrainView {
    state: &'static str,
}

/// Has the server stop: it lets its clients go, as at the first SIGTERM.
pub(super) fn drain(state: &AdminState) -> DrainView {
    tracing::info!("an operator has the server stop: draining");
    state.common.begin_drain();
    DrainView {
        state: state.common.state().name(),
    }
}

/// A ban that was lifted.
#[derive(Debug, Serialize)]
pub(super) struct LiftedView {
    lifted: String,
}

/// Lifts the ban of an address, or of a network as `/api/bans` shows it.
pub(super) fn lift_ban(state: &AdminState, address: &str) -> Result<LiftedView, AdminProblem> {
    let network = address
        .parse()
        .map_err(|_| AdminProblem::bad_request("an IP address is needed, as in /api/bans"))?;
    if !state.common.limiter.bans.lift(network, Instant::now()) {
        return Err(AdminProblem::not_found("this address is not banned"));
    }
    tracing::info!("ban of {network} lifted by an operator");
    let lifted = address.to_owned();
    Ok(LiftedView { lifted })
}

/// Reads the configuration again and puts it in force, on a thread of its own: others are answered meanwhile.
pub(super) async fn reload(state: &AdminState) -> Result<ReloadView, AdminProblem> {
    let unavailable = |status, detail: &str| AdminProblem::new(status, detail.to_owned());
    let reload = state.reload.get().ok_or_else(|| {
        let detail = "the program that this broker is a part of has no configuration to read again";
        unavailable(StatusCode::NOT_IMPLEMENTED, detail)
    })?;
    tracing::info!("an operator has the server reload");
    let reloaded = tokio::task::spawn_blocking(move || reload()).await;
    let report = match reloaded {
        Ok(Ok(report)) => report,
        Ok(Err(reason)) => return Err(unavailable(StatusCode::UNPROCESSABLE_ENTITY, &reason)),
        Err(_) => {
            let detail = "the reload failed: the log says why";
            return Err(unavailable(StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
    };
    let listeners = |list: &[(ListenerKind, SocketAddr)]| list.iter().map(listener).collect();
    Ok(ReloadView {
        changed: report.changed,
        needs_restart: report.needs_restart,
        opened: listeners(&report.opened),
        closed: listeners(&report.closed),
        sessions_ended: report.sessions_ended,
    })
}

/// Ends a session.
pub(super) async fn end_session(state: &AdminState, id: &str) -> Result<EndedView, AdminProblem> {
    let not_found = || AdminProblem::not_found("there is no such session");
    let id = number(id).ok_or_else(not_found)?;
    let answers = state
        .ask_all(|answer| Inspection::EndSession(SessionId(id), answer))
        .await;
    if answers.all.contains(&true) {
        return Ok(EndedView { ended: id });
    }
    match answers.missing.first() {
        Some(shard) => Err(AdminProblem::unanswered(*shard)),
        None => Err(not_found()),
    }
}

/// Clears the history of a channel.
pub(super) async fn clear_history(
    state: &AdminState,
    name: &str,
) -> Result<ClearedView, AdminProblem> {
    let owner = state.common.owner(name);
    let cleared = state
        .ask(owner, |answer| {
            Inspection::ClearHistory(name.into(), answer)
        })
        .await?;
    let cleared = cleared.ok_or_else(|| AdminProblem::not_found("there is no such channel"))?;
    Ok(ClearedView {
        cleared_messages: cleared.messages,
        cleared_bytes: cleared.bytes,
    })
}
