//! Several keys, and rules: who gets which rights, by whatever form of proof.

use super::*;

const HISTORY: Permissions = Permissions::HISTORY;
const PEER: Permissions = Permissions::PEER;
const PUBLISH: Permissions = Permissions::PUBLISH;
const SUBSCRIBE: Permissions = Permissions::SUBSCRIBE;

/// The secret of each key.
const SECRETS: [(&str, &str); 4] = [
    (DEFAULT_KEY, "s-default"),
    ("web", "s-web"),
    ("sensors", "s-sensors"),
    ("links", "s-links"),
];

fn rule(holder: RuleHolder, uid: &str, channel: &str, allow: Permissions) -> AccessRule {
    AccessRule {
        holder,
        uid: uid.parse().unwrap(),
        channel: channel.parse().unwrap(),
        allow,
    }
}

fn key_rule(key: &str, uid: &str, channel: &str, allow: Permissions) -> AccessRule {
    rule(RuleHolder::Key(key.to_owned()), uid, channel, allow)
}

/// Settings with all keys, and no rule.
fn keyed() -> Settings {
    let named = SECRETS[1..].iter();
    Settings {
        keyring: Keyring::new(Some(SECRETS[0].1.to_owned()), None),
        keys: named
            .map(|(name, secret)| NamedKey::new(*name, *secret).unwrap())
            .collect(),
        ..Settings::default()
    }
}

fn ruled(rules: Vec<AccessRule>) -> Settings {
    Settings { rules, ..keyed() }
}

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    /// A secret, or the key made of it.
    Secret(&'static str),
    /// A key of no secret, as clients have it that know none.
    Nothing,
}

/// The forms of proof.
#[derive(Clone, Copy, Debug)]
enum Form {
    Frame,
    Nested,
    Outer,
    Hash,
    Bearer,
    V2Auth,
}

const CLIENTS: [Form; 4] = [Form::Frame, Form::Hash, Form::Bearer, Form::V2Auth];
const SERVERS: [Form; 2] = [Form::Nested, Form::Outer];

fn join_by(
    access: &Access,
    form: Form,
    shown: Shown,
    (uid, channel): (&str, &str),
) -> Result<Rights, Denied> {
    let keyring = match shown {
        Shown::Secret(secret) => Keyring::new(Some(secret.to_owned()), None),
        Shown::Nothing => Keyring::default(),
    };
    let key = keyring.session_key(CLIENT.parse().unwrap(), uid, channel);
    let (bearer, hashes, auth) = match (form, shown) {
        (Form::Bearer, Shown::Secret(secret)) => (Some(secret), vec![], None),
        (Form::Hash, Shown::Secret(_)) => (None, vec![1, key.0], None),
        (Form::V2Auth, Shown::Secret(secret)) => {
            (None, vec![], Some(proof::v2_auth(uid, channel, secret)))
        }
        (Form::V2Auth, Shown::Nothing) => (None, vec![], Some(proof::v2_auth(uid, channel, ""))),
        _ => (None, vec![], None),
    };
    let credentials = Credentials {
        origin: None,
        host: "localhost",
        bearer,
        token: None,
        auth: &hashes,
        is_private: true,
    };
    let request = access.request(&credentials, SystemTime::UNIX_EPOCH)?;
    let other = Key(1);
    let proof = match form {
        Form::Frame => Proof::Key(key),
        Form::Nested => Proof::Resync {
            nested: key,
            outer: other,
        },
        Form::Outer => Proof::Resync {
            nested: other,
            outer: key,
        },
        Form::Hash | Form::Bearer => by_request(&request),
        Form::V2Auth => Proof::Greeting {
            request: &request,
            auth,
            token: None,
        },
    };
    join_as(access, proof, uid, channel)
}

fn is_wrong_key(denied: &Denied) -> bool {
    matches!(
        denied,
        Denied::WrongKey { .. } | Denied::WrongAuth { .. } | Denied::WrongSecret
    )
}

#[test]
fn every_key_is_taken_in_every_form_and_told_by_its_name() {
    let access = Access::new(&keyed());
    for form in CLIENTS.into_iter().chain(SERVERS) {
        for (name, secret) in SECRETS {
            let rights = join_by(&access, form, Shown::Secret(secret), ("alice", "room")).unwrap();
            assert_eq!(rights.key_name(), Some(name), "{form:?}");
            assert!(rights.permits(PUBLISH));
        }
        for shown in [
            Shown::Nothing,
            Shown::Secret("guess"),
            Shown::Secret("s-we"),
        ] {
            let denied = join_by(&access, form, shown, ("alice", "room")).unwrap_err();
            assert!(is_wrong_key(&denied), "{form:?} {shown:?} {denied}");
        }
    }
}

