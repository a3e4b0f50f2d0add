mod rights;
mod tokens;

use super::*;
use crate::channel::SlowPolicy;
use crate::protocol::BodyCheck;
use crate::settings::{ListenerKind, WebSocketSettings};

const CLIENT: &str = "192.0.2.7:4711";

/// Settings of a broker in `[auth]`, and its `[ws] trust`.
#[derive(Clone, Copy, Debug, Default)]
struct Auth {
    key: Option<&'static str>,
    addr_key: Option<&'static str>,
    allow_anonymous: bool,
    ws_trust: bool,
}

const NOTHING: Auth = Auth {
    key: None,
    addr_key: None,
    allow_anonymous: false,
    ws_trust: false,
};
const ANYONE: Auth = Auth {
    allow_anonymous: true,
    ..NOTHING
};
const SHARED: Auth = Auth {
    key: Some("secret"),
    // Without effect where there is a key.
    allow_anonymous: true,
    ..NOTHING
};
const ADDRESS: Auth = Auth {
    addr_key: Some("salt"),
    allow_anonymous: true,
    ..NOTHING
};
const TRUSTING: Auth = Auth {
    ws_trust: true,
    ..SHARED
};

fn settings(auth: Auth) -> Settings {
    let owned = |secret: Option<&str>| secret.map(str::to_owned);
    Settings {
        keyring: Keyring::new(owned(auth.key), owned(auth.addr_key)),
        allow_anonymous: auth.allow_anonymous,
        websocket: WebSocketSettings {
            trust: auth.ws_trust,
            ..WebSocketSettings::default()
        },
        ..Settings::default()
    }
}

fn access(auth: Auth) -> Access {
    Access::new(&settings(auth))
}

fn with_names(auth: Auth, names: NameCheck) -> Access {
    let mut settings = settings(auth);
    settings.limits.check_names = names;
    Access::new(&settings)
}

fn join(access: &Access, proof: Proof<'_>) -> Result<Rights, Denied> {
    join_as(access, proof, "alice", "room")
}

fn join_as(access: &Access, proof: Proof<'_>, uid: &str, channel: &str) -> Result<Rights, Denied> {
    access.join(
        proof,
        CLIENT.parse().unwrap(),
        uid,
        channel,
        SystemTime::UNIX_EPOCH,
    )
}

fn by_request(request: &RequestProof) -> Proof<'_> {
    Proof::Request {
        request,
        token: None,
    }
}

/// What a request has proved that has shown the secret itself.
fn by_secret(access: &Access, secret: &str) -> RequestProof {
    let grant = access.keys.of_secret(secret).cloned();
    assert!(grant.is_some());
    RequestProof {
        grant,
        ..RequestProof::default()
    }
}

/// The key that a client shows whose secrets are these.
fn key(shared: Option<&str>, addr_key: Option<&str>) -> Key {
    let owned = |secret: Option<&str>| secret.map(str::to_owned);
    let keyring = Keyring::new(owned(shared), owned(addr_key));
    keyring.session_key(CLIENT.parse().unwrap(), "alice", "room")
}

#[test]
fn a_join_frame_is_taken_with_the_key_of_the_broker() {
    let (shared, address, plain) = (
        key(Some("secret"), None),
        key(None, Some("salt")),
        key(None, None),
    );
    for (auth, right) in [
        (NOTHING, vec![shared, address, plain, Key(1)]),
        (ANYONE, vec![shared, address, plain, Key(1)]),
        (SHARED, vec![shared]),
        (ADDRESS, vec![address]),
        (TRUSTING, vec![shared]),
    ] {
        for shown in [shared, address, plain, Key(1)] {
            let rights = join(&access(auth), Proof::Key(shown));
            assert_eq!(rights.is_ok(), right.contains(&shown), "{auth:?} {shown:?}");
            if let Err(denied) = rights {
                let expected = Denied::WrongKey {
                    uid: "alice".to_owned(),
                    channel: "room".to_owned(),
                    uses_address: auth.key.is_none(),
                };
                assert_eq!(denied, expected, "{auth:?}");
            }
        }
    }
}

