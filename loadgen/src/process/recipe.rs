//! How a broker is started: program, arguments, files, and where it has its place.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Ports of loopback and a directory that are one broker's alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The port where clients connect.
    pub(crate) port: u16,
    /// Ports of processes that a broker needs beside its own.
    pub(crate) spare_ports: [u16; 2],
    /// The directory of the broker's files.
    pub(crate) dir: &'a Path,
}

impl<'a> Place<'a> {
    /// Finds ports that were free a moment ago, to go with `dir`.
    ///
    /// # Errors
    /// The system has no port left.
    pub(super) fn find(dir: &'a Path) -> io::Result<Self> {
        // All three are held before one is let go, so that they differ.
        let [port, first, second] = [free()?, free()?, free()?];
        Ok(Self {
            port: port.local_addr()?.port(),
            spare_ports: [first.local_addr()?.port(), second.local_addr()?.port()],
            dir,
        })
    }

    /// Returns the address where clients connect.
    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Returns that address as an argument.
    pub(crate) fn listen(&self) -> String {
        self.addr().to_string()
    }
}

/// Where ports of brokers are chosen: below those that the system gives to outgoing connections, of which
/// one could take the port before the broker does.
const PORTS: Range<u16> = 10_240..32_768;

/// Listens at a free port, one of [`PORTS`] if possible.
fn free() -> io::Result<TcpListener> {
    let random = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(100);
    let mut found = random.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let found = found.next();
    found.map_or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), Ok)
}

/// Returns an address of loopback that was free a moment ago, for a broker that listens at two.
///
/// # Errors
/// The system has no port left.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    free()?.local_addr()
}

/// A program to start.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Variables of its environment, beside those of ours.
    pub(crate) env: Vec<(&'static str, OsString)>,
}

/// Another process that a broker needs.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(crate) start: Invocation,
    /// Where it accepts connections once it is up.
    pub(crate) addr: SocketAddr,
}

/// Servers that clients connect to, with the broker's program behind them. They are part of the broker: what they take
/// counts.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// A command that has to succeed before, once the program accepts connections.
    pub(crate) prepare: Invocation,
    /// At least one.
    pub(crate) nodes: Vec<Helper>,
}

/// How a broker's version is known.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// The first line that its program prints when called with these arguments.
    Printed(&'static [&'static str]),
    /// Known without asking.
    Known(String),
}

/// Everything that it takes to start a broker.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) start: Invocation,
    /// A process that is started before the program and stopped after it.
    pub(crate) helper: Option<Helper>,
    /// Servers in front of the program, where clients connect instead.
    pub(crate) front: Option<Front>,
    /// Configuration files to write before, path and text.
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) version: Version,
    /// Settings and reasons for them, for the report.
    pub(crate) settings: &'static str,
    /// The congestion control that the broker asks for by itself; `None` if it takes the system's.
    pub(crate) congestion: Option<String>,
}

impl Recipe {
    /// Returns the recipe for a program that needs nothing but its arguments and prints its version when asked
    /// with `--version`.
    pub(crate) fn new(program: PathBuf, args: Vec<OsString>, settings: &'static str) -> Self {
        Self {
            start: Invocation {
                program,
                args,
                env: Vec::new(),
            },
            helper: None,
            front: None,
            files: Vec::new(),
            version: Version::Printed(&["--version"]),
            settings,
            congestion: None,
        }
    }
}

/// Makes arguments of words.
pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
