//! TCP congestion control: what it is at both ends, and one for all in a network namespace where it is the
//! default.
//!
//! The default of a machine is a setting of its administrator, and no broker but mles has an option for it. In a
//! new namespace it can be chosen without changing anything outside: the brokers, and the connections of this
//! program, have nothing but loopback there.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::net::sockopt::tcp_congestion;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The default for new sockets, of the network namespace of whoever reads it.
const DEFAULT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// The algorithms that a new namespace may choose; the file is in the machine's own namespace only.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
/// Prepares the namespace, then becomes this program: `$0` is the algorithm, what follows the command.
const PREPARE: &str = "ip link set lo up && printf %s \"$0\" >/proc/sys/net/ipv4/tcp_congestion_control && exec \"$@\"";

/// A congestion control cannot be had.
#[derive(Debug, Error)]
pub(crate) enum CongestionError {
    /// The kernel does not let a namespace choose it.
    #[error(
        "--congestion {name}: this machine allows {allowed} (net.ipv4.tcp_allowed_congestion_control)"
    )]
    NotAllowed { name: String, allowed: String },
    /// There is no program that makes a namespace, or none of ours to run in it.
    #[error("--congestion needs `unshare` and `ip` for a network namespace: {0}")]
    NoNamespace(#[from] io::Error),
}

/// Returns if `name` is the default already; otherwise runs this program again, with the same arguments, where
/// it is, and does not return.
///
/// # Errors
/// There is no such algorithm, or no way to a namespace that has it.
pub(crate) fn enter(name: &str) -> Result<(), CongestionError> {
    if read(DEFAULT) == name {
        return Ok(());
    }
    let allowed = read(ALLOWED);
    if !allowed.split_whitespace().any(|it| it == name) {
        return Err(CongestionError::NotAllowed {
            name: name.to_owned(),
            allowed: allowed.replace(' ', ", "),
        });
    }
    match run_again(name)? {}
}

fn run_again(name: &str) -> Result<Infallible, io::Error> {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    if !rustix::process::geteuid().is_root() {
        // Who is root in a namespace of users may make one of networks; files stay the user's own.
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    unshare.args(["sh", "-c", PREPARE, name]);
    unshare.arg(std::env::current_exe()?);
    Err(unshare.args(std::env::args_os().skip(1)).exec())
}

/// Returns what a file of the kernel says; empty if there is none.
fn read(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().to_owned()
}

/// The congestion control at both ends of the connections to a broker, by the kernel's names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Congestion {
    /// What the broker asks for by itself, else the default.
    broker: String,
    /// What a connected socket of this program has.
    loadgen: String,
}

impl Congestion {
    /// Returns what this end of `connection` has, and the broker with `own` choice at the other.
    pub(super) fn of(own: Option<&str>, connection: &TcpStream) -> Self {
        Self {
            broker: own.map_or_else(|| read(DEFAULT), str::to_owned),
            loadgen: tcp_congestion(connection).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, loadgen } = self;
        write!(f, "congestion control {broker}, loadgen's {loadgen}")
    }
}
