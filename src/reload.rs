//! Reload: what came of it, and how others than the program ask for it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::settings::ListenerKind;

/// The name of the certificates in a report, where their files hold others than before.
pub(crate) const CERTIFICATES: &str = "certificates";

/// Outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadReport {
    /// Names of settings that have changed and are in force now; `certificates` if their files hold others.
    pub changed: Vec<String>,
    /// Names of settings that have changed and keep their old values until a restart.
    pub needs_restart: Vec<String>,
    /// Listeners that were opened, with the ports that the system chose.
    pub opened: Vec<(ListenerKind, SocketAddr)>,
    /// Listeners that were closed. Sessions that came by them stay.
    pub closed: Vec<(ListenerKind, SocketAddr)>,
    /// Number of sessions that were ended because they had lost their rights.
    pub sessions_ended: u64,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = |list: &[(ListenerKind, SocketAddr)]| {
            let names = list
                .iter()
                .map(|(kind, address)| format!("{address} ({kind})"));
            names.collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        for (what, names) in [
            ("changed", self.changed.join(", ")),
            ("opened", addresses(&self.opened)),
            ("closed", addresses(&self.closed)),
        ] {
            if !names.is_empty() {
                parts.push(format!("{what}: {names}"));
            }
        }
        if parts.is_empty() {
            parts.push("no setting has changed".to_owned());
        }
        if self.sessions_ended > 0 {
            parts.push(format!(
                "sessions ended that have lost their rights: {}",
                self.sessions_ended
            ));
        }
        if !self.needs_restart.is_empty() {
            let names = self.needs_restart.join(", ");
            parts.push(format!("waits for a restart: {names}"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Reads the configuration again and puts it in force. Fails with the reason on one line. Blocks.
pub(crate) type ReloadFn = Arc<dyn Fn() -> Result<ReloadReport, String> + Send + Sync>;

/// Reloads the configuration for those who do not know where it is. An embedded broker has none.
#[derive(Default)]
pub(crate) struct ReloadHook(OnceLock<ReloadFn>);

impl ReloadHook {
    /// Sets what reloads, once.
    #[cfg(feature = "cli")]
    pub(crate) fn set(&self, reload: ReloadFn) {
        let _ = self.0.set(reload);
    }

    /// Returns what reloads; `None` if nobody can.
    pub(crate) fn get(&self) -> Option<ReloadFn> {
        self.0.get().cloned()
    }
}

impl fmt::Debug for ReloadHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReloadHook")
            .field(&self.0.get().is_some())
            .finish()
    }
}