#[test]
fn an_address_key_and_keys_with_names_go_together() {
    let settings = Settings {
        keyring: Keyring::new(None, Some("salt".to_owned())),
        ..keyed()
    };
    let access = Access::new(&settings);
    let by_address = settings
        .keyring
        .session_key(CLIENT.parse().unwrap(), "alice", "room");
    let joined = join(&access, Proof::Key(by_address)).unwrap();
    assert_eq!(joined.key_name(), Some(DEFAULT_KEY));
    let joined = join_by(
        &access,
        Form::Hash,
        Shown::Secret("s-web"),
        ("alice", "room"),
    );
    assert_eq!(joined.unwrap().key_name(), Some("web"));
    // A secret is none for the web if it is mixed with an address.
    let denied = join_by(
        &access,
        Form::Bearer,
        Shown::Secret("salt"),
        ("alice", "room"),
    );
    assert_eq!(denied, Err(Denied::WrongSecret));
}

/// Rules of which each key gets something else.
fn rules() -> Vec<AccessRule> {
    vec![
        key_rule("web", "*", "user.{uid}", SUBSCRIBE.with(HISTORY)),
        key_rule("web", "admin-?", "user.*", PUBLISH),
        key_rule("sensors", "{key}-*", "telemetry.{key}", PUBLISH),
        key_rule("links", "*", "telemetry.*", PEER),
        rule(RuleHolder::Anonymous, "*", "public", SUBSCRIBE),
        rule(RuleHolder::Token, "*", "*", Permissions::ALL),
        rule(RuleHolder::Everybody, "*", "lobby", PUBLISH),
    ]
}

#[test]
fn what_rules_permit_is_the_same_in_every_form() {
    let access = Access::new(&ruled(rules()));
    let none = Permissions::NONE;
    for (shown, uid, channel, expected) in [
        (
            Shown::Secret("s-web"),
            "alice",
            "user.alice",
            SUBSCRIBE.with(HISTORY),
        ),
        (Shown::Secret("s-web"), "alice", "user.bob", none),
        (Shown::Secret("s-web"), "*", "user.bob", none),
        (Shown::Secret("s-web"), "admin-1", "user.bob", PUBLISH),
        (
            Shown::Secret("s-web"),
            "admin-1",
            "user.admin-1",
            SUBSCRIBE.with(HISTORY).with(PUBLISH),
        ),
        (Shown::Secret("s-web"), "admin-10", "user.bob", none),
        (Shown::Secret("s-web"), "alice", "lobby", PUBLISH),
        // No rule for anonymous clients is for those that show a key.
        (Shown::Secret("s-web"), "alice", "public", none),
        (
            Shown::Secret("s-sensors"),
            "sensors-1",
            "telemetry.sensors",
            PUBLISH,
        ),
        (
            Shown::Secret("s-sensors"),
            "web-1",
            "telemetry.sensors",
            none,
        ),
        (
            Shown::Secret("s-sensors"),
            "sensors-1",
            "telemetry.web",
            none,
        ),
        (
            Shown::Secret("s-links"),
            "x",
            "telemetry.x",
            Permissions::ALL.without(PEER),
        ),
        (Shown::Secret("s-links"), "x", "room", none),
        // A key without rules of its own has those that are for everybody.
        (Shown::Secret("s-default"), "alice", "room", none),
        (Shown::Secret("s-default"), "alice", "lobby", PUBLISH),
        (Shown::Nothing, "alice", "public", SUBSCRIBE),
        (Shown::Nothing, "alice", "lobby", PUBLISH),
        (Shown::Nothing, "alice", "user.alice", none),
    ] {
        for form in CLIENTS {
            let about = format!("{form:?} {shown:?} {uid} {channel}");
            match join_by(&access, form, shown, (uid, channel)) {
                Ok(rights) => assert_eq!(rights.permissions(), expected, "{about}"),
                Err(Denied::NoRight { right, .. }) => {
                    assert_eq!((right, expected), (none, none), "{about}");
                }
                Err(denied) => panic!("{about}: {denied}"),
            }
        }
    }
    // Who shows a wrong key is not taken for somebody who shows none.
    for form in CLIENTS {
        let denied = join_by(&access, form, Shown::Secret("guess"), ("alice", "public"));
        assert!(is_wrong_key(&denied.unwrap_err()), "{form:?}");
    }
}

