//! The files with keys that verify tokens.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::Fault;
use super::key::is_open_to_all;
use crate::access::TokenKey;

/// Largest file in bytes: a set of keys has a few KiB.
const MAX_FILE: u64 = 1 << 20;

/// Reads the keys in all files. What is allowed but probably not meant goes to `warnings`.
///
/// # Errors
///
/// A file cannot be read, or holds no keys.
pub(super) fn read(paths: &[PathBuf], warnings: &mut Vec<String>) -> Result<Vec<TokenKey>, Fault> {
    let mut keys = Vec::new();
    for path in paths {
        let found = read_one(path, warnings).map_err(|why| Fault::TokenKeys {
            path: path.clone(),
            why,
        })?;
        keys.extend(found);
    }
    Ok(keys)
}

fn read_one(path: &Path, warnings: &mut Vec<String>) -> Result<Vec<TokenKey>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    // The file may be a device without an end.
    let read = file.take(MAX_FILE + 1).read_to_end(&mut content);
    read.map_err(|error| error.to_string())?;
    if content.len() as u64 > MAX_FILE {
        return Err("larger than a file with keys can be".to_owned());
    }
    let keys = TokenKey::parse(&content).map_err(|bad| bad.to_string())?;
    let path_shown = path.display();
    if keys.iter().any(TokenKey::is_weak) {
        warnings.push(format!(
            "the secret for tokens in {path_shown} has less than 32 bytes: whoever has a token can find it by trying; \
             `openssl rand -hex 32` makes a better one"
        ));
    }
    if keys.iter().any(TokenKey::is_secret) && is_open_to_all(path, &about) {
        warnings.push(format!(
            "every user of this machine can read the secret for tokens in {path_shown}; `chmod o= {path_shown}` mends \
             that"
        ));
    }
    Ok(keys)
}
