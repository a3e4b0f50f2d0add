use std::sync::OnceLock;

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};

use super::key::BadTokenKey;
use super::*;
use crate::access::Permissions;

const SECRET: &[u8] = b"a secret that is as long as the hash";
const NOW: u64 = 1_800_000_000;
const CLIENT: Permissions = Permissions::ALL.without(Permissions::PEER);
const LEEWAY: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verifier(keys: Vec<TokenKey>) -> TokenVerifier {
    TokenVerifier::new(&TokenSettings {
        keys,
        leeway: LEEWAY,
        ..TokenSettings::default()
    })
}

fn shared() -> TokenVerifier {
    verifier(vec![TokenKey::secret(SECRET)])
}

fn sign(key: &[u8], claims: &Value) -> String {
    SigningKey::parse(key).unwrap().sign(claims, None).unwrap()
}

/// A token whose header and signature are the caller's.
fn forge(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let unsigned = forge(header, claims, "");
    let message = unsigned.trim_end_matches('.');
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn alice() -> Value {
    json!({"sub": "alice", "exp": NOW + 3600})
}

/// Claims that differ from good ones in these.
fn with(more: &Value) -> Value {
    let mut claims = alice();
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn verify(verifier: &TokenVerifier, token: &str) -> Result<Claims, TokenError> {
    verifier.verify(token, at(NOW))
}

fn error_of(verifier: &TokenVerifier, token: &str) -> TokenError {
    verify(verifier, token).expect_err(token)
}

fn error(claims: &Value) -> TokenError {
    error_of(&shared(), &sign(SECRET, claims))
}

/// A pair of keys of each algorithm: private and public, in PEM.
fn pairs() -> &'static [(&'static str, String, String)] {
    static PAIRS: OnceLock<Vec<(&str, String, String)>> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let pair = |name, algorithm| {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            (name, pair.serialize_pem(), pair.public_key_pem())
        };
        vec![
            pair("RS256", &PKCS_RSA_SHA256),
            pair("ES256", &PKCS_ECDSA_P256_SHA256),
            pair("EdDSA", &PKCS_ED25519),
        ]
    })
}

#[test]
fn a_token_of_each_algorithm_is_verified_with_its_own_key_only() {
    let secret = ("HS256", String::from_utf8(SECRET.to_vec()).unwrap());
    let secret = (secret.0, secret.1.clone(), secret.1);
    let all: Vec<_> = pairs().iter().chain([&secret]).collect();
    for (name, private, _) in &all {
        let token = sign(private.as_bytes(), &alice());
        let (header, _) = read_unverified(&token).unwrap();
        assert_eq!(header["alg"], *name);
        for (other, _, public) in &all {
            let verifier = verifier(TokenKey::parse(public.as_bytes()).unwrap());
            match verify(&verifier, &token) {
                Ok(claims) => assert_eq!((name, claims.subject()), (other, "alice")),
                Err(error) => {
                    assert_ne!(name, other);
                    assert_eq!(error, TokenError::Signature, "{name} {other}");
                }
            }
        }
        let mut keys: Vec<_> = all.iter().map(|(.., public)| public.as_bytes()).collect();
        keys.insert(0, b"another secret, and a longer one");
        let keys = keys
            .into_iter()
            .flat_map(|key| TokenKey::parse(key).unwrap());
        assert!(verify(&verifier(keys.collect()), &token).is_ok(), "{name}");
    }
}

#[test]
fn a_public_key_does_not_pass_for_a_secret() {
    for (name, _, public) in pairs() {
        let keys = TokenKey::parse(public.as_bytes()).unwrap();
        let verifier = verifier(keys);
        for secret in [public.as_bytes(), public.trim_end().as_bytes()] {
            for alg in ["HS256", name] {
                let token = hs256(&json!({"alg": alg}), &alice(), secret);
                assert_eq!(error_of(&verifier, &token), TokenError::Signature, "{alg}");
            }
        }
    }
}

#[test]
fn only_four_algorithms_are_taken() {
    for alg in [
        "none", "None", "NONE", "", "HS384", "HS512", "RS512", "PS256", "ES384", "hs256",
    ] {
        for signature in ["", "AA"] {
            let token = forge(&json!({"alg": alg}), &alice(), signature);
            assert_eq!(error_of(&shared(), &token), TokenError::Algorithm, "{alg}");
        }
        let token = hs256(&json!({"alg": alg}), &alice(), SECRET);
        assert_eq!(error_of(&shared(), &token), TokenError::Algorithm, "{alg}");
    }
}

