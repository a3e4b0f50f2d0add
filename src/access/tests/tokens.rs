//! What tokens are good for, in each form in which they are shown.

use serde_json::{Value, json};

use super::*;

const TOKEN_SECRET: &[u8] = b"a secret that is as long as the hash";
const NOW: u64 = 1_800_000_000;

/// A form in which a token is shown.
#[derive(Clone, Copy, Debug)]
enum Form {
    Frame,
    Bearer,
    Query,
    Body,
    Greeting,
}

const FORMS: [Form; 5] = [
    Form::Frame,
    Form::Bearer,
    Form::Query,
    Form::Body,
    Form::Greeting,
];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(NOW)
}

fn token(claims: &Value) -> String {
    let key = SigningKey::parse(TOKEN_SECRET).unwrap();
    key.sign(claims, None).unwrap()
}

fn of_alice() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// Settings with a key for tokens beside those of `auth`.
fn with_tokens(auth: Auth) -> Settings {
    let mut settings = settings(auth);
    settings.tokens.keys = vec![TokenKey::secret(TOKEN_SECRET)];
    settings
}

fn show(
    access: &Access,
    form: Form,
    text: &str,
    is_private: bool,
    uid: &str,
) -> Result<Rights, Denied> {
    let (bearer, query) = match form {
        Form::Bearer => (Some(text), None),
        Form::Query => (None, Some(text)),
        Form::Frame | Form::Body | Form::Greeting => (None, None),
    };
    let credentials = Credentials {
        origin: None,
        host: "localhost",
        bearer,
        token: query,
        auth: &[],
        is_private,
    };
    let request = &access.request(&credentials, now())?;
    let shown = ShownToken { text, is_private };
    let proof = match form {
        Form::Frame => Proof::Token(shown),
        Form::Bearer | Form::Query => by_request(request),
        Form::Body => Proof::Request {
            request,
            token: Some(shown),
        },
        Form::Greeting => Proof::Greeting {
            request,
            auth: None,
            token: Some(shown),
        },
    };
    access.join(proof, CLIENT.parse().unwrap(), uid, "room", now())
}

#[test]
fn a_token_lets_its_own_uid_in_in_every_form() {
    for auth in [NOTHING, SHARED, ADDRESS] {
        let access = Access::new(&with_tokens(auth));
        for form in FORMS {
            let good = token(&of_alice());
            let rights = show(&access, form, &good, true, "alice").unwrap();
            assert!(matches!(rights.subject(), Some(Subject::Token("alice"))));
            let over = now() + std::time::Duration::from_secs(90);
            assert_eq!(access.expiry(&rights), Some(over), "{form:?}");
            assert!(rights.hides_keys());
            let other = show(&access, form, &good, true, "bob");
            assert_eq!(other, Err(TokenError::Subject.into()), "{form:?}");
            let expired = token(&json!({"sub": "alice", "exp": NOW - 31}));
            let expired = show(&access, form, &expired, true, "alice");
            assert_eq!(expired, Err(TokenError::Expired.into()), "{form:?}");
            let in_clear = show(&access, form, &good, false, "alice");
            let is_refused = matches!(in_clear, Err(Denied::TokenInClear | Denied::KeyInClear));
            assert!(is_refused, "{form:?} {in_clear:?}");
        }
    }
}

#[test]
fn where_there_are_only_tokens_nobody_joins_without_one() {
    let access = Access::new(&with_tokens(NOTHING));
    for proof in [
        Proof::Key(Key(1)),
        Proof::Key(key(None, None)),
        by_request(&RequestProof::default()),
    ] {
        let denied = join(&access, proof).unwrap_err();
        assert!(matches!(
            denied,
            Denied::WrongKey { .. } | Denied::WrongAuth { .. }
        ));
    }
    for kind in [ListenerKind::Mles, ListenerKind::WebSocket] {
        let checked = check_listener(&with_tokens(NOTHING), kind, "[::]:1".parse().unwrap());
        assert_eq!(checked, Ok(()), "{kind:?}");
    }
}

