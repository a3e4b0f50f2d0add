//! `GET /channels/{channel}/events`: what was published behind a position, and what is published from then on.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::problem::ApiProblem;
use super::read::since;
use super::route::{Resource, Route};
use super::{Admitted, Caller, cors, decimal, query};
use crate::access::{Permissions, Rights};
use crate::gateway::new_session::NewSession;
use crate::gateway::response::with_body;
use crate::protocol::{Position, ResumeRequest};
use crate::shard::refusal::Refusal;
use crate::websocket::HttpRequest;

/// Tells nginx to pass on each event when it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request for an event stream that may have it.
#[derive(Debug)]
pub(in crate::gateway) struct EventsRequest {
    /// Address of the client.
    client: SocketAddr,
    uid: Box<str>,
    channel: Box<str>,
    rights: Rights,
    resume: ResumeRequest,
    page: Page,
}

/// The page that a request comes from, if it is one, which may read the response.
#[derive(Debug)]
pub(in crate::gateway) struct Page(Option<Box<str>>);

impl EventsRequest {
    /// Returns the session that is asked for, and the page that asks.
    pub(in crate::gateway) fn into_session(self) -> (NewSession, Page) {
        let new = NewSession {
            peer: self.client,
            uid: self.uid,
            channel: self.channel,
            rights: self.rights,
            join: None,
            is_silent: true,
            // A client that comes back does not have to wait for the end of its old stream.
            is_sole: false,
            resume: Some(Box::new(self.resume)),
        };
        (new, self.page)
    }
}

impl Page {
    /// Returns the response that the events follow.
    pub(in crate::gateway) fn response(&self) -> Response<Bytes> {
        self.allow(head())
    }

    /// Returns the response to a request whose session gets no seat. It is counted and logged elsewhere.
    pub(in crate::gateway) fn refuse(&self, refusal: Refusal) -> Response<Bytes> {
        self.allow(ApiProblem::from(refusal).response())
    }

    fn allow(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        if let Some(origin) = &self.0 {
            cors::allow(origin, &mut response);
        }
        response
    }
}

/// Returns the response without the events.
pub(super) fn head() -> Response<Bytes> {
    let mut response = with_body(StatusCode::OK, "text/event-stream", Bytes::new());
    for (name, value) in [(X_ACCEL_BUFFERING, "no"), (CONNECTION, "close")] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Caller<'_> {
    /// Returns the request for an event stream, if it is one and may have it. What is wrong with another is for
    /// [`Caller::answer`] to find.
    pub(in crate::gateway) fn events_request(
        &self,
        request: &HttpRequest<'_>,
    ) -> Option<Box<EventsRequest>> {
        let route = Route::find(request.path).ok()?;
        if request.method != Method::GET || route.resource != Resource::Events {
            return None;
        }
        self.check_origin(request).ok()?;
        self.begin_events(request, route).ok().map(Box::new)
    }

    /// Checks a request for an event stream.
    pub(super) fn begin_events(
        &self,
        request: &HttpRequest<'_>,
        route: Route<'_>,
    ) -> Result<EventsRequest, ApiProblem> {
        self.check_host(request)?;
        let resume = ResumeRequest {
            // What a client shows when it comes back is newer than its address.
            since: match last_event_id(request)? {
                Some(id) => Some(id),
                None => since(request)?,
            },
            publisher: None,
            members: members(request)?,
        };
        if !self.shard.is_running() {
            return Err(Refusal::Stopping.into());
        }
        let admitted = self.admit(request, route.channel)?;
        admitted.require(Permissions::SUBSCRIBE)?;
        if resume.members.is_some() {
            admitted.require(Permissions::PRESENCE)?;
        }
        let Admitted { names, rights } = admitted;
        Ok(EventsRequest {
            client: self.client,
            uid: names.uid.into(),
            channel: names.channel.into(),
            rights,
            resume,
            page: Page(request.only("Origin")?.map(Into::into)),
        })
    }
}

/// Returns the position in `Last-Event-ID`. It is empty where a client has none.
fn last_event_id(request: &HttpRequest<'_>) -> Result<Option<Position>, ApiProblem> {
    let id = request.only("Last-Event-ID")?.filter(|id| !id.is_empty());
    let position = id.map(str::parse).transpose();
    position.map_err(|bad| ApiProblem::bad_request(format!("Last-Event-ID: {bad}")))
}

/// Returns how many names a client wants at most that wants to know who is there.
fn members(request: &HttpRequest<'_>) -> Result<Option<u64>, ApiProblem> {
    let Some(members) = query(request, "members") else {
        return Ok(None);
    };
    let count = decimal(members).ok_or_else(|| ApiProblem::bad_request("members is a number"))?;
    Ok(Some(count))
}