#[test]
fn what_is_signed_cannot_be_changed() {
    let token = sign(SECRET, &alice());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD.encode(with(&json!({"sub": "bob"})).to_string());
    for changed in [
        format!("{header}.{claims}.{signature}"),
        format!("{signed}."),
        format!("{signed}.{}", &signature[1..]),
        format!("{signed}.{}", signature.to_lowercase()),
        sign(b"a secret that is as long as the hasH", &alice()),
    ] {
        assert_eq!(
            error_of(&shared(), &changed),
            TokenError::Signature,
            "{changed}"
        );
    }
}

#[test]
fn what_is_no_token_is_refused_whatever_it_is() {
    let token = sign(SECRET, &alice());
    for text in [
        "",
        ".",
        "..",
        "secret",
        "a.b",
        "a.b.c.d",
        "é.é.é",
        "\0.\0.\0",
        &format!("{token}."),
        &format!("{token}.{token}"),
        &format!(" {token}"),
        &token.replacen('.', "=.", 1),
        &token.replacen("eyJ", "ey+", 1),
        // A header that is no object, or not UTF-8.
        &format!("{}.e30.AA", URL_SAFE_NO_PAD.encode("[]")),
        &format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"\xFF\"}")),
        &forge(&json!({}), &alice(), "AA"),
        &forge(&json!({"alg": 7}), &alice(), "AA"),
    ] {
        assert_eq!(error_of(&shared(), text), TokenError::Malformed, "{text}");
    }
    let long = "x".repeat(MAX_TOKEN_LEN + 1);
    assert_eq!(error_of(&shared(), &long), TokenError::TooLong);
    let filler = json!({"filler": "x".repeat(MAX_TOKEN_LEN)});
    assert_eq!(error(&with(&filler)), TokenError::TooLong);
    let deep = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode("[".repeat(4000)), "e30");
    assert_eq!(error_of(&shared(), &deep), TokenError::Malformed);
}

#[test]
fn a_header_may_name_no_extension() {
    let token = hs256(&json!({"alg": "HS256", "crit": ["b64"]}), &alice(), SECRET);
    assert_eq!(error_of(&shared(), &token), TokenError::Critical);
}

