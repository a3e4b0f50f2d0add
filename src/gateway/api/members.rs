//! `GET /channels/{channel}/members`: who is there.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::ApiProblem;
use super::{Caller, Names, limit};
use crate::gateway::response::json;
use crate::shard::presence::MAX_NAMES;
use crate::shard::turn;
use crate::websocket::HttpRequest;

/// The answer.
#[derive(Serialize)]
struct EncodedMembers<'a> {
    count: usize,
    uids: &'a [Box<str>],
}

impl Caller<'_> {
    /// Lists who is in a channel: how many, and so many of their uids.
    pub(super) async fn members(
        &self,
        request: &HttpRequest<'_>,
        names: &Names<'_>,
    ) -> Result<Response<Bytes>, ApiProblem> {
        let limit = limit(request, 0..=MAX_NAMES)?;
        let members = self.shard.members(&names.channel, limit);
        let members = self.answer_of(members).await?;
        let encoded = EncodedMembers {
            count: members.count,
            uids: &members.uids,
        };
        let response = json(StatusCode::OK, "application/json", &encoded);
        turn::spend_bytes(response.body().len());
        Ok(response)
    }
}
