//! Origins of values, for error messages.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::option::Opt;

/// The place that a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ValueOrigin {
    /// Nobody set it.
    #[default]
    Default,
    /// A line of the file, counted from 1.
    File { path: Arc<PathBuf>, line: usize },
    /// An environment variable.
    Env(String),
    /// An option of the command line.
    Flag(String),
}

impl ValueOrigin {
    /// Returns the rank of its layer: the higher one wins.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Env(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    pub(super) const fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            _ => 0,
        }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// The origin of each option's value.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueOrigins(HashMap<&'static str, ValueOrigin>);

impl ValueOrigins {
    pub(super) fn set(&mut self, opt: &'static Opt, origin: ValueOrigin) {
        self.0.insert(opt.name, origin);
    }

    /// Returns the origin of the option called `name`.
    pub(super) fn of(&self, name: &str) -> ValueOrigin {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Returns `true` if anyone has set the option called `name`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the place to look at for `options`; `None` if nobody has set any of them.
    pub(crate) fn place_of(&self, options: &[&str]) -> Option<ValueOrigin> {
        Some(self.last_of(options)).filter(|origin| *origin != ValueOrigin::Default)
    }

    /// Returns the origin of whichever of `names` was set by the highest layer, the later line deciding
    /// within a file: the one that a person would change first.
    pub(super) fn last_of(&self, names: &[&str]) -> ValueOrigin {
        let by_place = |origin: &ValueOrigin| (origin.rank(), origin.line());
        let origins = names.iter().map(|name| self.of(name));
        origins.max_by_key(by_place).unwrap_or_default()
    }
}
