//! Paths of the admin listener, and what there is at each.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::access::Protection;
use super::problem::AdminProblem;
use super::query::decode;
use super::server::AdminState;
use super::{act, files, health, view};
use crate::response::{json, with_body};
use crate::static_files::StaticFile;
use crate::websocket::HttpRequest;

/// A resource of the admin listener.
#[derive(Clone, Debug)]
enum Resource<'a> {
    /// The answer to "does the server work at all?".
    Health,
    /// The answer to "should the server get new clients?".
    Readiness,
    /// Counters for Prometheus.
    Metrics,
    /// The server as a whole.
    Server,
    /// The shards, side by side.
    Shards,
    /// Channels in an order.
    Channels,
    /// The channel of that name.
    Channel(Cow<'a, str>),
    /// The history of the channel of that name, to be cleared.
    ClearHistory(Cow<'a, str>),
    /// Sessions in an order.
    Sessions,
    /// The session with that id, to be ended.
    EndSession(&'a str),
    /// Links to upstream servers.
    Links,
    /// Addresses that are kept out.
    Bans,
    /// The ban of that address, to be lifted.
    Ban(Cow<'a, str>),
    /// The end of the server in peace.
    Drain,
    /// The configuration, to be read again.
    Reload,
    /// A part of the dashboard.
    File(&'static StaticFile),
}

impl<'a> Resource<'a> {
    /// Returns what is at a path; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    fn find(path: &'a str) -> Result<Option<Self>, AdminProblem> {
        let found = match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            "/metrics" => Self::Metrics,
            "/api/server" => Self::Server,
            "/api/shards" => Self::Shards,
            "/api/channels" => Self::Channels,
            "/api/sessions" => Self::Sessions,
            "/api/links" => Self::Links,
            "/api/bans" => Self::Bans,
            "/api/drain" => Self::Drain,
            "/api/reload" => Self::Reload,
            _ => return Self::find_one(path),
        };
        Ok(Some(found))
    }

    /// Returns the one of many that is at a path, or a file.
    fn find_one(path: &'a str) -> Result<Option<Self>, AdminProblem> {
        // A name has no slash that is not encoded.
        let one_of = |prefix: &str| {
            let (name, action) = match path.strip_prefix(prefix)?.split_once('/') {
                Some((name, action)) => (name, Some(action)),
                None => (path.strip_prefix(prefix)?, None),
            };
            (!name.is_empty()).then_some((name, action))
        };
        if let Some((address, None)) = one_of("/api/bans/") {
            return Ok(Some(Self::Ban(decode(address)?)));
        }
        Ok(match (one_of("/api/channels/"), one_of("/api/sessions/")) {
            (Some((name, None)), _) => Some(Self::Channel(decode(name)?)),
            (Some((name, Some("clear"))), _) => Some(Self::ClearHistory(decode(name)?)),
            (_, Some((id, Some("end")))) => Some(Self::EndSession(id)),
            _ => files::find(path).map(Self::File),
        })
    }

    /// Returns `true` if it is an action.
    const fn is_action(&self) -> bool {
        matches!(
            self,
            Self::ClearHistory(_) | Self::EndSession(_) | Self::Drain | Self::Reload
        )
    }

    /// Returns its methods, as the header `Allow` has them.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Ban(_) => "DELETE",
            _ if self.is_action() => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Returns `true` if it has that method.
    fn takes(&self, method: &Method) -> bool {
        match *method {
            Method::DELETE => matches!(self, Self::Ban(_)),
            Method::POST => self.is_action(),
            Method::GET | Method::HEAD => !self.is_action() && !matches!(self, Self::Ban(_)),
            _ => false,
        }
    }

    const fn protection(&self) -> Protection {
        match self {
            // Probes of orchestrators show no token, and browsers none for a page.
            Self::Health | Self::Readiness | Self::File(_) => Protection::Open,
            _ => Protection::Token,
        }
    }
}

/// Answers a request.
pub(super) async fn answer(state: &AdminState, parts: &Parts) -> Response<Bytes> {
    let answered = match HttpRequest::of_parts(parts) {
        Ok(request) => respond(state, &request).await,
        Err(bad) => Err(bad.into()),
    };
    answered.unwrap_or_else(|problem| problem.response())
}

async fn respond(
    state: &AdminState,
    request: &HttpRequest<'_>,
) -> Result<Response<Bytes>, AdminProblem> {
    let resource = Resource::find(request.path);
    let Ok(Some(resource)) = resource else {
        // Nobody learns without the token what there is.
        state.access.check(request, Protection::Token)?;
        let detail = "there is nothing here: OPERATIONS.md lists the paths of the admin listener";
        return Err(resource
            .err()
            .unwrap_or_else(|| AdminProblem::not_found(detail)));
    };
    state.access.check(request, resource.protection())?;
    if !resource.takes(&request.method) {
        return Err(AdminProblem::bad_method(resource.methods()));
    }
    let query = request.query;
    Ok(match resource {
        Resource::Health => health::alive(&state.common),
        Resource::Readiness => health::ready(&state.common),
        Resource::Metrics => {
            // Who says it twice gets the form that everybody reads.
            let accept = request.only("accept").ok().flatten();
            let channels = view::channel_samples(state, query).await?;
            let (content_type, text) = state.metrics.render(accept, channels);
            with_body(StatusCode::OK, content_type, text)
        }
        Resource::Server => found(&view::server(state)),
        Resource::Shards => found(&view::shards(state)),
        Resource::Channels => found(&view::channels(state, query).await?),
        Resource::Channel(name) => found(&view::channel(state, &name).await?),
        Resource::ClearHistory(name) => found(&act::clear_history(state, &name).await?),
        Resource::Sessions => found(&view::sessions(state, query).await?),
        Resource::EndSession(id) => found(&act::end_session(state, id).await?),
        Resource::Links => found(&view::links(state, query)?),
        Resource::Bans => found(&view::bans(state, query)?),
        Resource::Ban(address) => found(&act::lift_ban(state, &address)?),
        Resource::Drain => found(&act::drain(state)),
        Resource::Reload => found(&act::reload(state).await?),
        Resource::File(file) => files::response(file),
    })
}

/// Returns the response that holds a view.
fn found(view: &impl Serialize) -> Response<Bytes> {
    json(StatusCode::OK, "application/json", view)
}
