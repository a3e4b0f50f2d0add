//! `GET /channels/{channel}/messages`: what was published behind a position.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::ApiProblem;
use super::{Caller, Names, limit, query};
use crate::gateway::encoded_message::{EncodedMessage, encoded_messages};
use crate::gateway::response::json;
use crate::protocol::Position;
use crate::shard::ask::{MessagePage, Reading};
use crate::shard::turn;
use crate::websocket::HttpRequest;

/// Most messages of one answer.
const MAX_MESSAGES: usize = 1000;

/// The answer.
#[derive(Serialize)]
struct EncodedPage<'a> {
    epoch: String,
    messages: Vec<EncodedMessage<'a>>,
    recovered: bool,
    missed: Option<u64>,
    next: String,
}

impl Caller<'_> {
    /// Reads what follows the position in a request.
    pub(super) async fn read(
        &self,
        request: &HttpRequest<'_>,
        names: &Names<'_>,
    ) -> Result<Response<Bytes>, ApiProblem> {
        let reading = Reading {
            channel: names.channel.as_ref().into(),
            since: since(request)?,
            limit: limit(request, 1..=MAX_MESSAGES)?,
            peer: self.client,
        };
        let page = self.answer_of(self.shard.read_messages(reading)).await?;
        Ok(answer(&page))
    }
}

pub(super) fn since(request: &HttpRequest<'_>) -> Result<Option<Position>, ApiProblem> {
    let Some(since) = query(request, "since") else {
        return Ok(None);
    };
    // Some libraries encode the colon.
    let since = super::decode(since, "since")?;
    let position = since
        .parse()
        .map_err(|bad| ApiProblem::bad_request(format!("since: {bad}")))?;
    Ok(Some(position))
}

fn answer(page: &MessagePage) -> Response<Bytes> {
    let next = Position {
        epoch: page.epoch,
        offset: page.next,
    };
    let encoded = EncodedPage {
        epoch: page.epoch.to_string(),
        messages: messages(page),
        recovered: page.is_recovered,
        missed: page.missed,
        next: next.to_string(),
    };
    let response = json(StatusCode::OK, "application/json", &encoded);
    turn::spend_bytes(response.body().len());
    response
}

/// Returns the messages of a page. Bodies that are no messages are left out.
fn messages(page: &MessagePage) -> Vec<EncodedMessage<'_>> {
    let runs = page.runs.iter();
    let messages = runs.flat_map(|(first, run)| encoded_messages(*first, run));
    turn::spend_each(page.runs.len());
    messages.filter_map(|(_, message)| message).collect()
}
