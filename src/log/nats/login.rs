//! What a node shows to NATS servers to be let in.

use std::path::Path;

use async_nats::{Auth, AuthError};
use nkeys::KeyPair;

use crate::settings::FleetLogin;

/// Answers a server that asks who this is, with a signature of `nonce` where that is the way. Reads the secret anew, as it
/// may have been replaced.
pub(super) fn answer(login: &FleetLogin, nonce: &[u8]) -> Result<Auth, AuthError> {
    let mut auth = Auth::new();
    auth.username.clone_from(&login.user);
    if let Some(path) = &login.password_file {
        auth.password = Some(one_line(path)?);
    }
    if let Some(path) = &login.token_file {
        auth.token = Some(one_line(path)?);
    }
    if let Some(path) = &login.nkey_file {
        let key = key_pair(&one_line(path)?, path)?;
        auth.nkey = Some(key.public_key());
        auth.signature = Some(sign(&key, nonce)?);
    }
    if let Some(path) = &login.creds_file {
        let text = read(path)?;
        let (jwt, seed) = Option::zip(
            block(&text, "NATS USER JWT"),
            block(&text, "USER NKEY SEED"),
        )
        .ok_or_else(|| bad(path, &"it is no creds file"))?;
        let key = key_pair(seed, path)?;
        auth.jwt = Some(jwt.to_owned());
        auth.signature = Some(sign(&key, nonce)?);
    }
    Ok(auth)
}

fn read(path: &Path) -> Result<String, AuthError> {
    std::fs::read_to_string(path).map_err(|error| bad(path, &error))
}

/// Reads a file with a secret and a line end.
fn one_line(path: &Path) -> Result<String, AuthError> {
    let text = read(path)?;
    let text = text.trim_start_matches('\u{feff}');
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Returns what stands alone on the line behind the one that says `BEGIN` and the name.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("BEGIN {name}");
    let mut lines = text.lines().skip_while(|line| !line.contains(&begin));
    let content = lines.nth(1)?.trim();
    (!content.is_empty() && !content.starts_with('-')).then_some(content)
}

fn key_pair(seed: &str, path: &Path) -> Result<KeyPair, AuthError> {
    // The error could show what is in the file.
    KeyPair::from_seed(seed.trim()).map_err(|_| bad(path, &"it has no seed of an nkey"))
}

fn sign(key: &KeyPair, nonce: &[u8]) -> Result<Vec<u8>, AuthError> {
    key.sign(nonce).map_err(AuthError::new)
}

fn bad(path: &Path, why: &dyn std::fmt::Display) -> AuthError {
    AuthError::new(format!("cannot log in with {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDS: &str = "-----BEGIN NATS USER JWT-----\neyJ0.abc\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n\
                         -----BEGIN USER NKEY SEED-----\nSUAA\n------END USER NKEY SEED------\n";

    #[test]
    fn the_parts_of_a_creds_file_are_found() {
        assert_eq!(block(CREDS, "NATS USER JWT"), Some("eyJ0.abc"));
        assert_eq!(block(CREDS, "USER NKEY SEED"), Some("SUAA"));
        assert_eq!(
            block("-----BEGIN USER NKEY SEED-----\n", "USER NKEY SEED"),
            None
        );
        assert_eq!(block("SUAA", "USER NKEY SEED"), None);
    }

    #[test]
    fn what_is_no_seed_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("creds");
        std::fs::write(&path, CREDS).unwrap();
        let login = FleetLogin {
            creds_file: Some(path.clone()),
            ..FleetLogin::default()
        };
        let error = answer(&login, b"nonce").err().expect("no seed").to_string();
        assert!(error.contains("has no seed"), "{error}");
        assert!(!error.contains("SUAA"), "{error}");
    }

    #[test]
    fn an_nkey_signs_what_the_server_sends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let key = KeyPair::new_user();
        std::fs::write(&path, format!("{}\n", key.seed().unwrap())).unwrap();
        let login = FleetLogin {
            nkey_file: Some(path),
            ..FleetLogin::default()
        };
        let auth = answer(&login, b"nonce").expect("a login");
        assert_eq!(auth.nkey, Some(key.public_key()));
        key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
    }
}
