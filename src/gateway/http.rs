//! The HTTP request that a WebSocket connection begins with; a browser gets the page.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::connection::{Proof, UpgradedConnection};
use super::head::RequestHead;
use super::page;
use crate::escape::Escaped;
use crate::net::acceptor::PendingJoin;
use crate::net::proxy::forwarded_for;
use crate::net::refusal::{Refusal, refused};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::limits::LimitReached;
use crate::shard::stream::{StreamReader, see_off};
use crate::websocket::{
    Hosts, HttpRequest, Method, Offer, PROTOCOL, Response, Status, Upgrade, host_allowed,
    no_content, origin_allowed, parse, switching,
};

/// How long a client that was too slow may take to let that in.
const LATE: Duration = Duration::from_millis(100);

/// What came of a request.
enum Outcome {
    /// A WebSocket session begins, and these bytes came behind the request.
    WsConnection(Proof, Bytes),
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
        Ok(Ok(Outcome::WsConnection(access, early))) => {
            let permit = pending.permit;
            return shard.serve_websocket(UpgradedConnection {
                layered,
                peer,
                access,
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
                    settings,
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
    settings: &'a Settings,
    /// Whether nobody on the way can read it.
    is_private: bool,
}

/// Why a client may not even ask to join.
struct NoAccess {
    status: Status,
    /// What the client is told.
    why: &'static str,
    /// What the log has besides.
    details: String,
}

impl Visit<'_> {
    /// The answer to a request, and what follows from it.
    fn respond(&self, request: &HttpRequest<'_>, received: &[u8]) -> (Vec<u8>, Outcome) {
        let upgrade = match request.upgrade() {
            Ok(Some(upgrade)) => upgrade,
            Ok(None) => return self.page(request),
            Err(bad) => return (bad.response(received), Outcome::Refused(bad.to_string())),
        };
        match self.access(request, &upgrade) {
            Ok(access) => {
                let protocol = (upgrade.offer == Offer::Mles).then_some(PROTOCOL);
                let early = Bytes::copy_from_slice(&received[request.head_len..]);
                let response = switching(&upgrade.accept, protocol);
                (response, Outcome::WsConnection(access, early))
            }
            Err(no_access) => no_access.answer(request),
        }
    }

    /// The answer to what is no upgrade.
    fn page(&self, request: &HttpRequest<'_>) -> (Vec<u8>, Outcome) {
        if request.method == Method::Options {
            return (no_content(), Outcome::Answered);
        }
        let websocket = &self.settings.websocket;
        if !host_allowed(request.host, self.hosts(), &websocket.origins) {
            let refusal = NoAccess {
                status: Status::MISDIRECTED,
                why: "without a key this server goes by its address and by localhost alone; other \
                      names have to be listed, as in --ws-origin http://NAME",
                details: format!(": asked for as {}", Escaped(request.host)),
            };
            return refusal.answer(request);
        }
        let with_body = request.method == Method::Get;
        let page = page::response(request.path, websocket.page, with_body);
        (page, Outcome::Answered)
    }

    /// What the client may join, or why it may not even ask.
    fn access(&self, request: &HttpRequest<'_>, upgrade: &Upgrade<'_>) -> Result<Proof, NoAccess> {
        let refuse = |status, why| NoAccess {
            status,
            why,
            details: String::new(),
        };
        if upgrade.offer == Offer::Others {
            let why = "the only subprotocol here is mles-websocket";
            return Err(refuse(Status::BAD_REQUEST, why));
        }
        let allowed = &self.settings.websocket.origins;
        if !origin_allowed(upgrade.origin, request.host, self.hosts(), allowed) {
            let (origin, host) = (upgrade.origin.unwrap_or_default(), request.host);
            return Err(NoAccess {
                details: format!(": a page of {} at {}", Escaped(origin), Escaped(host)),
                ..refuse(
                    Status::FORBIDDEN,
                    "this origin is not allowed (--ws-origin)",
                )
            });
        }
        if self.needs_no_key() {
            return Ok(Proof::Any);
        }
        let keyring = &self.settings.keyring;
        match upgrade.bearer {
            Some(_) if !self.is_private => Err(refuse(
                Status::FORBIDDEN,
                "Authorization: Bearer shows the key to everybody on the way: it is taken inside of TLS \
                 only (--tls-ws), from this machine, and from trusted_proxies",
            )),
            Some(bearer) if keyring.is_shared(bearer) => Ok(Proof::Any),
            Some(_) => Err(refuse(Status::UNAUTHORIZED, "wrong key")),
            None => Ok(Proof::Hashes(upgrade.auth.clone())),
        }
    }

    /// What a page of ours may be asked for by. Where no key protects the channels, a browser that can
    /// reach this server must not be led here by a name of somebody else's.
    fn hosts(&self) -> Hosts {
        if self.needs_no_key() {
            Hosts::Fixed
        } else {
            Hosts::Any
        }
    }

    fn needs_no_key(&self) -> bool {
        self.settings.websocket.trust || !self.settings.keyring.is_secret()
    }
}

impl NoAccess {
    fn answer(self, request: &HttpRequest<'_>) -> (Vec<u8>, Outcome) {
        let Self {
            status,
            why,
            details,
        } = self;
        let with_body = request.method != Method::Head;
        let response = Response::text(status, &[], &format!("{why}\n"), with_body);
        (response, Outcome::Refused(format!("{why}{details}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::protocol::Keyring;

    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    /// The status of the answer, and what the log has if it is a refusal.
    fn answer(settings: &Settings, is_private: bool, head: &str) -> (u16, Option<String>) {
        let head = format!("{head}\r\n");
        let visit = Visit {
            settings,
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
