//! The first request of a connection: an upgrade to WebSocket is answered here, anything else is passed on to
//! the HTTP library with what has come of it.
//!
//! Nearly every connection asks for an upgrade at once. So that a crowd that comes back costs no more than
//! it has to, its requests are read without the library and its buffers; and whoever speaks no HTTP is told so in
//! words.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::timeout;

use super::api::{self, Caller, EventsRequest};
use super::connection::UpgradedConnection;
use super::forwarded::forwarded_for;
use super::head::RequestHead;
use super::http_connection;
use super::refusal::Rejection;
use super::response::encode_last;
use super::upgrade::{UpgradeTerms, accept};
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::{StreamReader, see_off};
use crate::websocket::{HttpRequest, parse};

/// Longest wait for a client that was too slow to take the answer.
const LATE: Duration = Duration::from_millis(100);

/// The outcome of the first request.
enum FirstOutcome {
    /// It is upgraded to WebSocket, and these bytes came behind the request.
    Upgraded(UpgradeTerms, Bytes),
    /// It gets a stream of events.
    Events(Box<EventsRequest>),
    /// It asks for something else, or may not have that, and begins with these bytes.
    Other(Bytes),
    /// It was refused.
    Refused(Refusal),
}

/// Serves a connection that is new. Its first request has to come within the deadline for joining.
pub(crate) async fn serve(shard: &Rc<Shard>, layered: Layered, pending: PendingJoin) {
    let layered = Rc::new(layered);
    let mut reader = StreamReader::Layered(layered.clone());
    let progress = Cell::new(Progress::Silent);
    let client = Cell::new(pending.peer);
    let request = answer(shard, &layered, &mut reader, &pending, &client, &progress);
    let (answered, deadline) = (pending.wait_for(request).await, pending.deadline);
    let peer = client.get();
    let note = |refusal: &Refusal| shard.note_refusal(peer, Attempt::Request, refusal);
    match answered {
        Ok(Ok(FirstOutcome::Upgraded(terms, early))) => {
            let permit = pending.permit;
            return shard.serve_websocket(UpgradedConnection {
                layered,
                peer,
                terms,
                early,
                deadline,
                permit,
            });
        }
        Ok(Ok(FirstOutcome::Events(request))) => {
            return shard.serve_events(layered, pending.permit, request);
        }
        Ok(Ok(FirstOutcome::Other(early))) => {
            return Box::pin(http_connection::serve(shard, layered, pending, early)).await;
        }
        Ok(Ok(FirstOutcome::Refused(refusal))) => note(&refusal),
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "HTTP connection ended"),
        Err(refusal @ Refusal::LetGo(_)) => return note(&refusal),
        Err(_) if progress.get() == Progress::Answering => {
            tracing::debug!(%peer, "HTTP client was too slow to take its answer");
        }
        Err(_) => {
            let refusal = match progress.get() {
                Progress::Silent => Refusal::Idle,
                Progress::Reading | Progress::Answering => Refusal::TooSlow {
                    awaited: "whole request",
                },
            };
            note(&refusal);
            tell_late(&layered, refusal).await;
        }
    }
    layered.shut_down_write();
    pending.permit.unless_let_go(see_off(&mut reader)).await;
}

/// Tells a client whose request did not come in time that it is refused. It may not take that either.
pub(super) async fn tell_late(layered: &Layered, refusal: Refusal) {
    let response = Rejection::Refused(refusal).response();
    let answer = encode_last(&response, true);
    let _ = timeout(LATE, layered.write_all(answer.into())).await;
}

/// Progress of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Silent,
    Reading,
    Answering,
}

/// Reads a request, and answers it if it is not to be passed on.
async fn answer(
    shard: &Rc<Shard>,
    layered: &Layered,
    reader: &mut StreamReader,
    pending: &PendingJoin,
    client: &Cell<SocketAddr>,
    progress: &Cell<Progress>,
) -> io::Result<FirstOutcome> {
    let mut head = RequestHead::new(shard);
    let (answer, outcome) = loop {
        if head.read_on(reader).await?.is_err() {
            shard.stats().partials_evicted.add(1);
            break rejected(Refusal::Overdrawn.into(), true);
        }
        progress.set(Progress::Reading);
        let (request, len) = match parse(head.bytes()) {
            Ok(None) => continue,
            Ok(Some(found)) => found,
            Err(bad) => break rejected(bad.into(), !asks_for_head(head.bytes())),
        };
        let has_body = request.method != Method::HEAD;
        let live = shard.common.live();
        let settings = &live.settings;
        let is_private = layered.is_encrypted() || pending.is_near(settings);
        let accepted = match accept(&live.access, &request, is_private) {
            Ok(None) => {
                let events = events(shard, &request, pending, is_private);
                drop(request);
                return Ok(match events {
                    Some(events) => FirstOutcome::Events(events),
                    None => FirstOutcome::Other(head.take()),
                });
            }
            Ok(Some(accepted)) => Ok(accepted),
            Err(rejection) => Err(rejection),
        };
        client.set(forwarded_for(
            request.forwarded_for(),
            pending.peer,
            &settings.proxies,
        ));
        if let Err(refusal) = pending.assign(&shard.common, client.get()) {
            break rejected(refusal.into(), has_body);
        }
        break match accepted {
            Ok((terms, response)) => {
                let early = Bytes::copy_from_slice(&head.bytes()[len..]);
                let answer = encode_last(&response, true);
                (answer, FirstOutcome::Upgraded(terms, early))
            }
            Err(rejection) => rejected(rejection, has_body),
        };
    };
    drop(head);
    progress.set(Progress::Answering);
    layered.write_all(answer.into()).await?;
    Ok(outcome)
}

/// Returns the event stream that a request asks for, if it may have it.
fn events(
    shard: &Rc<Shard>,
    request: &HttpRequest<'_>,
    pending: &PendingJoin,
    is_private: bool,
) -> Option<Box<EventsRequest>> {
    let settings = shard.common.settings();
    if !(settings.websocket.http && api::is_route(request.path)) {
        return None;
    }
    let client = forwarded_for(request.forwarded_for(), pending.peer, &settings.proxies);
    let caller = Caller {
        shard,
        client,
        is_private,
        permit: &pending.permit,
    };
    let events = caller.events_request(request)?;
    pending.assign(&shard.common, client).ok()?;
    Some(events)
}

fn rejected(rejection: Rejection, has_body: bool) -> (Vec<u8>, FirstOutcome) {
    let answer = encode_last(&rejection.response(), has_body);
    (answer, FirstOutcome::Refused(rejection.into_refusal()))
}

/// Returns `true` if what is no good request at least says that no body is wanted.
fn asks_for_head(received: &[u8]) -> bool {
    received.trim_ascii_start().starts_with(b"HEAD ")
}