#[test]
fn where_nothing_has_to_be_proved_any_token_is_taken() {
    let access = access(ANYONE);
    for form in FORMS {
        for is_private in [true, false] {
            let rights = show(&access, form, "x.y.z", is_private, "alice").unwrap();
            assert_eq!(access.expiry(&rights), None, "{form:?}");
        }
    }
}

#[test]
fn a_token_says_what_its_client_may_do_or_the_rules_do() {
    let mut settings = with_tokens(SHARED);
    let subscribe = json!({"channel": "room", "allow": ["subscribe"]});
    let narrow = token(&json!({"sub": "alice", "exp": NOW, "channels": [subscribe]}));
    let elsewhere = token(&json!({"sub": "alice", "exp": NOW, "channels": ["other"]}));
    let plain = token(&of_alice());
    let permissions = |settings: &Settings, token: &str| {
        let access = Access::new(settings);
        let shown = show(&access, Form::Frame, token, true, "alice");
        shown.map(|rights| rights.permissions())
    };
    let client = Permissions::ALL.without(Permissions::PEER);
    assert_eq!(permissions(&settings, &narrow), Ok(Permissions::SUBSCRIBE));
    assert!(matches!(
        permissions(&settings, &elsewhere),
        Err(Denied::NoRight { .. })
    ));
    assert_eq!(permissions(&settings, &plain), Ok(client));
    let rule = |holder, allow| AccessRule {
        holder,
        uid: NamePattern::any(),
        channel: NamePattern::any(),
        allow,
    };
    settings.rules = vec![rule(RuleHolder::Key("default".to_owned()), client)];
    assert!(matches!(
        permissions(&settings, &plain),
        Err(Denied::NoRight { .. })
    ));
    settings
        .rules
        .push(rule(RuleHolder::Token, Permissions::PUBLISH));
    assert_eq!(permissions(&settings, &plain), Ok(Permissions::PUBLISH));
    assert_eq!(permissions(&settings, &narrow), Ok(Permissions::SUBSCRIBE));
}

#[test]
fn a_session_keeps_its_rights_for_as_long_as_its_token_counts() {
    let mut settings = with_tokens(SHARED);
    let access = Access::new(&settings);
    let rights = show(&access, Form::Frame, &token(&of_alice()), true, "alice").unwrap();
    let again = |access: &Access, later: u64| {
        let now = now() + std::time::Duration::from_secs(later);
        access.refresh(&rights, "alice", "room", now).map(drop)
    };
    assert_eq!(again(&access, 89), Ok(()));
    assert_eq!(again(&access, 90), Err(TokenError::Expired.into()));
    settings.tokens.keys.insert(
        0,
        TokenKey::secret(b"a new secret for tokens, for later ones"),
    );
    assert_eq!(again(&Access::new(&settings), 1), Ok(()));
    settings.tokens.keys.pop();
    assert_eq!(
        again(&Access::new(&settings), 1),
        Err(TokenError::Signature.into())
    );
    settings = with_tokens(SHARED);
    settings.tokens.audience = Some("chat".to_owned());
    assert_eq!(
        again(&Access::new(&settings), 1),
        Err(TokenError::Audience.into())
    );
}

#[test]
fn a_secret_is_tried_before_a_bearer_is_taken_for_a_token() {
    let mut settings = with_tokens(SHARED);
    settings.keyring = Keyring::new(Some("a.b.c".to_owned()), None);
    let access = Access::new(&settings);
    assert!(show(&access, Form::Bearer, "a.b.c", true, "anyone").is_ok());
    let denied = show(&access, Form::Bearer, "a.b.d", true, "anyone");
    assert_eq!(denied, Err(TokenError::Malformed.into()));
    let denied = show(&access, Form::Bearer, "secret", true, "anyone");
    assert_eq!(denied, Err(Denied::WrongSecret));
}
