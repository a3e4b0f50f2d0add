//! Actions: what an operator has the broker do.

use std::time::Instant;

use serde::Serialize;

use super::problem::Problem;
use super::query::number;
use super::server::AdminState;
use crate::channel::SessionId;
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
pub(super) fn lift_ban(state: &AdminState, address: &str) -> Result<LiftedView, Problem> {
    let network = address
        .parse()
        .map_err(|_| Problem::bad_request("an IP address is needed, as in /api/bans"))?;
    if !state.common.limiter.bans.lift(network, Instant::now()) {
        return Err(Problem::not_found("this address is not banned"));
    }
    tracing::info!("ban of {network} lifted by an operator");
    let lifted = address.to_owned();
    Ok(LiftedView { lifted })
}

/// Ends a session.
pub(super) async fn end_session(state: &AdminState, id: &str) -> Result<EndedView, Problem> {
    let not_found = || Problem::not_found("there is no such session");
    let id = number(id).ok_or_else(not_found)?;
    let answers = state
        .ask_all(|answer| Inspection::EndSession(SessionId(id), answer))
        .await;
    if answers.all.contains(&true) {
        return Ok(EndedView { ended: id });
    }
    match answers.missing.first() {
        Some(shard) => Err(Problem::unanswered(*shard)),
        None => Err(not_found()),
    }
}

/// Clears the history of a channel.
pub(super) async fn clear_history(state: &AdminState, name: &str) -> Result<ClearedView, Problem> {
    let owner = state.common.owner(name);
    let cleared = state
        .ask(owner, |answer| {
            Inspection::ClearHistory(name.into(), answer)
        })
        .await?;
    let cleared = cleared.ok_or_else(|| Problem::not_found("there is no such channel"))?;
    Ok(ClearedView {
        cleared_messages: cleared.messages,
        cleared_bytes: cleared.bytes,
    })
}