#[test]
fn a_server_below_needs_the_right_and_has_all_others_by_it() {
    for names in [NameCheck::Off, NameCheck::Channel, NameCheck::Sender] {
        let mut settings = ruled(rules());
        settings.limits.check_names = names;
        let access = Access::new(&settings);
        for form in SERVERS {
            let server =
                |secret, channel| join_by(&access, form, Shown::Secret(secret), ("alice", channel));
            let rights = server("s-links", "telemetry.x").unwrap();
            assert_eq!(rights.permissions(), Permissions::ALL);
            // It carries frames of many uids, and of its channel only.
            let check = rights.body_check("alice", "telemetry.x");
            assert!(!matches!(check, Some(BodyCheck::Sender(_))));
            assert_eq!(check.is_none(), names == NameCheck::Off);
            for (secret, channel, right) in [
                ("s-web", "user.alice", PEER),
                ("s-web", "room", PEER),
                ("s-links", "room", PEER),
            ] {
                let denied = server(secret, channel).unwrap_err();
                assert!(
                    matches!(denied, Denied::NoRight { right: lacking, .. } if lacking == right),
                    "{secret} {channel} {denied}"
                );
            }
            assert!(is_wrong_key(&server("guess", "telemetry.x").unwrap_err()));
            // Nobody is a server without a key.
            let denied = join_by(&access, form, Shown::Nothing, ("alice", "public"));
            assert!(is_wrong_key(&denied.unwrap_err()));
        }
        // As a client it is checked as any.
        let client = join_by(
            &access,
            Form::Frame,
            Shown::Secret("s-links"),
            ("alice", "telemetry.x"),
        );
        let check = client.unwrap().body_check("alice", "telemetry.x");
        assert_eq!(
            matches!(check, Some(BodyCheck::Sender(_))),
            names == NameCheck::Sender
        );
    }
}

#[test]
fn without_rules_whoever_may_join_may_do_everything() {
    for settings in [keyed(), settings(SHARED), settings(ANYONE)] {
        let access = Access::new(&settings);
        let shown = if settings.keyring.is_secret() {
            Shown::Secret(if settings.keys.is_empty() {
                "secret"
            } else {
                "s-default"
            })
        } else {
            Shown::Nothing
        };
        for form in CLIENTS {
            let rights = join_by(&access, form, shown, ("alice", "room")).unwrap();
            assert_eq!(rights.permissions(), Permissions::ALL.without(PEER));
        }
    }
}

#[test]
fn rules_without_keys_are_about_names() {
    let settings = Settings {
        rules: vec![rule(RuleHolder::Everybody, "*", "user.{uid}", PUBLISH)],
        ..settings(ANYONE)
    };
    let access = Access::new(&settings);
    for shown in [Shown::Nothing, Shown::Secret("of another server")] {
        for form in CLIENTS {
            let joined = |channel| join_by(&access, form, shown, ("alice", channel));
            assert_eq!(joined("user.alice").unwrap().permissions(), PUBLISH);
            assert!(matches!(joined("room"), Err(Denied::NoRight { .. })));
        }
    }
}

#[test]
fn a_right_that_is_missing_is_named() {
    let access = Access::new(&ruled(rules()));
    let names = ("ali\nce", "user.ali\nce");
    let rights = join_by(&access, Form::Frame, Shown::Secret("s-web"), names).unwrap();
    assert_eq!(rights.require(SUBSCRIBE, names.0, names.1), Ok(()));
    let denied = rights.require(PUBLISH.with(HISTORY), names.0, names.1);
    let denied = denied.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "key web has no publish right for uid ali\\nce and channel user.ali\\nce"
    );
    assert_eq!(denied.reason(), "no publish right in this channel");
    let denied = join_by(&access, Form::Frame, Shown::Nothing, ("a", "b")).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "anonymous has no right at all for uid a and channel b"
    );
    assert_eq!(denied.reason(), "no right at all in this channel");
}

