//! The shared key of servers and clients: the place that counts of those that may hold it, and its
//! file.
//!
//! Every command follows one rule: an option wins over the environment, and that over the configuration
//! file, whether the key itself stands there or the name of its file. Both in one place is an error.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::{Fault, Problem};
use super::model::Secret;
use super::origin::ValueOrigin;

/// Largest key file in bytes: anything larger is the wrong file.
const MAX_KEY_FILE: u64 = 4096;
/// Folders in which the system or a container keeps secrets for one service. Permissions there are not
/// for its user to set.
const KEPT_FOR_US: [&str; 2] = ["/run/credentials", "/run/secrets"];
/// The bit that lets every user read a file.
const ALL_READ: u32 = 0o004;
/// The bit that lets every user pass through a folder.
const ALL_PASS: u32 = 0o001;

/// The places that may hold the shared key, each with the layer that says so.
#[derive(Debug, Default)]
pub(crate) struct KeySources {
    pub(crate) key: Option<(Secret, ValueOrigin)>,
    pub(crate) file: Option<(PathBuf, ValueOrigin)>,
}

impl KeySources {
    /// Returns the key of the strongest source, if there is any. What is allowed but probably not
    /// meant goes to `warnings`.
    ///
    /// # Errors
    ///
    /// When two sources are equally strong, and when the file cannot be used.
    pub(crate) fn resolve(self, warnings: &mut Vec<String>) -> Result<Option<Secret>, Problem> {
        let Some((path, file_origin)) = self.file else {
            return Ok(self.key.map(|(key, _)| key));
        };
        if let Some((key, key_origin)) = self.key {
            if key_origin.rank() > file_origin.rank() {
                return Ok(Some(key));
            }
            if key_origin.rank() == file_origin.rank() {
                return Err(Problem {
                    origin: file_origin,
                    fault: Fault::KeyTwice,
                });
            }
        }
        let key = read_key_file(&path, warnings).map_err(|fault| Problem {
            origin: file_origin,
            fault,
        })?;
        Ok(Some(key))
    }
}

/// Reads the key that stands in a file, alone on its first line.
pub(super) fn read_key_file(path: &Path, warnings: &mut Vec<String>) -> Result<Secret, Fault> {
    let failed = |source| Fault::KeyFile {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let mut text = String::new();
    // No more is read than a key can have: the file may be a device without an end.
    let mut start = file.take(MAX_KEY_FILE + 1);
    start.read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_KEY_FILE {
        return Err(failed(io::Error::other("larger than a key can be")));
    }
    let key = text.trim_start_matches('\u{feff}');
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err(Fault::KeyFileEmpty(path.to_owned()));
    }
    if key.contains(['\r', '\n']) {
        return Err(Fault::KeyFileLines(path.to_owned()));
    }
    if is_open_to_all(path, &about) {
        warnings.push(format!(
            "every user of this machine can read the key file {}; `chmod o= {0}` mends that",
            path.display()
        ));
    }
    Ok(Secret(key.to_owned()))
}

/// Returns `true` if any user can read the file: it says so itself, and so does every folder above.
pub(super) fn is_open_to_all(path: &Path, about: &Metadata) -> bool {
    if !about.is_file() || about.mode() & ALL_READ == 0 {
        return false;
    }
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let is_passed = |folder: &Path| {
        let about = folder.metadata();
        about.is_ok_and(|about| about.mode() & ALL_PASS != 0)
    };
    !KEPT_FOR_US.iter().any(|kept| path.starts_with(kept))
        && path.ancestors().skip(1).all(is_passed)
}