#[test]
fn of_a_server_below_either_key_counts() {
    let right = key(Some("secret"), None);
    for (nested, outer, is_taken) in [
        (right, Key(1), true),
        (Key(1), right, true),
        (Key(1), Key(2), false),
    ] {
        let joined = join(&access(SHARED), Proof::Resync { nested, outer });
        assert_eq!(joined.is_ok(), is_taken, "{nested:?} {outer:?}");
    }
}

#[test]
fn servers_have_rights_that_clients_have_not() {
    let key = key(Some("secret"), None);
    let resync = Proof::Resync {
        nested: key,
        outer: key,
    };
    for names in [NameCheck::Off, NameCheck::Channel, NameCheck::Sender] {
        let access = with_names(SHARED, names);
        let client = join(&access, Proof::Key(key)).unwrap();
        let check = client.body_check("alice", "room");
        assert_eq!(client.slow_policy, None);
        assert!(match names {
            NameCheck::Off => check.is_none(),
            NameCheck::Channel => matches!(check, Some(BodyCheck::Channel(_))),
            NameCheck::Sender => matches!(check, Some(BodyCheck::Sender(_))),
        });
        let server = join(&access, resync);
        if names == NameCheck::Sender {
            assert_eq!(server, Err(Denied::ChecksSenders));
            continue;
        }
        let server = server.unwrap();
        assert_eq!(server.slow_policy, Some(SlowPolicy::Disconnect));
        let check = server.body_check("alice", "room");
        assert_eq!(check.is_none(), names == NameCheck::Off);
    }
    let upstream = Rights::UPSTREAM;
    assert!(upstream.body_check("", "room").is_none());
    assert_eq!(upstream.slow_policy, Some(SlowPolicy::Disconnect));
}

/// Strangers do not learn from a refusal how a server is set.
#[test]
fn a_wrong_key_is_told_before_the_check_of_senders() {
    let access = with_names(SHARED, NameCheck::Sender);
    let (nested, outer) = (Key(1), Key(1));
    let denied = join(&access, Proof::Resync { nested, outer }).unwrap_err();
    assert!(matches!(denied, Denied::WrongKey { .. }));
}

#[test]
fn over_websocket_the_shared_secret_counts_in_each_form() {
    let right = key(Some("secret"), None).0;
    let hashes = |hashes: &[u64]| RequestProof {
        hashes: hashes.to_vec(),
        ..RequestProof::default()
    };
    let v2_auth = 0x3f6a_98b0_4d69_b3e1;
    for (request, auth, is_taken, is_greeted) in [
        (by_secret(&access(SHARED), "secret"), None, true, true),
        (hashes(&[]), None, false, false),
        (hashes(&[right]), None, true, true),
        (hashes(&[1, right]), Some(1), true, true),
        (hashes(&[1]), Some(1), false, false),
        (hashes(&[]), Some(v2_auth), false, true),
        // Each hash is for its own protocol.
        (hashes(&[v2_auth]), Some(right), false, false),
    ] {
        let joined = join(&access(SHARED), by_request(&request));
        assert_eq!(joined.is_ok(), is_taken, "{request:?}");
        let proof = Proof::Greeting {
            request: &request,
            auth,
            token: None,
        };
        let joined = join(&access(SHARED), proof);
        assert_eq!(joined.is_ok(), is_greeted, "{proof:?}");
        if let Err(denied) = joined {
            let text = "wrong or missing auth for uid alice and channel room";
            assert_eq!(denied.to_string(), text);
        }
    }
}