/// Decides anew about a session with other settings.
fn refreshed(rights: &Rights, settings: &Settings, channel: &str) -> Result<Rights, Denied> {
    Access::new(settings).refresh(rights, "alice", channel, SystemTime::UNIX_EPOCH)
}

#[test]
fn a_session_keeps_its_rights_for_as_long_as_its_key_has_them() {
    let before = Access::new(&ruled(rules()));
    let channel = "user.alice";
    for form in CLIENTS {
        let shown = Shown::Secret("s-web");
        let rights = join_by(&before, form, shown, ("alice", channel)).unwrap();
        assert_eq!(
            refreshed(&rights, &ruled(rules()), channel).as_ref(),
            Ok(&rights)
        );
        // Another key has come or gone, or has changed.
        let mut settings = ruled(rules());
        settings.keys.remove(1);
        settings.keys.push(NamedKey::new("new", "s-new").unwrap());
        settings.keyring = Keyring::new(Some("changed".to_owned()), None);
        assert_eq!(refreshed(&rights, &settings, channel).as_ref(), Ok(&rights));
        // A rule has changed.
        settings.rules = vec![key_rule("web", "*", "*", PUBLISH)];
        let changed = refreshed(&rights, &settings, channel).unwrap();
        assert_eq!(changed.permissions(), PUBLISH);
        settings.rules = vec![key_rule("web", "*", "room", PUBLISH)];
        let denied = refreshed(&rights, &settings, channel).unwrap_err();
        assert!(matches!(denied, Denied::NoRight { .. }));
        // There are no rules any more.
        let changed = refreshed(&rights, &keyed(), channel).unwrap();
        assert!(changed.permits(PUBLISH.with(SUBSCRIBE)));
        // The key has gone, or another has its name.
        let mut settings = ruled(rules());
        settings.keys.remove(0);
        let revoked = Err(Denied::KeyRevoked {
            name: "web".to_owned(),
        });
        assert_eq!(refreshed(&rights, &settings, channel), revoked);
        settings.keys.push(NamedKey::new("web", "another").unwrap());
        assert_eq!(refreshed(&rights, &settings, channel), revoked);
        // No key is needed any more: it could come back with whatever it likes.
        let kept = refreshed(&rights, &self::settings(ANYONE), channel).unwrap();
        assert!(kept.permits(PUBLISH.with(SUBSCRIBE)) && kept.grant().is_none());
    }
}

#[test]
fn a_session_without_a_key_ends_when_one_is_needed() {
    let open = Access::new(&settings(ANYONE));
    for form in CLIENTS {
        let rights = join_by(&open, form, Shown::Nothing, ("alice", "public")).unwrap();
        assert_eq!(
            refreshed(&rights, &settings(ANYONE), "public").as_ref(),
            Ok(&rights)
        );
        assert_eq!(
            refreshed(&rights, &keyed(), "public"),
            Err(Denied::KeyNeeded)
        );
        // Rules may still let it in.
        let changed = refreshed(&rights, &ruled(rules()), "public").unwrap();
        assert_eq!(changed.permissions(), SUBSCRIBE);
        let is_web = !matches!(form, Form::Frame);
        let trusting = refreshed(&rights, &settings(TRUSTING), "public");
        assert_eq!(trusting.is_ok(), is_web, "{form:?}");
    }
    let server = join_by(&open, Form::Nested, Shown::Nothing, ("alice", "public")).unwrap();
    assert_eq!(
        refreshed(&server, &ruled(rules()), "public"),
        Err(Denied::KeyNeeded)
    );
}

#[test]
fn a_server_below_ends_with_its_right_and_an_upstream_stays() {
    let access = Access::new(&ruled(rules()));
    let shown = Shown::Secret("s-links");
    let server = join_by(&access, Form::Nested, shown, ("alice", "telemetry.x")).unwrap();
    assert_eq!(
        refreshed(&server, &ruled(rules()), "telemetry.x").as_ref(),
        Ok(&server)
    );
    let clients = vec![key_rule("links", "*", "*", PUBLISH)];
    let denied = refreshed(&server, &ruled(clients), "telemetry.x").unwrap_err();
    assert!(matches!(denied, Denied::NoRight { right, .. } if right == PEER));
    let mut checking = keyed();
    checking.limits.check_names = NameCheck::Sender;
    assert_eq!(
        refreshed(&server, &checking, "telemetry.x"),
        Err(Denied::ChecksSenders)
    );
    let upstream = refreshed(&Rights::UPSTREAM, &ruled(rules()), "room");
    assert_eq!(upstream, Ok(Rights::UPSTREAM));
}

