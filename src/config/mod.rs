//! Configuration: a TOML file, the environment and options become checked [`Settings`].
//!
//! [`OPTIONS`] is the one list of what can be set. Key in the file, environment variable and option
//! are all made from an entry's name (`max_frame` in `[limits]`, `MLES_MAX_FRAME`,
//! `--max-frame`), and all three are read by the same code, so they cannot differ in what they
//! accept.
//!
//! Invariants: a later layer wins (file, then environment, then options); a value that is not
//! understood, and a key that is not known, is an error wherever it stands, even if a later layer
//! would replace it; what leaves this module as [`Resolved`] has been checked as a whole. All
//! errors of one start are reported together, each with its place.
//!
//! This module must not start anything, write anything, or show a secret.

mod check;
mod env;
mod error;
mod file;
mod form;
mod key;
mod listeners;
mod option;
mod origin;
mod print;
mod resolve;
mod table;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::settings::Settings;

pub(crate) use env::Environment;
pub(crate) use error::Problem;
pub(crate) use form::{Arity, Given};
pub(crate) use key::KeySources;
pub(crate) use option::{Opt, Section};
pub(crate) use origin::Origin;
pub(crate) use print::AsToml;
pub(crate) use resolve::{Resolved, Sources, resolve};
pub(crate) use table::OPTIONS;

pub(crate) use crate::protocol::DEFAULT_PORT;

/// The port for WebSocket, by custom.
pub(crate) const WEBSOCKET_PORT: u16 = 8076;

/// The options that say where to listen.
pub(crate) const LISTENERS: [&str; 4] = ["listen", "tls", "tls_ws", "ws"];

/// What `mles serve` is told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// What the broker needs to know.
    pub(crate) settings: Settings,
    /// Where the broker's keyring comes from.
    pub(crate) secrets: Secrets,
    /// What is logged, and how.
    pub(crate) log: LogSettings,
}

impl Default for Config {
    /// For the first minute, a browser can be used too; what listens is up to whoever gives any
    /// listener, see [`resolve`].
    fn default() -> Self {
        let mut settings = Settings::default();
        settings.websocket.listen = vec![(Ipv4Addr::LOCALHOST, WEBSOCKET_PORT).into()];
        Self {
            settings,
            secrets: Secrets::default(),
            log: LogSettings::default(),
        }
    }
}

/// Secrets as they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// The shared key.
    pub(crate) key: Option<Secret>,
    /// A file that holds the shared key.
    pub(crate) key_file: Option<PathBuf>,
    /// The address key.
    pub(crate) addr_key: Option<Secret>,
}

/// A string that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<set>")
    }
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// How a log line looks.
    pub(crate) format: LogFormat,
    /// A level, or levels by module: `info`, `warn,mles::shard=debug`.
    pub(crate) level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: "info".to_owned(),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}
