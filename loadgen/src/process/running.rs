//! A broker process from its start until it is stopped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tempfile::TempDir;
use thiserror::Error;

use super::{Programs, Recipe};
use crate::adapter::Broker;
use crate::interrupt::Interrupt;

/// How long a broker may take until it accepts connections.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long a broker may take to end after SIGTERM; then it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks while waiting for either.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a broker's last words that an error quotes.
const LAST_WORDS: usize = 600;

/// A broker could not be started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// Its program is not there.
    #[error("{} is not installed{}", .0.name(), hint(*.0))]
    NotInstalled(Broker),
    /// The system does not start it, or its files cannot be written.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// What was to be started.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended at once.
    #[error("{program} ended with {status}; it said: {said}")]
    Ended {
        /// Which.
        program: PathBuf,
        /// How.
        status: ExitStatus,
        /// The end of its output.
        said: String,
    },
    /// It does not accept connections.
    #[error("{program} does not accept connections after {} s; it said: {said}", START_DEADLINE.as_secs())]
    Silent {
        /// Which.
        program: PathBuf,
        /// The end of its output.
        said: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn hint(broker: Broker) -> &'static str {
    match broker {
        Broker::Mles => " beside this program (build it, or say where with --mles-bin)",
        Broker::Nats => " (Debian package nats-server)",
        Broker::Redis => " (Debian package redis-server)",
        Broker::Mosquitto => " (Debian package mosquitto)",
    }
}

/// What is started, for the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Provenance {
    /// First line of what it prints about its version.
    pub(crate) version: String,
    /// Program and arguments.
    pub(crate) command: String,
    /// What is set and why.
    pub(crate) settings: &'static str,
}

/// A broker that accepts connections; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    addr: SocketAddr,
    provenance: Provenance,
    /// Its files; removed after it ended.
    _dir: TempDir,
}

impl Running {
    /// Starts `broker` on a free port of loopback and waits until it accepts connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub(crate) fn start(
        broker: Broker,
        programs: &Programs,
        interrupt: &Interrupt,
    ) -> Result<Self, StartError> {
        let dir = tempfile::Builder::new().prefix("loadgen-").tempdir();
        let failed = |source| StartError::Spawn {
            program: broker.name().into(),
            source,
        };
        let dir = dir.map_err(failed)?;
        let addr = free_address().map_err(failed)?;
        let recipe = programs
            .recipe(broker, addr.port(), dir.path())
            .ok_or(StartError::NotInstalled(broker))?;
        let failed = |source| StartError::Spawn {
            program: recipe.program.clone(),
            source,
        };
        if let Some((path, text)) = &recipe.config {
            fs::write(path, text).map_err(failed)?;
        }
        let log = dir.path().join("log");
        let child = spawn(&recipe, &log).map_err(failed)?;
        let provenance = Provenance {
            version: version(&recipe),
            command: command_line(&recipe),
            settings: recipe.settings,
        };
        let mut running = Self {
            child,
            addr,
            provenance,
            _dir: dir,
        };
        running.wait_until_it_accepts(&recipe.program, &log, interrupt)?;
        Ok(running)
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it is.
    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn wait_until_it_accepts(
        &mut self,
        program: &Path,
        log: &Path,
        interrupt: &Interrupt,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let ended = self.child.try_wait();
            let failed = |source| StartError::Spawn {
                program: program.to_owned(),
                source,
            };
            if let Some(status) = ended.map_err(failed)? {
                let (program, said) = (program.to_owned(), last_words(log));
                return Err(StartError::Ended {
                    program,
                    status,
                    said,
                });
            }
            if TcpStream::connect_timeout(&self.addr, LOOK).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (program, said) = (program.to_owned(), last_words(log));
                return Err(StartError::Silent { program, said });
            }
            if interrupt.sleep(LOOK) {
                return Err(StartError::Interrupted);
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    /// SIGTERM, then after [`STOP_DEADLINE`] SIGKILL. Neither can fail but for a process that has
    /// ended already.
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn spawn(recipe: &Recipe, log: &Path) -> io::Result<Child> {
    let out = File::create(log)?;
    Command::new(&recipe.program)
        .args(&recipe.args)
        // A group of its own: Ctrl-C on the terminal must not end it while it is measured; it is
        // stopped when this program comes to that.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
}

fn command_line(recipe: &Recipe) -> String {
    let args = recipe.args.iter().map(|arg| arg.to_string_lossy());
    let quoted = args.map(|arg| if arg.is_empty() { "''".into() } else { arg });
    std::iter::once(recipe.program.to_string_lossy())
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first line the program prints about its version; empty when it prints none.
fn version(recipe: &Recipe) -> String {
    let output = Command::new(&recipe.program)
        .args(recipe.version_args)
        .stdin(Stdio::null())
        .output();
    let printed = output
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    String::from_utf8_lossy(&printed)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn last_words(log: &Path) -> String {
    let said = fs::read(log).unwrap_or_default();
    let end = &said[said.len().saturating_sub(LAST_WORDS)..];
    end.trim_ascii()
        .escape_ascii()
        .to_string()
        .replace("\\n", "\n")
}
