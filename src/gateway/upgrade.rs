//! Decides about requests for an upgrade to WebSocket.

use std::time::SystemTime;

use bytes::Bytes;
use http::Response;

use super::refusal::Rejection;
use super::response::switching;
use crate::access::{Access, Credentials, RequestProof};
use crate::shard::refusal::Refusal;
use crate::websocket::{HttpRequest, Offer, Subprotocol};

/// The facts about a client that its request for an upgrade has told.
#[derive(Debug)]
pub(super) struct UpgradeTerms {
    /// The key or token that the request has shown.
    pub(super) proof: RequestProof,
    /// The subprotocol that is spoken.
    pub(super) subprotocol: Subprotocol,
    /// Set if nobody on the way can read what passes.
    pub(super) is_private: bool,
}

/// Accepts a request for an upgrade: returns what it has told, and the response. `None` if it asks for something
/// else.
///
/// `is_private`: nobody on the way can read it.
pub(super) fn accept(
    access: &Access,
    request: &HttpRequest<'_>,
    is_private: bool,
) -> Result<Option<(UpgradeTerms, Response<Bytes>)>, Rejection> {
    let Some(upgrade) = request.upgrade()? else {
        return Ok(None);
    };
    let subprotocol = match upgrade.offer {
        Offer::Ours(subprotocol) => subprotocol,
        Offer::Nothing => Subprotocol::Mles,
        Offer::Others => {
            let why = "the subprotocols here are mles-websocket, mles-websocket.resume and mles-websocket.token";
            return Err(Refusal::Fault(why.to_owned()).into());
        }
    };
    let credentials = Credentials {
        origin: upgrade.origin,
        host: request.host,
        bearer: upgrade.bearer,
        token: upgrade.token,
        auth: &upgrade.auth,
        is_private,
    };
    let proof = access.request(&credentials, SystemTime::now());
    let proof = proof.map_err(Refusal::from)?;
    let terms = UpgradeTerms {
        proof,
        subprotocol,
        is_private,
    };
    Ok(Some((terms, switching(&upgrade))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::super::page;
    use super::*;
    use crate::protocol::Keyring;
    use crate::settings::Settings;
    use crate::websocket::parse;

    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    /// The status of the answer, and what the log has if it is a refusal.
    fn answer(settings: &Settings, is_private: bool, head: &str) -> (u16, Option<String>) {
        let head = format!("{head}\r\n");
        let access = Access::new(settings);
        let (request, _) = parse(head.as_bytes()).unwrap().unwrap();
        let accepted = accept(&access, &request, is_private).and_then(|accepted| match accepted {
            Some((_, response)) => Ok(response),
            None => page::answer(&access, settings.websocket.page, &request),
        });
        match accepted {
            Ok(response) => (response.status().as_u16(), None),
            Err(rejection) => {
                let status = rejection.response().status().as_u16();
                (status, Some(rejection.into_refusal().to_string()))
            }
        }
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
