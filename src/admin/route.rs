//! Paths of the admin listener, and what there is at each.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::access::Protection;
use super::problem::Problem;
use super::server::AdminState;
use super::{files, health, view};
use crate::response::{json, with_body};
use crate::static_files::StaticFile;
use crate::websocket::HttpRequest;

/// A resource of the admin listener.
#[derive(Clone, Copy, Debug)]
enum Resource {
    /// Whether the server works at all.
    Health,
    /// Whether it should get new clients.
    Readiness,
    /// Counters for Prometheus.
    Metrics,
    /// The server as a whole.
    Server,
    /// A part of the dashboard.
    File(&'static StaticFile),
}

impl Resource {
    /// Returns what is at a path.
    fn find(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Readiness),
            "/metrics" => Some(Self::Metrics),
            "/api/server" => Some(Self::Server),
            _ => files::find(path).map(Self::File),
        }
    }

    /// Returns its methods, as the header `Allow` has them.
    const fn methods(self) -> &'static str {
        "GET, HEAD"
    }

    const fn protection(self) -> Protection {
        match self {
            // Probes of orchestrators show no token, and browsers none for a page.
            Self::Health | Self::Readiness | Self::File(_) => Protection::Open,
            Self::Metrics | Self::Server => Protection::Token,
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
) -> Result<Response<Bytes>, Problem> {
    let Some(resource) = Resource::find(request.path) else {
        // Nobody learns without the token what there is.
        state.access.check(request, Protection::Token)?;
        let detail = "there is nothing here: OPERATIONS.md lists the paths of the admin listener";
        return Err(Problem::not_found(detail));
    };
    state.access.check(request, resource.protection())?;
    match (resource, &request.method) {
        (Resource::Health, &Method::GET | &Method::HEAD) => Ok(health::alive(&state.common)),
        (Resource::Readiness, &Method::GET | &Method::HEAD) => Ok(health::ready(&state.common)),
        (Resource::Metrics, &Method::GET | &Method::HEAD) => {
            // Who says it twice gets the form that everybody reads.
            let accept = request.only("accept").ok().flatten();
            let (content_type, text) = state.metrics.render(accept);
            Ok(with_body(StatusCode::OK, content_type, text))
        }
        (Resource::Server, &Method::GET | &Method::HEAD) => Ok(found(&view::server(state))),
        (Resource::File(file), &Method::GET | &Method::HEAD) => Ok(files::response(file)),
        (resource, _) => Err(Problem::bad_method(resource.methods())),
    }
}

/// Returns the response that holds a view.
fn found(view: &impl Serialize) -> Response<Bytes> {
    json(StatusCode::OK, "application/json", view)
}