/// What a WebSocket connection has shown at its beginning counts for as long as the secret does.
#[test]
fn a_secret_that_has_changed_opens_no_further_sessions() {
    let before = Access::new(&keyed());
    let proof = by_secret(&before, "s-web");
    let mut settings = keyed();
    let joined = |settings: &Settings| {
        let access = Access::new(settings);
        join_as(&access, by_request(&proof), "alice", "room").map(|rights| rights.grant)
    };
    assert!(joined(&settings).unwrap().is_some());
    settings.keys[0] = NamedKey::new("web", "another").unwrap();
    assert!(is_wrong_key(&joined(&settings).unwrap_err()));
    settings.websocket.trust = true;
    assert_eq!(joined(&settings), Ok(None));
}

#[test]
fn session_keys_are_shown_to_others_only_if_all_have_the_same_rights() {
    let alone = settings(SHARED);
    let mut ruled = settings(SHARED);
    ruled.rules = vec![rule(RuleHolder::Everybody, "*", "*", PUBLISH.with(PEER))];
    for (settings, hides, shown) in [
        (alone, false, Shown::Secret("secret")),
        (settings(ANYONE), false, Shown::Nothing),
        (ruled, true, Shown::Secret("secret")),
        (keyed(), true, Shown::Secret("s-web")),
    ] {
        let access = Access::new(&settings);
        for form in CLIENTS {
            let rights = join_by(&access, form, shown, ("alice", "room")).unwrap();
            assert_eq!(rights.hides_keys(), hides, "{form:?} {shown:?}");
        }
        // What it passes on is compared with what comes back.
        let server = join_by(&access, Form::Nested, shown, ("alice", "room")).unwrap();
        assert!(!server.hides_keys());
        let address = CLIENT.parse().unwrap();
        let key = access.frame_key(address, "alice", "room");
        assert_eq!(key == Key(0), hides);
        assert_ne!(access.link_key(address, "alice", "room"), Key(0));
    }
}

#[test]
fn who_somebody_is_depends_on_the_key() {
    let access = Access::new(&keyed());
    let subject = |secret| {
        let rights = join_by(
            &access,
            Form::Frame,
            Shown::Secret(secret),
            ("alice", "room"),
        );
        rights.unwrap()
    };
    let (web, sensors) = (subject("s-web"), subject("s-sensors"));
    assert_eq!(web.subject(), Some(Subject::Key("web")));
    assert_ne!(web.subject(), sensors.subject());
    assert_eq!(Rights::CLIENT.subject(), None);
}

#[test]
fn a_listener_for_browsers_needs_a_key_that_browsers_can_have() {
    let address = "192.0.2.1:1".parse().unwrap();
    let check = |settings: &Settings| check_listener(settings, ListenerKind::WebSocketTls, address);
    assert_eq!(check(&keyed()), Ok(()));
    let mut by_address = settings(ADDRESS);
    assert_eq!(check(&by_address), Err(ListenerFault::NoWebSocketKey));
    by_address.keys = keyed().keys;
    assert_eq!(check(&by_address), Ok(()));
    let mut for_all = settings(ADDRESS);
    for_all.rules = vec![rule(RuleHolder::Anonymous, "*", "*", SUBSCRIBE)];
    assert_eq!(check(&for_all), Ok(()));
    // Rules alone do not open a server to the network.
    let mut open = settings(NOTHING);
    open.rules = for_all.rules;
    assert_eq!(check(&open), Err(ListenerFault::Unprotected));
}

#[test]
fn no_secret_is_in_what_debug_shows() {
    let settings = ruled(rules());
    let access = Access::new(&settings);
    let rights = join_by(
        &access,
        Form::Bearer,
        Shown::Secret("s-web"),
        ("alice", "user.alice"),
    );
    let proof = by_secret(&access, "s-web");
    for text in [
        format!("{settings:?}"),
        format!("{access:#?}"),
        format!("{rights:?}"),
        format!("{proof:?}"),
    ] {
        assert!(!text.contains("s-"), "{text}");
    }
    let denied = join_by(
        &access,
        Form::Bearer,
        Shown::Secret("s-guess"),
        ("alice", "x"),
    );
    assert!(!format!("{denied:?}").contains("s-guess"));
}
