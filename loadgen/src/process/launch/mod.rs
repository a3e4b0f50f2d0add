//! How each broker is started so that they do the same work: deliver to who is there, keep nothing.
//!
//! The equivalence, for all: loopback only, no TLS (but where it is what is compared), no
//! authentication that costs more than the join, no persistence, no history (but in the scenario about
//! it), no acknowledgements, `TCP_NODELAY` on, logs to a file. Everything else is the broker's default,
//! its threads included. The table in `docs/BENCHMARKS.md` says it for each broker.

mod certificate;
mod find;
mod own;
mod rabbitmq;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::adapter::Broker;

pub(super) use find::package;
use own::Door;

/// Where brokers' programs are, and what the user wants of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// The `mles` program; by default the one beside this program.
    pub(crate) mles: Option<PathBuf>,
    /// Its number of shards; by default its own.
    pub(crate) shards: Option<usize>,
    /// Messages of each channel that servers of Mles keep.
    pub(crate) history: usize,
    /// The `reference-server` program of `interop`; by default it is looked for near this program.
    pub(crate) reference: Option<PathBuf>,
    /// The `mles` program of version 2.9.4; by default it is looked for near this program.
    pub(crate) reference_v2: Option<PathBuf>,
}

/// Where a broker has its place: ports of loopback and a directory that are nobody else's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Where clients connect.
    pub(crate) port: u16,
    /// For what a broker needs beside.
    pub(crate) spare_ports: [u16; 2],
    /// Its files.
    pub(crate) dir: &'a Path,
}

impl<'a> Place<'a> {
    /// Ports that were free a moment ago, and `dir`.
    ///
    /// # Errors
    /// The system has no port left.
    pub(crate) fn find(dir: &'a Path) -> io::Result<Self> {
        // All three are held before one is let go, so that they differ.
        let [port, first, second] = [free()?, free()?, free()?];
        Ok(Self {
            port: port.local_addr()?.port(),
            spare_ports: [first.local_addr()?.port(), second.local_addr()?.port()],
            dir,
        })
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

/// A program to start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Variables of its environment, beside those of ours.
    pub(crate) env: Vec<(&'static str, OsString)>,
}

/// Another process that a broker needs, started before it and stopped after it.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(crate) start: Invocation,
    /// Where it accepts connections once it is up.
    pub(crate) addr: SocketAddr,
}

/// How a broker's version is known.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// The first line that its program prints when called with these arguments.
    Printed(&'static [&'static str]),
    /// Known without asking.
    Known(String),
}

/// How to start a broker.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) start: Invocation,
    pub(crate) helper: Option<Helper>,
    /// Configuration files to write before, path and text.
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) version: Version,
    /// What is set and why, for the report.
    pub(crate) settings: &'static str,
}

impl Programs {
    /// The recipe for `broker` at `place`; `None` when its program is not installed.
    ///
    /// # Errors
    /// A certificate that it needs cannot be made.
    pub(crate) fn recipe(&self, broker: Broker, place: Place<'_>) -> io::Result<Option<Recipe>> {
        let Some(program) = self.find(broker) else {
            return Ok(None);
        };
        let mles = |door, program| own::mles(door, program, place, self);
        Ok(Some(match broker {
            Broker::Mles => mles(Door::Tcp, program)?,
            Broker::MlesWs | Broker::MlesV2 => mles(Door::WebSocket, program)?,
            Broker::MlesTls => mles(Door::Tls, program)?,
            Broker::MlesWss => mles(Door::WebSocketTls, program)?,
            Broker::ReferenceV2 => own::reference_v2(program, place, self.history)?,
            Broker::Reference => own::reference(program, place, self.history),
            Broker::Null => own::null(program, place),
            Broker::Nats => nats(program, place),
            Broker::Redis => redis(program, place),
            Broker::Mosquitto => mosquitto(program, place),
            Broker::Rabbitmq => rabbitmq::amqp(program, place),
            Broker::RabbitmqMqtt => rabbitmq::mqtt(program, place),
        }))
    }
}

fn nats(program: PathBuf, place: Place<'_>) -> Recipe {
    let config = place.dir.join("nats.conf");
    // The default refuses the large payload of the seed.
    let text = "max_payload: 8MB\n".to_owned();
    let mut args = words(&["--addr", "127.0.0.1", "--port", &place.port.to_string()]);
    args.extend(["--config".into(), config.clone().into()]);
    Recipe {
        start: Invocation {
            program,
            args,
            env: Vec::new(),
        },
        helper: None,
        files: vec![(config, text)],
        version: Version::Printed(&["--version"]),
        settings: "core NATS, no JetStream; clients connect with verbose and pedantic off; \
                   max_payload raised to 8 MB",
    }
}

fn redis(program: PathBuf, place: Place<'_>) -> Recipe {
    let mut args = words(&["--port", &place.port.to_string(), "--bind", "127.0.0.1"]);
    args.extend(words(&[
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxclients",
        "15000",
        "--dir",
    ]));
    args.push(place.dir.into());
    Recipe {
        start: Invocation {
            program,
            args,
            env: Vec::new(),
        },
        helper: None,
        files: Vec::new(),
        version: Version::Printed(&["--version"]),
        settings: "no RDB, no AOF; maxclients raised to 15000; replies to PUBLISH are read",
    }
}

fn mosquitto(program: PathBuf, place: Place<'_>) -> Recipe {
    let config = place.dir.join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n\
         set_tcp_nodelay true\nmax_queued_messages 0\nlog_type error\nlog_type warning\n",
        place.port
    );
    Recipe {
        start: Invocation {
            program,
            args: vec!["-c".into(), config.clone().into()],
            env: Vec::new(),
        },
        helper: None,
        files: vec![(config, text)],
        version: Version::Printed(&["-h"]),
        settings: "QoS 0, clean sessions, no persistence, no limit on queued messages",
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
