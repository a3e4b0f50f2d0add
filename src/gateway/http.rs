//! The HTTP request that a WebSocket connection begins with; a browser gets the page.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::connection::UpgradedConnection;
use super::head::RequestHead;
use super::page;
use crate::access::{Access, Credentials, Denied, RequestProof};
use crate::net::acceptor::PendingJoin;
use crate::net::proxy::forwarded_for;
use crate::net::refusal::{Refusal, refused};
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::limits::LimitReached;
use crate::shard::stream::{StreamReader, see_off};
use crate::websocket::{
    HttpRequest, Method, Offer, PROTOCOL, Response, Status, no_content, parse, switching,
};

/// How long a client that was too slow may take to let that in.
const LATE: Duration = Duration::from_millis(100);

/// What came of a request.
enum Outcome {
    /// A WebSocket session begins, and these bytes came behind the request.
    WsConnection(RequestProof, Bytes),
    /// It was answered, and that is all.
    Answered,
    /// It was refused.
    Refused(String),
    /// Its client is at a limit.
    LimitReached(LimitReached),
}

/// Answers one request on a connection that is new, within the deadline for joining.
pub(crate) async fn visit(shard: &Rc<Shard>, layered: Layered, pending: PendingJoin) {
    let layered = Rc::new(layered);
    let mut reader = StreamReader::Layered(layered.clone());
    let progress = Cell::new(Progress::Silent);
    let client = Cell::new(pending.peer);
    let request = answer(shard, &layered, &mut reader, &pending, &client, &progress);
    let (answered, deadline) = (pending.wait_for(request).await, pending.deadline);
    let peer = client.get();
    match answered {
        Ok(Ok(Outcome::WsConnection(proof, early))) => {
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
        Ok(Ok(Outcome::Answered)) => {}
        Ok(Ok(Outcome::Refused(why))) => note(shard, peer, &why),
        Ok(Ok(Outcome::LimitReached(full))) => refused(shard, peer, &Refusal::LimitReached(full)),
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "HTTP connection ended"),
        Err(refusal @ Refusal::LetGo(_)) => return refused(shard, peer, &refusal),
        Err(_) if progress.get() == Progress::Answering => {
            tracing::debug!(%peer, "HTTP client was too slow to take its answer");
        }
        Err(_) => {
            let why = "no whole request within join_deadline";
            // Browsers open connections that they may need later.
            if progress.get() == Progress::Silent {
                shard.stats().refused.add(1);
                tracing::debug!(%peer, refusal = why, "HTTP request refused");
            } else {
                note(shard, peer, why);
            }
            let late = Response::text(Status::TIMEOUT, &[], "too slow\n", true);
            // It may not take that either.
            let _ = timeout(LATE, layered.write_all(late.into())).await;
        }
    }
    layered.shut_down_write();
    pending.permit.unless_let_go(see_off(&mut reader)).await;
}

fn note(shard: &Shard, peer: SocketAddr, why: &str) {
    shard.stats().refused.add(1);
    if shard.log.admit() {
        tracing::warn!(%peer, refusal = %why, "HTTP request refused");
    }
}

/// How far a request has come.
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
) -> io::Result<Outcome> {
    let settings = &shard.common.settings;
    let mut head = RequestHead::new(shard);
    let (response, outcome) = loop {
        if head.read_on(reader).await?.is_err() {
            shard.stats().partials_evicted.add(1);
            break no_memory();
        }
        progress.set(Progress::Reading);
        match parse(head.bytes()) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let forwarded = request.forwarded_for();
                client.set(forwarded_for(forwarded, pending.peer, &settings.proxies));
                if let Err(full) = pending.assign(settings, client.get()) {
                    break too_many(&request, full);
                }
                let visit = Visit {
                    access: &shard.common.access,
                    has_page: settings.websocket.page,
                    is_private: layered.is_encrypted() || pending.is_near(settings),
                };
                break visit.respond(&request, head.bytes());
            }
            Err(bad) => {
                let response = bad.response(head.bytes());
                break (response, Outcome::Refused(bad.to_string()));
            }
        }
    };
    drop(head);
    progress.set(Progress::Answering);
    layered.write_all(response.into()).await?;
    Ok(outcome)
}

fn no_memory() -> (Vec<u8>, Outcome) {
    let why = "no memory left for incomplete requests (partial_bytes)";
    let response = Response::text(Status::UNAVAILABLE, &[], &format!("{why}\n"), true);
    (response, Outcome::Refused(why.to_owned()))
}

fn too_many(request: &HttpRequest<'_>, full: LimitReached) -> (Vec<u8>, Outcome) {
    let with_body = request.method != Method::Head;
    let text = "too many connections from your address\n";
    let response = Response::text(Status::UNAVAILABLE, &[], text, with_body);
    (response, Outcome::LimitReached(full))
}

/// What an answer depends on besides the request.
struct Visit<'a> {
    access: &'a Access,
    has_page: bool,
    /// Whether nobody on the way can read it.
    is_private: bool,
}

impl Visit<'_> {
    /// The answer to a request, and what follows from it.
    fn respond(&self, request: &HttpRequest<'_>, received: &[u8]) -> (Vec<u8>, Outcome) {
        let upgrade = match request.upgrade() {
            Ok(Some(upgrade)) => upgrade,
            Ok(None) => return self.page(request),
            Err(bad) => return (bad.response(received), Outcome::Refused(bad.to_string())),
        };
        if upgrade.offer == Offer::Others {
            let why = "the only subprotocol here is mles-websocket";
            return refuse(request, Status::BAD_REQUEST, why, why.to_owned());
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
                (response, Outcome::WsConnection(proof, early))
            }
            Err(denied) => deny(request, &denied),
        }
    }

    /// The answer to what is no upgrade.
    fn page(&self, request: &HttpRequest<'_>) -> (Vec<u8>, Outcome) {
        if request.method == Method::Options {
            return (no_content(), Outcome::Answered);
        }
        if let Err(denied) = self.access.check_host(request.host) {
            return deny(request, &denied);
        }
        let with_body = request.method == Method::Get;
        let page = page::response(request.path, self.has_page, with_body);
        (page, Outcome::Answered)
    }
}

/// The answer to a client that may not even ask to join.
fn deny(request: &HttpRequest<'_>, denied: &Denied) -> (Vec<u8>, Outcome) {
    let status = match denied {
        Denied::WrongSecret => Status::UNAUTHORIZED,
        Denied::Host { .. } => Status::MISDIRECTED,
        _ => Status::FORBIDDEN,
    };
    refuse(request, status, &denied.reason(), denied.to_string())
}

fn refuse(
    request: &HttpRequest<'_>,
    status: Status,
    reason: &str,
    log: String,
) -> (Vec<u8>, Outcome) {
    let with_body = request.method != Method::Head;
    let response = Response::text(status, &[], &format!("{reason}\n"), with_body);
    (response, Outcome::Refused(log))
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
        let visit = Visit {
            access: &Access::new(settings),
            has_page: settings.websocket.page,
            is_private,
        };
        let request = parse(head.as_bytes()).unwrap().unwrap();
        let (response, outcome) = visit.respond(&request, head.as_bytes());
        let response = String::from_utf8(response).unwrap();
        let status = response["HTTP/1.1 ".len()..][..3].parse().unwrap();
        let Outcome::Refused(why) = outcome else {
            return (status, None);
        };
        (status, Some(why))
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
