//! Errors in a configuration.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::model::LogFormat;
use super::origin::ValueOrigin;
use super::value::quoted;
use crate::access::BadKey;

/// Everything that is wrong with a configuration: at least one problem.
#[derive(Debug, Error)]
pub(crate) struct ConfigError {
    /// By place: the file from its first line on, then the environment, then options.
    pub(crate) problems: Vec<Problem>,
    /// The form in which to log them, as far as it is known.
    pub(crate) log_format: LogFormat,
}

impl ConfigError {
    /// Returns the problems as an error, if there are any.
    pub(super) fn check(mut problems: Vec<Problem>, log_format: LogFormat) -> Result<(), Self> {
        problems.sort_by_key(|problem| (problem.origin.rank(), problem.origin.line()));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self {
                problems,
                log_format,
            })
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) origin: ValueOrigin,
    pub(crate) fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            ValueOrigin::Default => self.fault.fmt(f),
            place => write!(f, "{place}: {}", self.fault),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("not TOML: {0}")]
    Syntax(String),
    #[error("unknown key `{key}` {place}; {hint}")]
    UnknownKey {
        key: String,
        place: String,
        hint: String,
    },
    #[error("`{key}` is {found}; expected {expected}")]
    Value {
        key: &'static str,
        found: String,
        expected: String,
    },
    #[error("not UTF-8")]
    NotText,
    #[error("this [[{table}]] has no `{key}`; expected one such as {example}")]
    Missing {
        table: &'static str,
        key: &'static str,
        example: &'static str,
    },
    #[error(transparent)]
    KeyName(BadKey),
    #[error("the key `{name}` is already in line {first}")]
    SameKeyName { name: String, first: usize },
    #[error("the key in {path} is that of `{twin}` too: each name needs a secret of its own")]
    SameSecret { path: PathBuf, twin: String },
    #[error("no key has the name that this rule is for; known: {0}")]
    UnknownHolder(String),
    #[error("`{key}` is {}, which is no pattern: {why}", quoted(.text))]
    Pattern {
        key: &'static str,
        text: String,
        why: String,
    },
    #[error("unknown right {} in `allow`; {hint}", quoted(.right))]
    UnknownRight { right: String, hint: String },
    #[error("the pattern \"{pattern}\" is already in line {first}, and the first match applies")]
    SamePattern { pattern: String, first: usize },
    #[error(
        "`queue_bytes` is {queue} bytes, less than the {frame} of `max_frame`: the largest frame \
         could not be sent to anyone; raise `queue_bytes` or lower `max_frame`"
    )]
    QueueBelowFrame { queue: usize, frame: usize },
    #[error(
        "`partial_bytes` is {partial} bytes, less than the {frame} of `max_frame`: the largest \
         frame could not be received; raise `partial_bytes` or lower `max_frame`"
    )]
    PartialBelowFrame { partial: usize, frame: usize },
    #[error(
        "`history_bytes` is 0, so none of the {frames} frames of `history_limit` could be kept; \
         set `history_limit` to 0 too, or raise `history_bytes`"
    )]
    HistoryWithoutBytes { frames: usize },
    #[error(
        "history = \"disk\" needs a directory for the store: set `dir` of [store] (--store-dir)"
    )]
    DiskWithoutStore,
    #[error("a node needs the name of its fleet: set `name` of [fleet] (--fleet-name)")]
    FleetWithoutName,
    #[error(
        "a fleet has a name and no servers, so this one would serve alone: set `servers` of [fleet] (--fleet)"
    )]
    FleetWithoutServers,
    #[error(
        "[peer] and [fleet] do not go together: links to an upstream would break the order that all nodes have; \
         remove one of them"
    )]
    FleetWithPeer,
    #[error(
        "history = \"disk\" does not go together with [fleet], whose log keeps the histories: use \"memory\", or \
         remove [fleet]"
    )]
    FleetWithDisk,
    #[error(
        "[fleet] has several logins; keep one of `user` with `password_file`, `token_file`, `nkey_file` and \
         `creds_file`"
    )]
    FleetLogins,
    #[error("cannot read the creds file {path}: {source}")]
    CredsFile { path: PathBuf, source: io::Error },
    #[error("{address} is listed twice{}", default_of_listen(*.has_default))]
    ListenTwice {
        address: SocketAddr,
        has_default: bool,
    },
    #[error(
        "{part} overlaps {whole}{}: remove one of them, or use another port{}",
        takes_v4_too(*.part, *.whole),
        default_of_listen(*.has_default)
    )]
    ListenOverlap {
        part: SocketAddr,
        whole: SocketAddr,
        has_default: bool,
    },
    #[error(
        "no address to listen on: set `listen`, or a listener of [tls] or [ws] (--listen, --tls, \
         --tls-ws or --ws)"
    )]
    NoListener,
    #[error(
        "`proxy_protocol` has no effect without `trusted_proxies`, which says where PROXY headers may come \
         from: set it, to \"127.0.0.1\" for a proxy on this machine"
    )]
    ProxyProtocolFromNobody,
    #[error(
        "TLS listeners need a certificate and its key: set `cert` and `key` of [tls] \
         (--tls-cert and --tls-key); `mles dev-cert` makes a pair to try it out"
    )]
    TlsWithoutCert,
    #[error("`{set}` of [{section}] is set and `{missing}` is not: they go together")]
    HalfAPair {
        section: &'static str,
        set: &'static str,
        missing: &'static str,
    },
    #[error(
        "refusing to accept joins without a key on {0}: `trust` would let anyone who can reach it \
         join; listen on 127.0.0.1 only, or use --allow-anonymous"
    )]
    TrustBeyondLoopback(SocketAddr),
    #[error(
        "`max_message` of [ws] is {message} bytes, more than the {frame} of `max_frame`: such a \
         message could not be forwarded; lower `max_message` or raise `max_frame`"
    )]
    MessageOverFrame { message: usize, frame: usize },
    #[error(
        "`ping_timeout` of [ws] is {timeout:?}, less than the {interval:?} of `ping_interval`: \
         clients would be disconnected before they are pinged"
    )]
    TimeoutBelowPing {
        timeout: Duration,
        interval: Duration,
    },
    #[error(
        "refusing to listen on {0} without a key: anyone who can reach it could join; set a key \
         (--key-file, MLES_KEY or --key), listen on 127.0.0.1 only, or use --allow-anonymous"
    )]
    ListenWithoutKey(SocketAddr),
    #[error(
        "`drain_period` is {period:?}, more than the {deadline:?} of `drain_deadline`: clients would be cut off; \
         raise `drain_deadline`"
    )]
    PeriodOverDeadline {
        period: Duration,
        deadline: Duration,
    },
    #[error(
        "refusing to listen on {0} for admin requests without a token: anyone who can reach it could end \
         sessions and stop the server; set `token_file` of [admin] (--admin-token-file), or listen on \
         127.0.0.1 only"
    )]
    AdminWithoutToken(SocketAddr),
    #[error("`backoff` of [peer] is {backoff:?}, more than the {max:?} of `backoff_max`")]
    BackoffOverMax { backoff: Duration, max: Duration },
    #[error("both `key` and `key_file` are set; keep one of them")]
    KeyTwice,
    #[error("no keys for tokens in {}: {why}", path.display())]
    TokenKeys { path: PathBuf, why: String },
    #[error("cannot read the key from {path}: {source}")]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("the key file {0} is empty")]
    KeyFileEmpty(PathBuf),
    #[error("the key file {0} has several lines; it must hold the key alone, on one line")]
    KeyFileLines(PathBuf),
}

/// Says what is not obvious of `[::]`.
fn takes_v4_too(part: SocketAddr, whole: SocketAddr) -> &'static str {
    if part.ip().to_canonical().is_ipv4() && whole.ip().to_canonical().is_ipv6() {
        ", which takes IPv4 too"
    } else {
        ""
    }
}

/// Says where an address is from that nobody has asked for.
const fn default_of_listen(is_it: bool) -> &'static str {
    if is_it {
        "; the default of `listen` is one of them (listen = \"none\" turns it off)"
    } else {
        ""
    }
}
