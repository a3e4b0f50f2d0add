//! The configuration of `mles serve`, as the layers make it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::settings::Settings;

/// The port for WebSocket, by custom.
pub(super) const WEBSOCKET_PORT: u16 = 8076;

/// The port of the admin listener, by custom.
pub(crate) const ADMIN_PORT: u16 = 8078;

/// The options that say where to listen for clients.
pub(super) const LISTENERS: [&str; 4] = ["listen", "tls", "tls_ws", "ws"];

/// Everything that `mles serve` is told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The settings of the broker.
    pub(crate) settings: Settings,
    /// The keys of joins, as they were given; the broker's keyring is made of them.
    pub(crate) secrets: Secrets,
    /// The log.
    pub(crate) log: LogSettings,
}

impl Default for Config {
    /// Returns the settings for a first try, a listener for browsers included. It goes as soon as any
    /// listener is given.
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

/// The secrets that joins are checked with, as they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// The key that all clients share.
    pub(crate) key: Option<Secret>,
    /// A file that holds the shared key.
    pub(crate) key_file: Option<PathBuf>,
    /// Files with keys that verify tokens.
    pub(crate) token_keys: Vec<PathBuf>,
    /// The key that is mixed with a client's address.
    pub(crate) addr_key: Option<Secret>,
    /// A file that holds the key which links show.
    pub(crate) peer_key_file: Option<PathBuf>,
    /// Further keys, each with a name and a file.
    pub(crate) keys: Vec<NamedKeyFile>,
    /// A file that holds the token of the admin listener.
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// A key with a name, and the file that holds it.
#[derive(Clone, Debug)]
pub(crate) struct NamedKeyFile {
    /// Its name, for rules and the log.
    pub(crate) name: String,
    /// The file.
    pub(crate) file: PathBuf,
}

/// A string that `Debug` never shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<set>")
    }
}

/// The log of `mles serve`.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// The form of each line.
    pub(crate) format: LogFormat,
    /// The least level that is logged, or levels by module: `info`, `warn,mles::shard=debug`.
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

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}
