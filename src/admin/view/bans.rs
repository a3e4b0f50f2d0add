//! Addresses that are kept out for a while.

use std::time::Instant;

use serde::Serialize;

use super::seconds;
use crate::admin::problem::AdminProblem;
use crate::admin::query::Query;
use crate::admin::server::AdminState;

/// The bans that last longest.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct BansView {
    bans: Vec<BanView>,
}

/// A ban.
#[derive(Debug, Serialize)]
struct BanView {
    address: String,
    seconds_left: f64,
    /// Wrong keys that came from there.
    failures: usize,
}

/// Returns the bans that last longest, as many as a query asks for.
pub(in crate::admin) fn bans(
    state: &AdminState,
    query: Option<&str>,
) -> Result<BansView, AdminProblem> {
    let limit = Query::parse(query, &["limit"])?.limit()?;
    let bans = state.common.limiter.bans.list(limit, Instant::now());
    let bans = bans.into_iter().map(|ban| BanView {
        address: ban.address.to_string(),
        seconds_left: seconds(ban.left),
        failures: ban.wrong_keys,
    });
    Ok(BansView {
        bans: bans.collect(),
    })
}
