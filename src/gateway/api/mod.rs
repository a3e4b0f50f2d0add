//! Channels over HTTP: publishing with a receipt, reading what was published, event streams, and asking who is there.
//!
//! | route | file |
//! | --- | --- |
//! | `POST /channels/{channel}/messages` | `publish` |
//! | `GET /channels/{channel}/messages` | `read` |
//! | `GET /channels/{channel}/events` | `events` |
//! | `GET /channels/{channel}/members` | `members` |
//!
//! A new resource is a variant of [`Resource`](route::Resource) with its methods, and an arm of `Caller::respond`.
//!
//! Every error is a [`ApiProblem`]. Who asks shows the same key as for a WebSocket session, and pages of other origins
//! need the same permission.

mod body;
mod cors;
mod events;
mod members;
mod message_lines;
mod problem;
mod publish;
mod read;
mod route;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use self::problem::ApiProblem;
use self::route::{Resource, Route};
use crate::access::{Credentials, Denied, Permissions, Proof, Rights};
use crate::shard::Shard;
use crate::shard::limits::Permit;
use crate::shard::refusal::{Attempt, Refusal};
use crate::websocket::HttpRequest;

pub(super) use self::events::EventsRequest;
pub(super) use self::route::is_route;

/// The uid of who names none, and has no token that does.
const DEFAULT_UID: &str = "http";
/// Entries of a list that is asked for without a limit.
const DEFAULT_LIMIT: usize = 100;

/// The client that asks, and its connection.
pub(super) struct Caller<'a> {
    pub(super) shard: &'a Rc<Shard>,
    /// Address of the client.
    pub(super) client: SocketAddr,
    /// Set if nobody on the way can read what passes.
    pub(super) is_private: bool,
    /// Counts the connection.
    pub(super) permit: &'a Permit,
}

/// The names that a request is about.
struct Names<'a> {
    uid: Cow<'a, str>,
    channel: Cow<'a, str>,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// A response, which is whole.
    Response(Response<Bytes>),
    /// A stream of events, if its session gets a seat.
    Events(Box<EventsRequest>),
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        Self::Response(response)
    }
}

/// The session that a request would have if it had one.
struct Admitted<'a> {
    names: Names<'a>,
    rights: Rights,
}

impl Admitted<'_> {
    /// Checks that it may do all of `wanted`.
    fn require(&self, wanted: Permissions) -> Result<(), Denied> {
        self.rights
            .require(wanted, &self.names.uid, &self.names.channel)
    }
}