#[test]
fn what_a_request_proves_depends_on_the_keys_of_the_broker() {
    let none = RequestProof::default();
    let secret = || by_secret(&access(SHARED), "secret");
    for (auth, bearer, is_private, proved) in [
        (NOTHING, None, false, Ok(none.clone())),
        (NOTHING, Some("x"), false, Ok(none.clone())),
        (ANYONE, None, false, Ok(none.clone())),
        (TRUSTING, None, false, Ok(none.clone())),
        (TRUSTING, Some("x"), false, Ok(none.clone())),
        (TRUSTING, Some("x"), true, Ok(none.clone())),
        (TRUSTING, Some("secret"), false, Ok(none.clone())),
        (TRUSTING, Some("secret"), true, Ok(secret())),
        (SHARED, None, false, Ok(none.clone())),
        (SHARED, Some("secret"), true, Ok(secret())),
        (SHARED, Some("x"), true, Err(Denied::WrongSecret)),
        (SHARED, Some("secret"), false, Err(Denied::KeyInClear)),
        (SHARED, Some("x"), false, Err(Denied::KeyInClear)),
        (ADDRESS, None, true, Ok(none)),
        (ADDRESS, Some("salt"), true, Err(Denied::WrongSecret)),
    ] {
        let shown = Credentials {
            origin: None,
            host: "chat.example",
            bearer,
            token: None,
            auth: &[],
            is_private,
        };
        assert_eq!(
            access(auth).request(&shown, SystemTime::UNIX_EPOCH),
            proved,
            "{auth:?} {bearer:?}"
        );
    }
}

#[test]
fn a_name_at_the_limit_is_taken_and_a_longer_one_denied() {
    let mut settings = settings(ANYONE);
    (settings.limits.max_uid, settings.limits.max_channel_name) = (3, 5);
    let access = Access::new(&settings);
    for (uid, channel, too_long) in [
        ("bob", "rooms", None),
        ("", "", None),
        ("anna", "rooms", Some(("uid", 4, 3))),
        ("bob", "places", Some(("channel name", 6, 5))),
        // In bytes.
        ("béb", "rooms", Some(("uid", 4, 3))),
        ("anna", "places", Some(("uid", 4, 3))),
    ] {
        let denied = too_long.map(|(what, len, limit)| Denied::NameTooLong { what, len, limit });
        for proof in [
            Proof::Key(Key(1)),
            by_request(&RequestProof::default()),
            Proof::Greeting {
                request: &RequestProof::default(),
                auth: None,
                token: None,
            },
        ] {
            let joined = join_as(&access, proof, uid, channel);
            assert_eq!(joined.err(), denied, "{uid} {channel} {proof:?}");
        }
        assert_eq!(access.check_names(uid, channel).err(), denied);
    }
}

#[test]
fn a_listener_takes_somebody_and_not_just_anybody() {
    use ListenerFault::{NoWebSocketKey, Unprotected};
    let both = |fault| (fault, fault);
    for (auth, near, far) in [
        (NOTHING, both(None), both(Some(Unprotected))),
        (ANYONE, both(None), both(None)),
        (SHARED, both(None), both(None)),
        (
            ADDRESS,
            (None, Some(NoWebSocketKey)),
            (None, Some(NoWebSocketKey)),
        ),
        (TRUSTING, both(None), both(None)),
        (
            Auth {
                allow_anonymous: false,
                ..TRUSTING
            },
            both(None),
            (None, Some(Unprotected)),
        ),
    ] {
        for (address, (plain, web)) in [
            ("127.0.0.1:1", near),
            ("[::ffff:127.0.0.1]:1", near),
            ("192.0.2.1:1", far),
            ("[::]:1", far),
        ] {
            for (kind, fault) in [
                (ListenerKind::Mles, plain),
                (ListenerKind::MlesTls, plain),
                (ListenerKind::WebSocket, web),
                (ListenerKind::WebSocketTls, web),
            ] {
                let checked = check_listener(&settings(auth), kind, address.parse().unwrap());
                assert_eq!(checked.err(), fault, "{auth:?} {kind:?} {address}");
            }
        }
    }
}

#[test]
fn what_a_client_chose_is_escaped_and_not_told_back() {
    let shown = Credentials {
        origin: Some("https://\"\tx"),
        host: "chat.example",
        bearer: None,
        token: None,
        auth: &[],
        is_private: true,
    };
    let denied = access(SHARED)
        .request(&shown, SystemTime::UNIX_EPOCH)
        .unwrap_err();
    assert_eq!(denied.reason(), "this origin is not allowed (--ws-origin)");
    let text =
        "this origin is not allowed (--ws-origin): a page of https://\\\"\\tx at chat.example";
    assert_eq!(denied.to_string(), text);
    let denied = join_as(&access(SHARED), Proof::Key(Key(1)), "a\nb", "room");
    assert!(denied.unwrap_err().to_string().contains("uid a\\nb and"));
}
