//! The HTTP request that a WebSocket connection begins with; a browser gets the page.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::{timeout, timeout_at};

use super::door::Guest;
use super::page;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::websocket::{Access, Visitor};
use crate::shard::wire::{Reader, see_off};
use crate::websocket::{
    BadRequest, Hosts, MAX_HEAD, Method, Offer, PROTOCOL, Request, Response, Status, Upgrade,
    origin_allowed, parse, switching,
};

/// How long a client that was too slow may take to let that in.
const LATE: Duration = Duration::from_millis(100);

/// What came of a request.
enum Outcome {
    /// A WebSocket session begins, and these bytes came behind the request.
    Session(Access, Bytes),
    /// It was answered, and that is all.
    Answered,
    /// It was refused.
    Refused(String),
}

/// Answers one request on a connection that is new, within the deadline for joining.
pub(super) async fn visit(shard: &Rc<Shard>, layered: Layered, guest: Guest) {
    let layered = Rc::new(layered);
    let mut reader = Reader::Layered(layered.clone());
    let settings = &shard.common.settings;
    let is_answering = Cell::new(false);
    let request = answer(settings, &layered, &mut reader, &is_answering);
    let (peer, deadline) = (guest.peer, guest.deadline);
    match timeout_at(deadline, request).await {
        Ok(Ok(Outcome::Session(access, early))) => {
            let (permit, join_permit) = guest.permits;
            return shard.serve_websocket(Visitor {
                layered,
                peer,
                access,
                early,
                deadline,
                permit,
                join_permit,
            });
        }
        Ok(Ok(Outcome::Answered)) => {}
        Ok(Ok(Outcome::Refused(why))) => note(shard, &guest, &why),
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "HTTP connection ended"),
        Err(_) if is_answering.get() => {
            tracing::debug!(%peer, "HTTP client was too slow to take its answer");
        }
        Err(_) => {
            note(shard, &guest, "no whole request within join_deadline");
            let late = Response::text(Status::TIMEOUT, &[], "too slow\n");
            // It may not take that either.
            let _ = timeout(LATE, layered.write_all(late.into())).await;
        }
    }
    layered.shut_down_write();
    see_off(&mut reader).await;
}

fn note(shard: &Shard, guest: &Guest, why: &str) {
    shard.stats().refused.add(1);
    if shard.log.admit() {
        tracing::warn!(peer = %guest.peer, refusal = %why, "HTTP request refused");
    }
}

async fn answer(
    settings: &Settings,
    layered: &Layered,
    reader: &mut Reader,
    is_answering: &Cell<bool>,
) -> io::Result<Outcome> {
    let mut head = Vec::with_capacity(1024);
    loop {
        match parse(&head) {
            Ok(None) => {
                if reader.take(MAX_HEAD as u64).read_buf(&mut head).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(Some(request)) => {
                is_answering.set(true);
                let hosts = hosts(settings, layered);
                let (response, outcome) = respond(settings, hosts, &request, &head);
                layered.write_all(response.into()).await?;
                return Ok(outcome);
            }
            Err(bad) => {
                is_answering.set(true);
                layered.write_all(bad.response().into()).await?;
                return Ok(Outcome::Refused(bad.to_string()));
            }
        }
    }
}

/// What a page of ours may be asked for by. Where nothing but being on this machine protects the
/// channels, a browser on it must not be led here by a name of somebody else's.
fn hosts(settings: &Settings, layered: &Layered) -> Hosts {
    let is_here = layered.local_addr().is_ok_and(|address| {
        let ip = address.ip().to_canonical();
        ip.is_loopback()
    });
    if is_here && needs_no_key(settings) {
        Hosts::Fixed
    } else {
        Hosts::Any
    }
}

fn needs_no_key(settings: &Settings) -> bool {
    settings.websocket.trust || !settings.keyring.is_secret()
}

/// The answer to a request, and what follows from it.
fn respond(
    settings: &Settings,
    hosts: Hosts,
    request: &Request<'_>,
    received: &[u8],
) -> (Vec<u8>, Outcome) {
    let upgrade = match request.upgrade() {
        Ok(Some(upgrade)) => upgrade,
        Ok(None) => {
            let page = settings.websocket.page.then(|| page::find(request.path));
            let with_body = request.method == Method::Get;
            return (page::response(page.flatten(), with_body), Outcome::Answered);
        }
        Err(bad) => return refuse_bad(&bad),
    };
    match access(settings, hosts, request, &upgrade) {
        Ok(access) => {
            let protocol = (upgrade.offer == Offer::Mles).then_some(PROTOCOL);
            let early = Bytes::copy_from_slice(&received[request.head_len..]);
            let response = switching(&upgrade.accept, protocol);
            (response, Outcome::Session(access, early))
        }
        Err((status, why)) => {
            let response = Response::text(status, &[], &format!("{why}\n"));
            (response, Outcome::Refused(why.to_owned()))
        }
    }
}

fn refuse_bad(bad: &BadRequest) -> (Vec<u8>, Outcome) {
    (bad.response(), Outcome::Refused(bad.to_string()))
}

/// What the client may join, or why it may not even ask.
fn access(
    settings: &Settings,
    hosts: Hosts,
    request: &Request<'_>,
    upgrade: &Upgrade<'_>,
) -> Result<Access, (Status, &'static str)> {
    if upgrade.offer == Offer::Others {
        let why = "the only subprotocol here is mles-websocket";
        return Err((Status::BAD_REQUEST, why));
    }
    let allowed = &settings.websocket.origins;
    if !origin_allowed(upgrade.origin, request.host, hosts, allowed) {
        let why = "this origin is not allowed (--ws-origin)";
        return Err((Status::FORBIDDEN, why));
    }
    if needs_no_key(settings) {
        return Ok(Access::Any);
    }
    match upgrade.bearer {
        Some(bearer) if settings.keyring.is_shared(bearer) => Ok(Access::Any),
        Some(_) => Err((Status::UNAUTHORIZED, "wrong key")),
        None => Ok(Access::Hashes(upgrade.auth.clone())),
    }
}
