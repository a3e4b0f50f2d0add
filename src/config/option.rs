//! One option: its names in the file, in the environment and on the command line.

use super::value::Field;

/// A section of the file, and a heading of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Server,
    Tls,
    Ws,
    Auth,
    Token,
    Channel,
    Store,
    Peer,
    Fleet,
    Limits,
    Admin,
    Log,
}

impl Section {
    /// All sections, in the order in which they are shown.
    pub(crate) const ALL: [Self; 12] = [
        Self::Server,
        Self::Tls,
        Self::Ws,
        Self::Auth,
        Self::Token,
        Self::Channel,
        Self::Store,
        Self::Peer,
        Self::Fleet,
        Self::Limits,
        Self::Admin,
        Self::Log,
    ];

    /// Returns its name in the file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Auth => "auth",
            Self::Token => "token",
            Self::Channel => "channel",
            Self::Store => "store",
            Self::Peer => "peer",
            Self::Fleet => "fleet",
            Self::Limits => "limits",
            Self::Admin => "admin",
            Self::Log => "log",
        }
    }

    /// Returns its heading in the help.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Server => "Server, [server] in the file",
            Self::Tls => "TLS, [tls] in the file",
            Self::Ws => "WebSocket, [ws] in the file",
            Self::Auth => "Access, [auth] in the file",
            Self::Token => "Tokens, [token] in the file",
            Self::Channel => "Channels, [channel] in the file",
            Self::Store => "History on disk, [store] in the file",
            Self::Peer => "Upstream servers, [peer] in the file",
            Self::Fleet => "Fleet, [fleet] in the file",
            Self::Limits => "Limits, [limits] in the file",
            Self::Admin => "Admin listener, [admin] in the file",
            Self::Log => "Logs, [log] in the file",
        }
    }
}

/// When a new value comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// At a reload: what runs goes on.
    AtReload,
    /// Only when the server is started again.
    AtRestart,
}

/// One thing that can be set.
#[derive(Clone, Copy)]
pub(crate) struct Opt {
    /// The section it stands in.
    pub(crate) section: Section,
    /// Its name, unique among all options.
    pub(crate) name: &'static str,
    /// Its key in the section if that does not follow from the name, else nothing.
    pub(super) own_key: &'static str,
    /// The sentence in the help.
    pub(crate) help: &'static str,
    /// When a new value comes into force.
    pub(crate) applies: Applies,
    /// The field that it sets, which knows how values are written.
    pub(crate) field: &'static dyn Field,
}

impl Opt {
    /// Returns its key in the section: the name without the section's own in front (`log_level` is
    /// `level` in `[log]`), unless the table has another.
    pub(crate) fn key(&self) -> &'static str {
        if !self.own_key.is_empty() {
            return self.own_key;
        }
        let rest = self.name.strip_prefix(self.section.name());
        let rest = rest.and_then(|rest| rest.strip_prefix('_'));
        rest.unwrap_or(self.name)
    }

    /// Returns the option of the command line, without the dashes in front.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Returns the name of the environment variable.
    pub(crate) fn env(&self) -> String {
        format!("MLES_{}", self.name.to_uppercase())
    }
}

impl std::fmt::Debug for Opt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.section.name(), self.name)
    }
}