impl Caller<'_> {
    /// Answers a request to the API.
    pub(super) async fn answer(&self, request: &HttpRequest<'_>, body: Incoming) -> Answer {
        let kind = route::kind(request);
        self.shard.stats().requests.of(kind).add(1);
        let origin = match self.check_origin(request) {
            Ok(origin) => origin,
            Err(problem) => return self.tell(problem).into(),
        };
        let answer = if request.method == Method::OPTIONS {
            let options =
                |route: Route<'_>| cors::options(origin.is_some(), route.resource.methods());
            Route::find(request.path).map(options).map(Answer::from)
        } else {
            self.respond(request, body).await
        };
        let mut answer = answer.unwrap_or_else(|problem| self.tell(problem).into());
        if let (Some(origin), Answer::Response(response)) = (origin, &mut answer) {
            cors::allow(origin, response);
        }
        answer
    }

    /// Answers a request that there is no room for.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response<Bytes> {
        self.tell(refusal.into())
    }

    async fn respond(
        &self,
        request: &HttpRequest<'_>,
        body: Incoming,
    ) -> Result<Answer, ApiProblem> {
        let route = Route::find(request.path)?;
        let response = match (route.resource, &request.method) {
            (Resource::Messages, &Method::GET | &Method::HEAD) => {
                self.check_host(request)?;
                let admitted = self.admit(request, route.channel)?;
                admitted.require(Permissions::HISTORY)?;
                self.read(request, &admitted.names).await?
            }
            (Resource::Messages, &Method::POST) => {
                let admitted = self.admit_publisher(request, route.channel)?;
                if let Err(denied) = admitted.require(Permissions::PUBLISH) {
                    self.shard.stats().publishes_denied.add(1);
                    return Err(denied.into());
                }
                self.publish(request, &admitted, body).await?
            }
            (Resource::Members, &Method::GET | &Method::HEAD) => {
                self.check_host(request)?;
                let admitted = self.admit(request, route.channel)?;
                admitted.require(Permissions::PRESENCE)?;
                self.members(request, &admitted.names).await?
            }
            (Resource::Events, &Method::GET) => {
                let events = self.begin_events(request, route)?;
                return Ok(Answer::Events(Box::new(events)));
            }
            (Resource::Events, &Method::HEAD) => {
                self.begin_events(request, route)?;
                events::head()
            }
            (resource, _) => return Err(ApiProblem::bad_method(resource.methods())),
        };
        Ok(response.into())
    }

    /// Refuses a request to read by a name that somebody may have made to lead here: a browser does not say whose page
    /// asks for what its own server has, and under such a name it takes this server for that page's.
    fn check_host(&self, request: &HttpRequest<'_>) -> Result<(), ApiProblem> {
        if request.only("Origin")?.is_none() {
            self.shard.common.access().check_host(request.host)?;
        }
        Ok(())
    }

    /// Returns the origin of the page that asks, if it is one, and may.
    fn check_origin<'a>(&self, request: &HttpRequest<'a>) -> Result<Option<&'a str>, ApiProblem> {
        let origin = request.only("Origin")?;
        let access = self.shard.common.access();
        access.check_origin(origin, request.host)?;
        Ok(origin)
    }

    /// Checks that the client may do in a channel what its members may, as for a join. Its connection makes no room for
    /// others until it has its answer.
    fn admit<'a>(
        &self,
        request: &HttpRequest<'a>,
        channel: Cow<'a, str>,
    ) -> Result<Admitted<'a>, ApiProblem> {
        let common = &self.shard.common;
        self.admit_with(request, channel, |proof, names| {
            common.join(proof, self.client, &names.uid, &names.channel)
        })
    }

    /// Like [`Caller::admit`], for a request to publish: its messages count, and not that it joins.
    fn admit_publisher<'a>(
        &self,
        request: &HttpRequest<'a>,
        channel: Cow<'a, str>,
    ) -> Result<Admitted<'a>, ApiProblem> {
        let access = self.shard.common.access();
        self.admit_with(request, channel, |proof, names| {
            let (uid, channel) = (&names.uid, &names.channel);
            let rights = access.join(proof, self.client, uid, channel, SystemTime::now());
            Ok(rights?)
        })
    }

    fn admit_with<'a>(
        &self,
        request: &HttpRequest<'a>,
        channel: Cow<'a, str>,
        join: impl FnOnce(Proof<'_>, &Names<'_>) -> Result<Rights, Refusal>,
    ) -> Result<Admitted<'a>, ApiProblem> {
        let (auth, bearer, token) = (request.auth()?, request.bearer()?, request.token()?);
        let credentials = Credentials {
            origin: request.only("Origin")?,
            host: request.host,
            bearer,
            token,
            auth: &auth,
            is_private: self.is_private,
        };
        let access = self.shard.common.access();
        let request_proof = access.request(&credentials, SystemTime::now())?;
        let names = Names {
            uid: match (uid(request)?, request_proof.subject()) {
                (Some(uid), _) => uid,
                (None, Some(subject)) => subject.to_owned().into(),
                (None, None) => DEFAULT_UID.into(),
            },
            channel,
        };
        let proof = Proof::Request {
            request: &request_proof,
            token: None,
        };
        let rights = match join(proof, &names) {
            Ok(rights) => rights,
            Err(Refusal::Denied(denied @ Denied::WrongAuth { .. }))
                if bearer.is_none() && auth.is_empty() =>
            {
                return Err(ApiProblem::no_key(denied));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        self.permit.join().map_err(Refusal::LetGo)?;
        Ok(Admitted { names, rights })
    }

    /// Waits for the answer of a channel, within `frame_deadline`.
    async fn answer_of<T>(
        &self,
        answer: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, ApiProblem> {
        if !self.shard.is_running() {
            return Err(Refusal::Stopping.into());
        }
        let deadline = self.shard.read_limits().frame_deadline;
        let answer = timeout(deadline, answer).await.map_err(|_| {
            let detail = "the channel did not answer within frame_deadline";
            ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        Ok(answer?)
    }

    /// Counts and logs a problem, and returns the response.
    fn tell(&self, problem: ApiProblem) -> Response<Bytes> {
        let response = problem.response();
        if let Some(refusal) = problem.into_refusal() {
            self.shard
                .note_refusal(self.client, Attempt::Request, &refusal);
        }
        response
    }
}

/// Returns the uid that a request names in a header, or in the query.
fn uid<'a>(request: &HttpRequest<'a>) -> Result<Option<Cow<'a, str>>, ApiProblem> {
    let uid = match request.only("Mles-Uid")? {
        Some(uid) => decode(uid, "Mles-Uid")?,
        None => match query(request, "uid") {
            Some(uid) => decode(uid, "uid")?,
            None => return Ok(None),
        },
    };
    if uid.is_empty() {
        return Err(ApiProblem::bad_request("the uid is empty"));
    }
    Ok(Some(uid))
}

/// Returns the value of a parameter in the query as it was sent: the first of that name.
fn query<'a>(request: &HttpRequest<'a>, name: &str) -> Option<&'a str> {
    let mut pairs = request
        .query?
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some(pair) => pair,
            None => (pair, ""),
        });
    pairs
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// Returns how many entries a request asks for at most.
fn limit(request: &HttpRequest<'_>, allowed: RangeInclusive<usize>) -> Result<usize, ApiProblem> {
    let Some(limit) = query(request, "limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    decimal(limit)
        .filter(|limit| allowed.contains(limit))
        .ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            ApiProblem::bad_request(format!("limit is a number from {least} to {most}"))
        })
}

/// Parses a number without a sign.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    // Parsing alone would let a sign through.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

fn decode<'a>(text: &'a str, what: &'static str) -> Result<Cow<'a, str>, ApiProblem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| ApiProblem::bad_request(format!("{what} is not UTF-8")))
}