#[test]
fn claims_are_an_object_with_each_claim_once() {
    let signed = |claims: &str| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("{message}.{signature}")
    };
    for claims in [
        "",
        "null",
        "[]",
        r#"["alice",1800003600,null,null,null,null,null]"#,
        r#"{"sub":"alice","exp":1800003600"#,
        r#"{"sub":"alice","exp":1800003600,"sub":"bob"}"#,
        r#"{"sub":"alice","exp":1800003600,"exp":1}"#,
    ] {
        assert_eq!(
            error_of(&shared(), &signed(claims)),
            TokenError::Claims,
            "{claims}"
        );
    }
    assert!(verify(&shared(), &signed(r#" {"exp":1800003600,"sub":"a"}"#)).is_ok());
}

#[test]
fn sub_and_exp_are_needed_and_every_claim_has_its_type() {
    for (claims, named) in [
        (json!({"exp": NOW + 1}), "sub"),
        (with(&json!({"sub": null})), "sub"),
        (with(&json!({"sub": ""})), "sub"),
        (with(&json!({"sub": 7})), "sub"),
        (json!({"sub": "alice"}), "exp"),
        (with(&json!({"exp": null})), "exp"),
        (with(&json!({"exp": "1900000000"})), "exp"),
        (with(&json!({"exp": -1})), "exp"),
        (with(&json!({"nbf": "soon"})), "nbf"),
        (with(&json!({"iat": [1]})), "iat"),
        (with(&json!({"iss": 1})), "iss"),
        (with(&json!({"aud": 1})), "aud"),
        (with(&json!({"aud": [1]})), "aud"),
        (with(&json!({"channels": "room"})), "channels"),
        (with(&json!({"channels": [1]})), "channels"),
        (with(&json!({"channels": ["user.{name}"]})), "channels"),
        (with(&json!({"channels": [{}]})), "channels"),
        (with(&json!({"channels": [{"channel": 1}]})), "channels"),
        (
            with(&json!({"channels": [{"channel": "a", "allow": "publish"}]})),
            "channels",
        ),
        (
            with(&json!({"channels": [{"channel": "a", "allow": ["fly"]}]})),
            "channels",
        ),
    ] {
        let error = error(&claims);
        assert!(
            matches!(error, TokenError::Claim { claim, .. } if claim == named),
            "{claims} {error}"
        );
    }
}

#[test]
fn a_token_is_good_from_nbf_to_exp_with_leeway_on_both_sides() {
    let token = sign(SECRET, &with(&json!({"nbf": NOW, "exp": NOW + 100})));
    let verifier = shared();
    for (now, expected) in [
        (NOW - 31, Some(TokenError::NotYet)),
        (NOW - 30, None),
        (NOW + 129, None),
        (NOW + 130, Some(TokenError::Expired)),
    ] {
        let verified = verifier.verify(&token, at(now));
        assert_eq!(verified.as_ref().err(), expected.as_ref(), "{now}");
        if let Ok(claims) = verified {
            assert_eq!(verifier.expiry(&claims), at(NOW + 130));
            assert_eq!(verifier.recheck(&claims, at(NOW + 129)), Ok(()));
            let late = verifier.recheck(&claims, at(NOW + 130));
            assert_eq!(late, Err(TokenError::Expired));
        }
    }
    assert_eq!(error(&with(&json!({"iat": NOW + 31}))), TokenError::NotYet);
    assert_eq!(
        error(&with(&json!({"iat": NOW + 31, "nbf": NOW}))),
        TokenError::NotYet
    );
    assert_eq!(error(&with(&json!({"exp": 0}))), TokenError::Expired);
    for exp in [json!(NOW as f64 + 0.5), json!(1e300), json!(u64::MAX)] {
        let token = sign(SECRET, &with(&json!({ "exp": exp })));
        let claims = verify(&verifier, &token).unwrap();
        assert!(verifier.expiry(&claims) <= at(253_402_300_799) + LEEWAY);
    }
}

#[test]
fn issuer_and_audience_are_what_the_settings_ask_for() {
    let mut settings = TokenSettings {
        keys: vec![TokenKey::secret(SECRET)],
        ..TokenSettings::default()
    };
    for (issuer, audience, claims, expected) in [
        (None, None, json!({}), None),
        (None, None, json!({"iss": "anyone"}), None),
        (Some("us"), None, json!({"iss": "us"}), None),
        (
            Some("us"),
            None,
            json!({"iss": "them"}),
            Some(TokenError::Issuer),
        ),
        (Some("us"), None, json!({}), Some(TokenError::Issuer)),
        (None, Some("chat"), json!({"aud": "chat"}), None),
        (None, Some("chat"), json!({"aud": ["shop", "chat"]}), None),
        (
            None,
            Some("chat"),
            json!({"aud": ["shop"]}),
            Some(TokenError::Audience),
        ),
        (
            None,
            Some("chat"),
            json!({"aud": []}),
            Some(TokenError::Audience),
        ),
        (None, Some("chat"), json!({}), Some(TokenError::Audience)),
        // It is for somebody, and this server does not know that it is the one.
        (
            None,
            None,
            json!({"aud": "chat"}),
            Some(TokenError::Audience),
        ),
    ] {
        settings.issuer = issuer.map(str::to_owned);
        settings.audience = audience.map(str::to_owned);
        let verified = verify(
            &TokenVerifier::new(&settings),
            &sign(SECRET, &with(&claims)),
        );
        assert_eq!(verified.err(), expected, "{issuer:?} {audience:?} {claims}");
    }
}

#[test]
fn channels_are_patterns_with_all_permissions_of_clients_or_those_that_are_listed() {
    let claims = json!({"channels": [
        "news", {"channel": "user.{uid}"}, {"channel": "log.*", "allow": ["subscribe", "history"]},
        {"channel": "none", "allow": []},
    ]});
    let claims = verify(&shared(), &sign(SECRET, &with(&claims))).unwrap();
    for (channel, permissions) in [
        ("news", CLIENT),
        ("user.alice", CLIENT),
        ("user.bob", Permissions::NONE),
        ("log.1", Permissions::SUBSCRIBE.with(Permissions::HISTORY)),
        ("none", Permissions::NONE),
        ("other", Permissions::NONE),
    ] {
        assert_eq!(claims.permissions(channel), Some(permissions), "{channel}");
    }
    let without = verify(&shared(), &sign(SECRET, &alice())).unwrap();
    assert_eq!(without.permissions("news"), None);
}

#[test]
fn a_key_is_chosen_by_its_name_where_both_have_one() {
    let jwk = |id: &str, secret: &str| json!({"kty": "oct", "kid": id, "k": URL_SAFE_NO_PAD.encode(secret)});
    let jwks = json!({"keys": [jwk("old", "old secret"), jwk("new", "new secret")]});
    let verifier = verifier(TokenKey::parse(jwks.to_string().as_bytes()).unwrap());
    for (id, secret, is_good) in [
        (Some("old"), "old secret", true),
        (Some("new"), "new secret", true),
        (Some("old"), "new secret", false),
        (Some("none"), "new secret", false),
        (None, "new secret", true),
    ] {
        let key = SigningKey::parse(secret.as_bytes()).unwrap();
        let token = key.sign(&alice(), id.map(str::to_owned)).unwrap();
        let verified = verify(&verifier, &token);
        assert_eq!(verified.is_ok(), is_good, "{id:?} {secret}");
        if let Err(error) = verified {
            assert_eq!(error, TokenError::Signature);
        }
    }
}

/// The JWK of a public key in PEM.
fn jwk_of(name: &str, public: &str) -> Value {
    use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public.as_bytes()).unwrap();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let tail = |len: usize| &der[der.len() - len..];
    match name {
        "EdDSA" => json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": encode(tail(32))}),
        "ES256" => json!({"kty": "EC", "crv": "P-256", "use": "sig",
            "x": encode(&tail(64)[..32]), "y": encode(tail(32))}),
        _ => {
            // 2048 bits, and the exponent 65537 behind them.
            let modulus = &tail(5 + 256)[..256];
            json!({"kty": "RSA", "n": encode(modulus), "e": "AQAB"})
        }
    }
}

#[test]
fn a_set_of_keys_has_those_that_are_known_and_leaves_out_others() {
    let mut keys: Vec<_> = pairs()
        .iter()
        .map(|(name, _, public)| jwk_of(name, public))
        .collect();
    let mut encryption = keys[0].clone();
    encryption["use"] = json!("enc");
    let mut other = keys[0].clone();
    other["alg"] = json!("PS256");
    let others = [
        encryption,
        other,
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "LATER"}),
        json!({"kty": "oct", "k": ""}),
    ];
    for one in &keys {
        assert_eq!(
            TokenKey::parse(one.to_string().as_bytes()).unwrap().len(),
            1
        );
    }
    let useless = json!({ "keys": others }).to_string();
    let error = TokenKey::parse(useless.as_bytes()).unwrap_err();
    assert_eq!(error, BadTokenKey::Unsupported);
    keys.splice(1..1, others);
    let set = TokenKey::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert_eq!(set.len(), 3);
    let verifier = verifier(set);
    for (name, private, _) in pairs() {
        let token = sign(private.as_bytes(), &alice());
        assert!(verify(&verifier, &token).is_ok(), "{name}");
    }
}

