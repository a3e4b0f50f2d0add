//! The answers to "does the server work at all?" and "should it get new clients?".

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::fleet::FleetPhase;
use crate::peer::LinkState;
use crate::response::text;
use crate::settings::StoreSync;
use crate::shard::{BrokerPhase, Common};

/// Answers whether the server works at all: if not, it should be started anew.
pub(super) fn alive(common: &Common) -> Response<Bytes> {
    answer(&ailments(common))
}

/// Answers whether the server should get new clients.
pub(super) fn ready(common: &Common) -> Response<Bytes> {
    let mut reasons = ailments(common);
    match common.state() {
        ServerState::Running => {}
        state => reasons.push(state.name().to_owned()),
    }
    if is_cut_off(common) {
        reasons.push("no upstream".to_owned());
    }
    reasons.extend(fleet_trouble(common));
    let (blocking, notes) = store_troubles(common);
    reasons.extend(blocking);
    if reasons.is_empty() && !notes.is_empty() {
        return text(StatusCode::OK, &format!("ok\n{}", notes.join("\n")));
    }
    reasons.extend(notes);
    answer(&reasons)
}

/// Returns why a node of a fleet should get no new clients, if it should not: it does not hear of its own records.
fn fleet_trouble(common: &Common) -> Option<String> {
    let status = common.fleet.as_ref()?.status();
    let phase = match status.phase() {
        FleetPhase::Serving => return None,
        FleetPhase::Starting if status.sure_in_ms.get() > 0 => {
            "learning what the other nodes remember, which takes some minutes of the fleet's log"
        }
        FleetPhase::Starting => "catching up with the fleet's log",
        FleetPhase::Stalled => "own records do not come back from the fleet's log",
        FleetPhase::CutOff => "cut off from the fleet's log",
        FleetPhase::Unusable => "the fleet's log cannot be used",
    };
    let trouble = status.trouble();
    let trouble = trouble.map(|trouble| format!(": {trouble}"));
    Some(format!("{phase}{}", trouble.unwrap_or_default()))
}

/// Returns what is wrong with the store: first what keeps clients from publishing, then what does not.
fn store_troubles(common: &Common) -> (Vec<String>, Vec<String>) {
    let failure = common
        .store
        .as_ref()
        .and_then(|store| store.status.failure());
    let Some(failure) = failure else {
        return Default::default();
    };
    let trouble = vec![format!(
        "the store cannot be written to: {}",
        failure.reason
    )];
    match common.settings().store.sync {
        StoreSync::Batch => (trouble, Vec::new()),
        StoreSync::Interval(_) | StoreSync::Os => (Vec::new(), trouble),
    }
}

/// Returns why the server does not work, if it does not.
fn ailments(common: &Common) -> Vec<String> {
    let failed = common.has_failed().then(|| "a shard has failed".to_owned());
    let shards = common.stats.iter().enumerate();
    let stuck = shards.filter(|(_, stats)| stats.turn.is_stuck());
    let stuck = stuck.map(|(shard, _)| format!("shard {shard} is stuck"));
    failed.into_iter().chain(stuck).collect()
}

fn answer(reasons: &[String]) -> Response<Bytes> {
    if reasons.is_empty() {
        return text(StatusCode::OK, "ok");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, &reasons.join("\n"))
}

/// Returns `true` if channels here should be linked to an upstream, and none of them is.
fn is_cut_off(common: &Common) -> bool {
    let mut is_any_down = false;
    for link in &common.links {
        match link.state() {
            LinkState::Up => return false,
            LinkState::Waiting | LinkState::Refused => is_any_down = true,
            // Not wanted, or about to be known.
            LinkState::Idle | LinkState::Loop | LinkState::Connecting | LinkState::Joining => {}
        }
    }
    is_any_down
}

/// State of a server, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerState {
    /// Some shards do not accept connections yet.
    Starting,
    /// Clients are served.
    Running,
    /// It stops, and lets its clients go.
    Draining,
}

impl ServerState {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

impl Common {
    /// Returns the state of the server.
    pub(super) fn state(&self) -> ServerState {
        match *self.phase.borrow() {
            BrokerPhase::Running if self.is_accepting() => ServerState::Running,
            BrokerPhase::Running => ServerState::Starting,
            BrokerPhase::Unready
            | BrokerPhase::Draining
            | BrokerPhase::Saving
            | BrokerPhase::Stopped => ServerState::Draining,
        }
    }
}
