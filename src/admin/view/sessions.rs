//! Sessions in an order.

use std::sync::Arc;

use serde::Serialize;

use super::{Page, page, rounded, seconds, unix_seconds};
use crate::admin::problem::AdminProblem;
use crate::admin::query::{Query, number};
use crate::admin::server::AdminState;
use crate::shard::inspect::{
    Cursor, Inspection, Ranked, SessionOrder, SessionQuery, SessionReport,
};

/// The names of orders.
const ORDERS: &[(&str, SessionOrder)] = &[
    ("queued", SessionOrder::Queued),
    ("rate", SessionOrder::Rate),
    ("age", SessionOrder::Age),
];

/// Some sessions.
#[derive(Debug, Default, Serialize)]
pub(in crate::admin) struct SessionsView {
    sessions: Vec<SessionView>,
    next: Option<String>,
    missing_shards: Vec<usize>,
}

/// One session.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct SessionView {
    id: u64,
    uid: Box<str>,
    channel: Box<str>,
    address: String,
    transport: &'static str,
    role: &'static str,
    key: Option<Box<str>>,
    shard: u16,
    age_seconds: f64,
    queued_bytes: usize,
    stalled: bool,
    stalled_seconds: Option<f64>,
    paused: bool,
    phase: &'static str,
    positions: bool,
    expires: Option<u64>,
    published: u64,
    rate: f64,
}

impl From<Ranked<u64, SessionReport>> for SessionView {
    fn from(ranked: Ranked<u64, SessionReport>) -> Self {
        let report = ranked.value;
        Self {
            id: ranked.name,
            uid: report.uid,
            channel: report.channel,
            address: report.address.to_string(),
            transport: report.transport,
            role: report.role,
            key: report.key,
            shard: report.shard,
            age_seconds: seconds(report.age),
            queued_bytes: report.queued_bytes,
            stalled: report.stalled.is_some(),
            stalled_seconds: report.stalled.map(seconds),
            paused: report.is_paused,
            phase: report.phase,
            positions: report.has_positions,
            expires: report.expires.map(unix_seconds),
            published: report.published,
            rate: rounded(report.rate),
        }
    }
}

/// Returns the sessions that a query asks for.
pub(in crate::admin) async fn sessions(
    state: &AdminState,
    query: Option<&str>,
) -> Result<SessionsView, AdminProblem> {
    let query = Query::parse(query, &["sort", "channel", "uid", "limit", "after"])?;
    let (order, limit) = (query.one_of("sort", ORDERS)?, query.limit()?);
    let after = query.get("after").map(cursor).transpose()?;
    let channel = match query.get("channel") {
        Some(name) => match state.find_channel(name).await? {
            Some(channel) => Some(channel),
            // Nobody is in a channel that there is not.
            None => return Ok(SessionsView::default()),
        },
        None => None,
    };
    let asked = Arc::new(SessionQuery {
        order,
        limit: limit + 1,
        after,
        channel,
        uid: query.get("uid").map(str::to_owned),
    });
    let answers = state
        .ask_all(|answer| Inspection::RankSessions(asked.clone(), answer))
        .await;
    let Page { entries, next } = page(answers.all, limit);
    Ok(SessionsView {
        next: next.map(|last| format!("{}-{}", last.key, last.name)),
        sessions: entries.into_iter().map(SessionView::from).collect(),
        missing_shards: answers.missing,
    })
}

fn cursor(after: &str) -> Result<Cursor<u64>, AdminProblem> {
    let read = || {
        let (key, name) = after.split_once('-')?;
        let (key, name) = (number(key)?, number(name)?);
        Some(Cursor { key, name })
    };
    read().ok_or_else(|| AdminProblem::bad_request("after is what `next` of the page before says"))
}
