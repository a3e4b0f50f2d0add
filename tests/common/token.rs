//! Tokens, signed as somebody would whom the broker trusts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use mles::{TokenKey, TokenSettings};
use serde_json::{Value, json};

/// The secret that tokens are signed with.
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
/// A lifetime that no test outlives.
pub const FOREVER: Duration = Duration::from_secs(36_000);

/// Settings that accept tokens of [`token`], until the very time at which they expire.
pub fn settings() -> TokenSettings {
    TokenSettings {
        keys: vec![TokenKey::secret(SECRET)],
        leeway: Duration::ZERO,
        ..TokenSettings::default()
    }
}

/// A token for that uid and all that these channels allow.
pub fn token(uid: &str, lifetime: Duration, channels: &Value) -> String {
    let expires = SystemTime::now() + lifetime;
    sign(SECRET, uid, expires, channels)
}

/// A token for that uid and all channels, good for as long as any test takes.
pub fn lasting(uid: &str) -> String {
    token(uid, FOREVER, &json!(["*"]))
}

/// A token whose time is up.
pub fn expired(uid: &str) -> String {
    sign(
        SECRET,
        uid,
        UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        &json!(["*"]),
    )
}

/// A token that somebody has signed whom the broker does not know.
pub fn foreign(uid: &str) -> String {
    let expires = SystemTime::now() + FOREVER;
    sign(
        b"another secret of more than thirty-two bytes",
        uid,
        expires,
        &json!(["*"]),
    )
}

fn sign(secret: &[u8], uid: &str, expires: SystemTime, channels: &Value) -> String {
    let expires = expires.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = json!({"sub": uid, "exp": expires, "channels": channels});
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret),
    )
    .unwrap()
}
