//! The HTTP request that every connection begins with.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::connection::UpgradedConnection;
use super::forwarded::forwarded_for;
use super::head::RequestHead;
use super::page;
use super::refusal::for_http;
use crate::access::{Access, Credentials, RequestProof};
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::{StreamReader, see_off};
use crate::websocket::{
    BadRequest, HttpRequest, Method, Offer, PROTOCOL, Response, no_content, parse, switching,
};

/// How long a client that was too slow may take to let the answer in.
const LATE: Duration = Duration::from_millis(100);

/// The outcome of a request.
enum RequestOutcome {
    /// It is upgraded to WebSocket, and these bytes came behind the request.
    Upgraded(RequestProof, Bytes),
    /// It was answered, and that is all.
    Answered,
    /// It was refused.
    Refused(Refusal),
}

/// Answers one request on a connection that is new, within the deadline for joining.
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
        Ok(Ok(RequestOutcome::Upgraded(proof, early))) => {
            let permit = pending.permit;
            return shard.serve_websocket(UpgradedConnection {
                layered,
                peer,
                proof,
                early,
                deadline,
                permit,
            });
        }
        Ok(Ok(RequestOutcome::Answered)) => {}
        Ok(Ok(RequestOutcome::Refused(refusal))) => note(&refusal),
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
            // It may not take that either.
            let _ = timeout(LATE, layered.write_all(answer_to(&refusal, true).into())).await;
        }
    }
    layered.shut_down_write();
    pending.permit.unless_let_go(see_off(&mut reader)).await;
}

/// Progress of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Silent,
    Reading,
    Answering,
}

async fn answer(
    shard: &Shard,
    layered: &Layered,
    reader: &mut StreamReader,
    pending: &PendingJoin,
    client: &Cell<SocketAddr>,
    progress: &Cell<Progress>,
) -> io::Result<RequestOutcome> {
    let settings = &shard.common.settings;
    let mut head = RequestHead::new(shard);
    let (response, outcome) = loop {
        if head.read_on(reader).await?.is_err() {
            shard.stats().partials_evicted.add(1);
            break refused(Refusal::Overdrawn, true);
        }
        progress.set(Progress::Reading);
        match parse(head.bytes()) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let forwarded = request.forwarded_for();
                client.set(forwarded_for(forwarded, pending.peer, &settings.proxies));
                if let Err(full) = pending.assign(settings, client.get()) {
                    let with_body = request.method != Method::Head;
                    break refused(Refusal::LimitReached(full), with_body);
                }
                let context = RequestContext {
                    access: &shard.common.access,
                    has_page: settings.websocket.page,
                    is_private: layered.is_encrypted() || pending.is_near(settings),
                };
                break context.respond(&request, head.bytes());
            }
            Err(bad) => break bad_request(&bad, head.bytes()),
        }
    };
    drop(head);
    progress.set(Progress::Answering);
    layered.write_all(response.into()).await?;
    Ok(outcome)
}

/// Returns the answer to a request that is refused.
fn answer_to(refusal: &Refusal, with_body: bool) -> Vec<u8> {
    let (status, reason) = for_http(refusal);
    Response::text(status, &[], &format!("{reason}\n"), with_body)
}

fn refused(refusal: Refusal, with_body: bool) -> (Vec<u8>, RequestOutcome) {
    (
        answer_to(&refusal, with_body),
        RequestOutcome::Refused(refusal),
    )
}

fn bad_request(bad: &BadRequest, received: &[u8]) -> (Vec<u8>, RequestOutcome) {
    let refusal = Refusal::Fault(bad.to_string());
    (bad.response(received), RequestOutcome::Refused(refusal))
}

/// Context of a request: what the answer to it depends on besides.
struct RequestContext<'a> {
    access: &'a Access,
    has_page: bool,
    /// Set if nobody on the way can read it.
    is_private: bool,
}

