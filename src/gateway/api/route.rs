//! Paths of the API, and what there is at each.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::decode;
use super::problem::ApiProblem;
use crate::shard::labels::RequestKind;
use crate::websocket::HttpRequest;

/// Prefix of every path of the API.
const ROOT: &str = "/channels";

/// A resource that every channel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Messages: reading and publishing them.
    Messages,
    /// The stream of messages as they are published.
    Events,
    /// The uids of the members.
    Members,
}

/// The resource that a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// Name of the channel, decoded.
    pub(super) channel: Cow<'a, str>,
    pub(super) resource: Resource,
}

impl Resource {
    /// Returns the resource of that name, which is the last part of a path.
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "messages" => Some(Self::Messages),
            "events" => Some(Self::Events),
            "members" => Some(Self::Members),
            _ => None,
        }
    }

    /// Returns its methods, as the header `Allow` has them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Self::Messages => "GET, HEAD, POST, OPTIONS",
            Self::Events => "GET, HEAD, OPTIONS",
            Self::Members => "GET, HEAD, OPTIONS",
        }
    }
}

/// Returns `true` if a path belongs to the API.
pub(in crate::gateway) fn is_route(path: &str) -> bool {
    let rest = path.strip_prefix(ROOT);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<'a> Route<'a> {
    /// Returns what is at a path.
    ///
    /// # Errors
    ///
    /// There is nothing, or the name of the channel is not UTF-8.
    pub(super) fn find(path: &'a str) -> Result<Self, ApiProblem> {
        let (channel, resource) = split(path).ok_or_else(|| {
            let detail = "there is nothing here: the paths are /channels/{channel}/messages, \
                          /channels/{channel}/events and /channels/{channel}/members";
            ApiProblem::new(StatusCode::NOT_FOUND, detail)
        })?;
        let channel = decode(channel, "the channel")?;
        Ok(Self { channel, resource })
    }
}

/// Returns what a request asks for, as it is counted.
pub(super) fn kind(request: &HttpRequest<'_>) -> RequestKind {
    match (split(request.path), &request.method) {
        (Some((_, Resource::Messages)), &Method::POST) => RequestKind::Publish,
        (Some((_, Resource::Messages)), &Method::GET | &Method::HEAD) => RequestKind::Read,
        (Some((_, Resource::Events)), &Method::GET | &Method::HEAD) => RequestKind::Events,
        (Some((_, Resource::Members)), &Method::GET | &Method::HEAD) => RequestKind::Members,
        _ => RequestKind::Other,
    }
}

fn split(path: &str) -> Option<(&str, Resource)> {
    let rest = path.strip_prefix(ROOT)?.strip_prefix('/')?;
    let (channel, name) = rest.split_once('/')?;
    let resource = Resource::of_name(name)?;
    (!channel.is_empty()).then_some((channel, resource))
}
