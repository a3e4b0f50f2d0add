//! What the scenarios are made of: processes that end with their test, servers of both kinds,
//! and clients of every kind. Nothing here asserts anything about the protocol.

mod chat;
mod chat_v2;
mod listeners;
mod msgconn;
mod namespace;
mod our_cli;
mod process;
mod server;
mod session;
mod ws_client;

use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use chat::{ChatClient, WsProxy};
pub(crate) use chat_v2::{ChatV2, ProxyV2};
pub(crate) use listeners::Listener;
pub(crate) use msgconn::Conn;
pub(crate) use namespace::Namespace;
pub(crate) use our_cli::{exit_code_with, publish, publish_lines, subscribe};
pub(crate) use process::Process;
pub(crate) use server::{Server, ServerKind, ServerSpec, our_program};
pub(crate) use session::Session;
pub(crate) use ws_client::{
    Event, Library, PROTOCOL, Visit, WsClient, body, hello, in_python, key,
};

/// How long anything that has to happen may take before its test fails; long enough for a busy
/// machine, since a passing test never waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The secrets of a server, or those a client proves to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Secrets {
    /// `MLES_KEY`; takes the place of the client's address in the hash.
    pub(crate) shared: Option<&'static str>,
    /// `MLES_ADDR_KEY`; hashed after the client's address.
    pub(crate) address: Option<&'static str>,
}

impl Secrets {
    pub(crate) const NONE: Self = Self {
        shared: None,
        address: None,
    };
    pub(crate) const SHARED: Self = Self {
        shared: Some("shared secret"),
        address: None,
    };
    pub(crate) const ADDRESS: Self = Self {
        shared: None,
        address: Some("address secret"),
    };
    pub(crate) const BOTH: Self = Self {
        shared: Some("shared secret"),
        address: Some("address secret"),
    };
}

/// Runs each named scenario, a `fn(ServerKind)`, against our broker and the reference server.
macro_rules! on_each_server {
    ($($scenario:ident),+ $(,)?) => {
        mod ours {
            $(#[test]
            fn $scenario() {
                super::$scenario(crate::support::ServerKind::Ours);
            })+
        }
        mod reference {
            $(#[test]
            fn $scenario() {
                super::$scenario(crate::support::ServerKind::Reference);
            })+
        }
    };
}

/// `len` bytes of text that differ at every position a cut or a swap could hide in.
pub(crate) fn large_text(len: usize) -> String {
    (0..)
        .flat_map(|n: u32| format!("{n:x},").into_bytes())
        .take(len)
        .map(char::from)
        .collect()
}

/// Says that the running test is skipped, past the test harness's capture of output; fails it
/// instead when `INTEROP_STRICT` is set, as it is where everything is meant to be installed.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os("INTEROP_STRICT").is_none(),
        "{test} cannot run: {reason}"
    );
    // Nothing is lost when standard error is closed.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// Returns `true` if there is an IPv6 loopback; if not, says that the running test is skipped.
pub(crate) fn has_ipv6() -> bool {
    let bound = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = &bound {
        skip(&format!("no IPv6 loopback: {error}"));
    }
    bound.is_ok()
}

/// `path` relative to this package.
pub(crate) fn in_package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
