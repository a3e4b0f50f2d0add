//! What requests ask for.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{HttpConnection, NextUse, Request, Response};
use crate::gateway::api::{self, Answer, Caller, EventsRequest};
use crate::gateway::forwarded::forwarded_for;
use crate::gateway::page;
use crate::gateway::refusal::Rejection;
use crate::gateway::upgrade::accept;
use crate::shard::labels::RequestKind;
use crate::shard::refusal::Attempt;
use crate::shard::turn;
use crate::websocket::HttpRequest;

/// Requests of a connection that are answered before others have their turn. A round of deliveries is many times as
/// long, so no connection is first in each.
const IN_A_ROW: u32 = 4;

impl HttpConnection {
    /// Answers one request.
    pub(super) async fn answer(self: Rc<Self>, request: Request) -> Result<Response, Infallible> {
        self.begin_request();
        if self.in_a_row.get() >= IN_A_ROW || turn::is_expensive() {
            self.shard.yield_turn().await;
        }
        self.in_a_row.set(self.in_a_row.get() + 1);
        let (parts, body) = request.into_parts();
        let response = match HttpRequest::of_parts(&parts) {
            Ok(request) => self.respond(&request, body).await,
            Err(bad) => Err(bad.into()),
        };
        let response = response.unwrap_or_else(|rejection| self.reject(rejection));
        self.end_request();
        Ok(response.map(Full::new))
    }

    async fn respond(
        &self,
        request: &HttpRequest<'_>,
        body: Incoming,
    ) -> Result<http::Response<Bytes>, Rejection> {
        let live = self.shard.common.live_arc();
        let settings = &live.settings;
        let forwarded = request.forwarded_for();
        let client = forwarded_for(forwarded, self.pending.peer, &settings.proxies);
        self.client.set(client);
        let assigned = self.pending.assign(&self.shard.common, client);
        let is_private = self.layered.is_encrypted() || self.pending.is_near(settings);
        if settings.websocket.http && api::is_route(request.path) {
            let caller = Caller {
                shard: &self.shard,
                client,
                is_private,
                permit: &self.pending.permit,
            };
            return Ok(match assigned {
                Ok(()) => match caller.answer(request, body).await {
                    Answer::Response(response) => response,
                    Answer::Events(events) => self.pass_on_for(events).await,
                },
                Err(refusal) => caller.refuse(refusal),
            });
        }
        self.shard.stats().requests.of(RequestKind::Other).add(1);
        assigned?;
        if let Some((terms, response)) = accept(&live.access, request, is_private)? {
            self.next_use.replace(Some(NextUse::WebSocket(terms)));
            return Ok(response);
        }
        page::answer(&live.access, settings.websocket.page, request)
    }

    /// Passes the connection on for a stream of events. The library never gets a response to that.
    async fn pass_on_for<T>(&self, events: Box<EventsRequest>) -> T {
        self.next_use.replace(Some(NextUse::Events(events)));
        self.has_changed.set(true);
        std::future::pending().await
    }

    /// Counts and logs that a request is refused, and returns the response. Nothing more is taken from who is
    /// refused: who guesses has to connect for each guess.
    fn reject(&self, rejection: Rejection) -> http::Response<Bytes> {
        let mut response = rejection.response();
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        let refusal = rejection.into_refusal();
        let client = self.client.get();
        self.shard.note_refusal(client, Attempt::Request, &refusal);
        response
    }
}
