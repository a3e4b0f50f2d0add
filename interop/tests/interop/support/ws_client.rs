//! WebSocket clients that users write: with Python's `websockets` and with Node's `ws`, as programs
//! that do what they are told line by line (`tests/clients`).
//!
//! They know nothing of Mles: what makes them clients of it is here, in the types of the reference.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use mles_utils::Msg;
use siphasher::sip::SipHasher24;

use super::namespace::Namespace;
use super::process::Process;
use super::{DEADLINE, Server, in_package, skip};

/// The registered subprotocol.
pub(crate) const PROTOCOL: &str = "mles-websocket";

/// Whose WebSocket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Python,
    Node,
}

impl Library {
    /// Returns `true` if it is there; if not, says that the running test is skipped.
    pub(crate) fn is_installed(self) -> bool {
        let (file, why) = match self {
            Self::Python => (
                in_python("bin/websockets"),
                "no `websockets` for Python; run scripts/setup",
            ),
            Self::Node => (
                in_package("../tests/browser/node_modules/ws/package.json"),
                "no `ws` for Node; run `npm ci` in tests/browser",
            ),
        };
        let installed = file.is_file();
        if !installed {
            skip(why);
        }
        installed
    }

    fn command(self) -> Command {
        let (program, script) = match self {
            Self::Python => (in_python("bin/python"), "tests/clients/ws_client.py"),
            Self::Node => (PathBuf::from("node"), "tests/clients/ws_client.mjs"),
        };
        let mut command = Command::new(program);
        command.arg(in_package(script));
        command
    }
}

/// A file of the environment that scripts/setup makes for Python.
pub(crate) fn in_python(file: &str) -> PathBuf {
    in_package("target/python").join(file)
}

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    /// What is offered, with commas; empty for nothing.
    pub(crate) protocols: &'a str,
    /// The certificate to trust.
    pub(crate) ca: Option<&'a Path>,
    /// The value of the header `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) namespace: Option<&'a Namespace>,
}

impl Default for Visit<'_> {
    fn default() -> Self {
        Self {
            protocols: PROTOCOL,
            ca: None,
            authorization: None,
            namespace: None,
        }
    }
}

/// What happens to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The handshake is done; `-` stands for none.
    Open {
        protocol: String,
        offered_extensions: String,
        extensions: String,
    },
    Text(String),
    Binary(Vec<u8>),
    Closed(u16, String),
    /// The answer to the handshake was this status.
    Refused(u16),
    /// There was no answer.
    Failed(String),
}

/// A running client.
pub(crate) struct WsClient {
    process: Process,
    /// How many of the lines it has printed have been looked at.
    seen: usize,
    pings: usize,
}

impl WsClient {
    /// Starts one; the first event tells how it went.
    pub(crate) fn start(library: Library, url: &str, visit: Visit<'_>) -> Self {
        let mut command = library.command();
        command.arg(url);
        if !visit.protocols.is_empty() {
            command.arg(format!("--protocols={}", visit.protocols));
        }
        if let Some(ca) = visit.ca {
            command.arg("--ca").arg(ca);
        }
        if let Some(authorization) = visit.authorization {
            command.arg(format!("--authorization={authorization}"));
        }
        let process = Process::spawn(match visit.namespace {
            Some(namespace) => namespace.inside(&command),
            None => command,
        });
        Self {
            process,
            seen: 0,
            pings: 0,
        }
    }

    /// Connects.
    pub(crate) fn open(library: Library, url: &str, visit: Visit<'_>) -> Self {
        let mut client = Self::start(library, url, visit);
        let event = client.next();
        assert!(matches!(event, Event::Open { .. }), "{event:?}");
        client
    }

    /// Joins as a client of Mles v2.
    pub(crate) fn join_v2(library: Library, server: &Server, uid: &str, channel: &str) -> Self {
        let mut client = Self::open(library, &server.ws_url(), Visit::default());
        client.greet(server.secrets().shared, uid, channel);
        client
    }

    /// Sends the greeting of Mles v2 and waits until the server has taken it.
    pub(crate) fn greet(&mut self, shared: Option<&str>, uid: &str, channel: &str) {
        self.text(&hello(shared, uid, channel));
        self.sync();
    }

    /// Joins as a client of Mles v1, silently.
    pub(crate) fn join_v1(library: Library, server: &Server, uid: &str, channel: &str) -> Self {
        let mut url = server.ws_url();
        if let Some(shared) = server.secrets().shared {
            url = format!("{url}/?auth={:016x}", key(shared, uid, channel));
        }
        let mut client = Self::open(library, &url, Visit::default());
        client.body(uid, channel, b"");
        client.sync();
        client
    }

