//! How each broker is started so that they do the same work: deliver to who is there, keep nothing.
//!
//! The equivalence, for all: loopback only, no TLS, no authentication, no persistence, no history,
//! no acknowledgements, `TCP_NODELAY` as the broker has it (on in all), logs to a file. Everything
//! else is the broker's default, its threads included.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::adapter::Broker;

/// Where brokers' programs are, and what the user wants of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// The `mles` program; by default the one beside this program.
    pub(crate) mles: Option<PathBuf>,
    /// Its number of shards; by default its own.
    pub(crate) shards: Option<usize>,
}

/// How to start a broker.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// A configuration file to write before, path and text.
    pub(crate) config: Option<(PathBuf, String)>,
    /// What makes it print its version.
    pub(crate) version_args: &'static [&'static str],
    /// What is set and why, for the report.
    pub(crate) settings: &'static str,
}

impl Programs {
    /// The recipe for `broker` to listen on `port` of loopback and keep its files in `dir`; `None`
    /// when its program is not installed.
    pub(crate) fn recipe(&self, broker: Broker, port: u16, dir: &Path) -> Option<Recipe> {
        let program = self.find(broker)?;
        Some(match broker {
            Broker::Mles => self.mles(program, port),
            Broker::Nats => nats(program, port),
            Broker::Redis => redis(program, port, dir),
            Broker::Mosquitto => mosquitto(program, port, dir),
        })
    }

    /// Where the program of `broker` is.
    fn find(&self, broker: Broker) -> Option<PathBuf> {
        match broker {
            Broker::Mles => match &self.mles {
                Some(mles) => Some(mles.clone()),
                None => Some(std::env::current_exe().ok()?.with_file_name("mles"))
                    .filter(|beside| beside.is_file()),
            },
            Broker::Nats => in_path("nats-server"),
            Broker::Redis => in_path("redis-server"),
            Broker::Mosquitto => in_path("mosquitto"),
        }
    }

    fn mles(&self, program: PathBuf, port: u16) -> Recipe {
        let mut args = words(&["serve", "--listen"]);
        args.push(format!("127.0.0.1:{port}").into());
        args.extend(words(&["--history-limit", "0"]));
        if let Some(shards) = self.shards {
            args.push("--shards".into());
            args.push(shards.to_string().into());
        }
        Recipe {
            program,
            args,
            config: None,
            version_args: &["--version"],
            settings: "no history; no key",
        }
    }
}

fn nats(program: PathBuf, port: u16) -> Recipe {
    Recipe {
        program,
        args: words(&["--addr", "127.0.0.1", "--port", &port.to_string()]),
        config: None,
        version_args: &["--version"],
        settings: "core NATS, no JetStream; clients connect with verbose and pedantic off",
    }
}

fn redis(program: PathBuf, port: u16, dir: &Path) -> Recipe {
    let mut args = words(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    args.extend(words(&[
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxclients",
        "15000",
        "--dir",
    ]));
    args.push(dir.into());
    Recipe {
        program,
        args,
        config: None,
        version_args: &["--version"],
        settings: "no RDB, no AOF; maxclients raised to 15000; replies to PUBLISH are read",
    }
}

fn mosquitto(program: PathBuf, port: u16, dir: &Path) -> Recipe {
    let config = dir.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
         set_tcp_nodelay true\nmax_queued_messages 0\nlog_type error\nlog_type warning\n"
    );
    Recipe {
        program,
        args: vec!["-c".into(), config.clone().into()],
        config: Some((config, text)),
        version_args: &["-h"],
        settings: "QoS 0, clean sessions, no persistence, no limit on queued messages",
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The first `name` in `PATH`, or in the directories for servers that a user's `PATH` may lack.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(servers)
        .map(|dir| dir.join(name))
        .find(|it| it.is_file())
}