#[test]
fn a_file_is_told_by_its_content_and_what_is_wrong_is_said() {
    let (_, private, public) = &pairs()[1];
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    for (file, words) in [
        (String::new(), "it is empty"),
        (" \n".to_owned(), "it is empty"),
        (private.clone(), "holds a private key"),
        (p384.public_key_pem(), "its key is not for"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(),
            "its key is not for",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA".to_owned(),
            "is not a PEM file",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(),
            "a certificate",
        ),
        ("{".to_owned(), "is not a JWKS file"),
        ("{}".to_owned(), "is not a JWKS file"),
        (r#"{"keys":[]}"#.to_owned(), "its key is not for"),
        (
            r#"{"keys":[{"kty":"RSA","d":"x"}]}"#.to_owned(),
            "holds a private key",
        ),
        ("two\nlines".to_owned(), "alone in its file"),
    ] {
        let error = TokenKey::parse(file.as_bytes())
            .expect_err(&file)
            .to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
    let both = format!("# keys\n{public}{public}");
    assert_eq!(
        TokenKey::parse(both.as_bytes()).map(|keys| keys.len()),
        Err(BadTokenKey::Lines)
    );
    let both = format!("\u{feff}{public}\r\n{public}");
    assert_eq!(
        TokenKey::parse(both.as_bytes()).map(|keys| keys.len()),
        Ok(2)
    );
    assert!(TokenKey::parse(b"short\n").unwrap()[0].is_weak());
    assert!(!TokenKey::parse(SECRET).unwrap()[0].is_weak());
    assert!(!TokenKey::parse(public.as_bytes()).unwrap()[0].is_weak());
}

#[test]
fn a_token_that_was_good_is_checked_against_the_keys_in_force() {
    let claims = verify(&shared(), &sign(SECRET, &alice())).unwrap();
    let again = TokenKey::parse([SECRET, b"\n"].concat().as_slice()).unwrap();
    assert_eq!(verifier(again).recheck(&claims, at(NOW)), Ok(()));
    let others = verifier(vec![TokenKey::secret(
        b"another secret that is long enough",
    )]);
    assert_eq!(others.recheck(&claims, at(NOW)), Err(TokenError::Signature));
    assert_eq!(
        verifier(Vec::new()).recheck(&claims, at(NOW)),
        Err(TokenError::Signature)
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = format!(
        "{:?} {:?}",
        shared(),
        verify(&shared(), &sign(SECRET, &alice()))
    );
    assert!(!text.contains("as long as"), "{text}");
    assert!(!text.contains("97, 32, 115"), "{text}");
}
