//! Links to upstream servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::unix_seconds;
use crate::admin::problem::AdminProblem;
use crate::admin::query::Query;
use crate::admin::server::AdminState;
use crate::peer::LinkStatus;

/// Some links, by the names of their channels.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct LinksView {
    links: Vec<LinkView>,
    /// Number of all links.
    total: usize,
    next: Option<String>,
}

/// One link.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct LinkView {
    channel: String,
    upstream: String,
    state: String,
    connected_since: Option<u64>,
    last_failure: Option<String>,
    counters: BTreeMap<&'static str, u64>,
}

impl From<LinkStatus> for LinkView {
    fn from(status: LinkStatus) -> Self {
        Self {
            state: status.state.to_string(),
            connected_since: status.connected_since.map(unix_seconds),
            counters: status.counts.entries().collect(),
            channel: status.channel,
            upstream: status.upstream,
            last_failure: status.last_failure,
        }
    }
}

/// Returns the links that a query asks for.
pub(in crate::admin) fn links(
    state: &AdminState,
    query: Option<&str>,
) -> Result<LinksView, AdminProblem> {
    let query = Query::parse(query, &["limit", "after"])?;
    let (limit, after) = (query.limit()?, query.get("after"));
    let links = &state.common.links;
    let entries = links.iter().map(|link| Arc::clone(&link));
    let mut entries: Vec<_> = entries
        .filter(|link| after.is_none_or(|after| link.channel() > after))
        .collect();
    entries.sort_by(|a, b| a.channel().cmp(b.channel()));
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().map(|link| link.channel().to_owned());
    Ok(LinksView {
        links: entries.iter().map(|link| link.status().into()).collect(),
        total: links.len(),
        next: last.filter(|_| has_more),
    })
}