    pub(crate) fn text(&mut self, text: &str) {
        assert!(!text.contains('\n'), "commands are lines");
        self.process.write_line(&format!("text {text}"));
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.process.write_line(&format!("binary {}", hex(bytes)));
    }

    /// One message in several frames.
    pub(crate) fn fragments(&mut self, kind: &str, parts: &[&[u8]]) {
        let parts: Vec<_> = parts.iter().map(|part| hex(part)).collect();
        self.process
            .write_line(&format!("fragments {kind} {}", parts.join(" ")));
    }

    /// A message of Mles v1; also joins its pair if that is new.
    pub(crate) fn body(&mut self, uid: &str, channel: &str, message: &[u8]) {
        self.binary(&body(uid, channel, message));
    }

    /// Waits until the server has answered a ping: it has taken all that was sent before.
    pub(crate) fn sync(&mut self) {
        self.process.write_line("ping");
        self.pings += 1;
        self.process
            .wait_for_times(self.pings, "pong", |line| (line == "pong").then_some(()));
    }

    /// Waits until the server has sent that many pings.
    pub(crate) fn wait_for_pings(&self, count: usize) {
        self.process
            .wait_for_times(count, "ping", |line| (line == "ping").then_some(()));
    }

    /// Begins to close the connection; the event for it tells what the server answered.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.process.write_line(&format!("close {code} {reason}"));
    }

    /// What happens next, pings and pongs left out.
    pub(crate) fn next(&mut self) -> Event {
        // Pings come for ever.
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.process.wait_for_line_until(end, self.seen);
            self.seen += 1;
            if line != "ping" && line != "pong" {
                return event(&line);
            }
        }
    }

    /// The uid and the message of the next body of Mles v1 that is no hint of presence.
    pub(crate) fn next_body(&mut self) -> (String, Vec<u8>) {
        loop {
            let event = self.next();
            let Event::Binary(body) = event else {
                panic!("not a body: {event:.200?}");
            };
            let body = Msg::decode(&body);
            if !body.get_message().is_empty() {
                return (body.get_uid().clone(), body.get_message().clone());
            }
        }
    }

    /// Waits for the next event, a text.
    pub(crate) fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next(), Event::Text(text.to_owned()));
    }

    /// Waits for the next body of Mles v1 that is no hint of presence.
    pub(crate) fn expect_body(&mut self, uid: &str, message: &str) {
        let (from, bytes) = self.next_body();
        assert_eq!((&*from, &*bytes), (uid, message.as_bytes()));
    }

    /// Waits for the next event, a close with this code.
    pub(crate) fn expect_closed(&mut self, code: u16) {
        let event = self.next();
        assert!(
            matches!(event, Event::Closed(closed, _) if closed == code),
            "not closed with {code}: {event:.200?}"
        );
    }
}

/// The greeting of Mles v2.
pub(crate) fn hello(shared: Option<&str>, uid: &str, channel: &str) -> String {
    let auth = shared.map(|shared| {
        let auth = auth(shared, uid, channel);
        format!(r#", "auth": "{auth:016x}""#)
    });
    let auth = auth.unwrap_or_default();
    format!(r#"{{"uid": "{uid}", "channel": "{channel}"{auth}}}"#)
}

/// What proves it in the address, as Mles v1 has it.
pub(crate) fn key(shared: &str, uid: &str, channel: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in [shared, uid, channel] {
        hasher.write(part.as_bytes());
        hasher.write(&[0xFF]);
    }
    hasher.finish()
}

/// What proves to a server that the shared key is known, as Mles v2 has it.
fn auth(shared: &str, uid: &str, channel: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in [uid, channel, shared] {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

/// A body of Mles v1.
pub(crate) fn body(uid: &str, channel: &str, message: &[u8]) -> Vec<u8> {
    Msg::new(uid.to_owned(), channel.to_owned(), message.to_vec()).encode()
}

fn event(line: &str) -> Event {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<_> = rest.split(' ').collect();
    match (what, &*words) {
        ("open", [protocol, offered, extensions]) => Event::Open {
            protocol: (*protocol).to_owned(),
            offered_extensions: (*offered).to_owned(),
            extensions: (*extensions).to_owned(),
        },
        ("text", _) => Event::Text(rest.to_owned()),
        ("binary", [hex]) => Event::Binary(unhex(hex)),
        ("closed", [code, reason @ ..]) => Event::Closed(code.parse().unwrap(), reason.join(" ")),
        ("refused", [status]) => Event::Refused(status.parse().unwrap()),
        ("failed", _) => Event::Failed(rest.to_owned()),
        _ => panic!("not an event: {line:.200}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]);
    bytes.map(|byte| u8::try_from(byte).unwrap()).collect()
}