impl RequestContext<'_> {
    /// Returns the answer to a request, and the outcome.
    fn respond(&self, request: &HttpRequest<'_>, received: &[u8]) -> (Vec<u8>, RequestOutcome) {
        let upgrade = match request.upgrade() {
            Ok(Some(upgrade)) => upgrade,
            Ok(None) => return self.page(request),
            Err(bad) => return bad_request(&bad, received),
        };
        let with_body = request.method != Method::Head;
        if upgrade.offer == Offer::Others {
            let why = "the only subprotocol here is mles-websocket";
            return refused(Refusal::Fault(why.to_owned()), with_body);
        }
        let credentials = Credentials {
            origin: upgrade.origin,
            host: request.host,
            bearer: upgrade.bearer,
            auth: &upgrade.auth,
            is_private: self.is_private,
        };
        match self.access.request(&credentials) {
            Ok(proof) => {
                let protocol = (upgrade.offer == Offer::Mles).then_some(PROTOCOL);
                let early = Bytes::copy_from_slice(&received[request.head_len..]);
                let response = switching(&upgrade.accept, protocol);
                (response, RequestOutcome::Upgraded(proof, early))
            }
            Err(denied) => refused(denied.into(), with_body),
        }
    }

    /// Returns the answer to a request for anything but an upgrade.
    fn page(&self, request: &HttpRequest<'_>) -> (Vec<u8>, RequestOutcome) {
        if request.method == Method::Options {
            return (no_content(), RequestOutcome::Answered);
        }
        if let Err(denied) = self.access.check_host(request.host) {
            return refused(denied.into(), request.method != Method::Head);
        }
        let with_body = request.method == Method::Get;
        let page = page::response(request.path, self.has_page, with_body);
        (page, RequestOutcome::Answered)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::protocol::Keyring;
    use crate::settings::Settings;

    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    /// The status of the answer, and what the log has if it is a refusal.
    fn answer(settings: &Settings, is_private: bool, head: &str) -> (u16, Option<String>) {
        let head = format!("{head}\r\n");
        let context = RequestContext {
            access: &Access::new(settings),
            has_page: settings.websocket.page,
            is_private,
        };
        let request = parse(head.as_bytes()).unwrap().unwrap();
        let (response, outcome) = context.respond(&request, head.as_bytes());
        let response = String::from_utf8(response).unwrap();
        let status = response["HTTP/1.1 ".len()..][..3].parse().unwrap();
        let RequestOutcome::Refused(why) = outcome else {
            return (status, None);
        };
        (status, Some(why.to_string()))
    }

    fn keyed() -> Settings {
        Settings {
            keyring: Keyring::new(Some("secret".to_owned()), None),
            ..Settings::default()
        }
    }

    #[test]
    fn a_refused_origin_is_named_with_the_host_and_nothing_in_it_is_trusted() {
        let head = |origin: &str| {
            format!("GET / HTTP/1.1\r\nHost: chat.example\r\nOrigin: {origin}\r\n{UPGRADE}")
        };
        let (status, why) = answer(&keyed(), true, &head("https://chat.example:8443"));
        assert_eq!(status, 403);
        assert_eq!(
            why.unwrap(),
            "this origin is not allowed (--ws-origin): a page of https://chat.example:8443 at \
             chat.example"
        );
        let (_, why) = answer(&keyed(), true, &head("https://\"\tx\\"));
        assert!(why.unwrap().contains(r#"https://\"\tx\\ at"#));
        let long = format!("https://{}", "x".repeat(9000));
        let (_, why) = answer(&keyed(), true, &head(&long));
        assert!(why.unwrap().len() < 300);
    }

    #[test]
    fn a_key_in_clear_is_refused_whether_it_is_right_or_not() {
        for (key, private, public) in [("secret", 101, 403), ("guess", 401, 403)] {
            let head =
                format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n{UPGRADE}");
            assert_eq!(answer(&keyed(), true, &head).0, private, "{key}");
            let (status, why) = answer(&keyed(), false, &head);
            assert_eq!(status, public, "{key}");
            assert!(why.unwrap().contains("--tls-ws"));
        }
    }

    #[test]
    fn without_a_key_only_fixed_and_listed_names_lead_here() {
        let mut open = Settings {
            allow_anonymous: true,
            ..Settings::default()
        };
        open.websocket.origins = vec!["https://chat.example".to_owned()];
        let status = |settings: &Settings, host: &str, headers: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{headers}");
            answer(settings, true, &head).0
        };
        let origin = |host: &str| format!("Origin: http://{host}\r\n{UPGRADE}");
        for (host, page, upgrade) in [
            ("192.0.2.7:8076", 200, 101),
            ("[2001:db8::1]:8076", 200, 101),
            ("localhost:8076", 200, 101),
            ("rebound.example:8076", 421, 403),
            ("server.lan", 421, 403),
            // The page of another port is no page of ours, but its owner may ask for it.
            ("chat.example:8076", 200, 403),
        ] {
            assert_eq!(status(&open, host, ""), page, "{host}");
            assert_eq!(status(&open, host, &origin(host)), upgrade, "{host}");
            // What is no browser names no origin.
            assert_eq!(status(&open, host, UPGRADE), 101, "{host}");
            assert_eq!(status(&keyed(), host, ""), 200, "{host}");
            assert_eq!(status(&keyed(), host, &origin(host)), 101, "{host}");
        }
        let listed = format!("Origin: https://chat.example\r\n{UPGRADE}");
        assert_eq!(status(&open, "chat.example", &listed), 101);
    }
}
