//! A broker process from its start until it is stopped.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thiserror::Error;

use super::child::{LOOK, OwnChild};
use super::congestion::Congestion;
use super::recipe::{Front, Invocation, Place, Recipe, Version};
use crate::command_line::{joined, without_folders};
use crate::interrupt::Interrupt;

/// How long a broker may take until it accepts connections. RabbitMQ takes five seconds on two idle
/// cores; one that ends is noticed at once.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of a broker's last words that an error quotes.
const LAST_WORDS: usize = 600;

/// A broker could not be started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The broker's program is not there.
    #[error("{broker} is not installed{hint}")]
    NotInstalled {
        /// The broker's name.
        broker: &'static str,
        /// How the user gets the program.
        hint: String,
    },
    /// The system does not start it, or its files cannot be written.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program that was to be started.
        program: PathBuf,
        source: io::Error,
    },
    /// It ended at once.
    #[error("{program} ended with {status}; it said: {said}")]
    Ended {
        program: PathBuf,
        status: ExitStatus,
        said: String,
    },
    /// It does not accept connections.
    #[error("{program} does not accept connections after {} s; it said: {said}", START_DEADLINE.as_secs())]
    Silent { program: PathBuf, said: String },
    /// It accepts connections and does not serve them.
    #[error(
        "{program} accepts connections but does not serve them after {} s: {why}; it said: {said}",
        START_DEADLINE.as_secs()
    )]
    Unready {
        program: PathBuf,
        why: String,
        said: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl StartError {
    /// Returns the message for a report, which names no folder of this machine.
    pub(crate) fn for_report(&self) -> String {
        let said = self.to_string();
        match self {
            Self::Spawn { program, .. }
            | Self::Ended { program, .. }
            | Self::Silent { program, .. }
            | Self::Unready { program, .. } => {
                said.replace(&*program.to_string_lossy(), &name(program))
            }
            Self::NotInstalled { .. } | Self::Interrupted => said,
        }
    }
}

/// The version, command and settings of a broker, for the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Provenance {
    /// First line of what it prints about its version.
    pub(crate) version: String,
    /// Program and arguments, without the folders of the machine.
    pub(crate) command: String,
    /// The settings, and the reasons for them.
    pub(crate) settings: Cow<'static, str>,
    /// What controls congestion at both ends. Reports of the first versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) congestion: Option<Congestion>,
}

/// A broker that accepts connections; stopped when dropped, before its helper and its files go.
#[derive(Debug)]
pub(crate) struct RunningBroker {
    /// Stopped before the process behind them.
    nodes: Vec<Node>,
    process: OwnChild,
    addr: SocketAddr,
    provenance: Provenance,
    program: PathBuf,
    log: PathBuf,
    _helper: Option<OwnChild>,
    _dir: TempDir,
}

/// A server in front of the broker's process.
#[derive(Debug)]
struct Node {
    process: OwnChild,
    addr: SocketAddr,
    program: PathBuf,
    log: PathBuf,
}

impl RunningBroker {
    /// Starts the broker of this name by the recipe for a free port of loopback, and waits until it accepts
    /// connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub(crate) fn start(
        broker: &str,
        recipe: impl FnOnce(Place<'_>) -> io::Result<Recipe>,
        interrupt: &Interrupt,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Spawn {
            program: broker.into(),
            source,
        };
        let dir = tempfile::Builder::new().prefix("loadgen-").tempdir();
        let dir = dir.map_err(failed)?;
        let place = Place::find(dir.path()).map_err(failed)?;
        let recipe = recipe(place).map_err(failed)?;
        for (path, text) in &recipe.files {
            fs::write(path, text).map_err(failed)?;
        }
        let addr = place.addr();
        let helper = recipe.helper.as_ref();
        let helper = helper.map(|helper| {
            let log = dir.path().join("helper.log");
            start(&helper.start, helper.addr, &log, interrupt)
        });
        let helper = helper.transpose()?.map(|(child, _)| child);
        let log = dir.path().join("log");
        let (process, connection) = start(&recipe.start, addr, &log, interrupt)?;
        let nodes = match &recipe.front {
            Some(front) => start_front(front, dir.path(), interrupt)?,
            None => Vec::new(),
        };
        Ok(Self {
            nodes,
            process,
            addr,
            provenance: Provenance::of(&recipe, dir.path(), &connection),
            program: recipe.start.program,
            log,
            _helper: helper,
            _dir: dir,
        })
    }

    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.nodes.first().map_or(self.addr, |node| node.addr)
    }

    /// Returns where its other nodes listen, where it has several.
    pub(crate) fn others(&self) -> Vec<SocketAddr> {
        self.nodes.iter().skip(1).map(|node| node.addr).collect()
    }

    /// Returns the ids of its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let nodes = self.nodes.iter().map(|node| node.process.id());
        std::iter::once(self.process.id()).chain(nodes).collect()
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// [`StartError::Ended`].
    pub(crate) fn check(&mut self) -> Result<(), StartError> {
        for node in &mut self.nodes {
            check(&mut node.process, &node.program, &node.log)?;
        }
        check(&mut self.process, &self.program, &self.log)
    }

    /// Waits until `serves` says that it does what it is for, which some brokers do a while after they accept
    /// connections.
    ///
    /// # Errors
    /// [`StartError::Unready`] with the last reason of `serves`, or [`StartError::Ended`].
    pub(crate) fn wait_until<E: Display>(
        &mut self,
        interrupt: &Interrupt,
        mut serves: impl FnMut() -> Result<(), E>,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + START_DEADLINE;
        while let Err(why) = serves() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(StartError::Unready {
                    program: self.program.clone(),
                    why: why.to_string(),
                    said: last_words(&self.log),
                });
            }
            if interrupt.sleep(LOOK) {
                return Err(StartError::Interrupted);
            }
        }
        Ok(())
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn terminate(&mut self) {
        self.process.terminate();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// Words behind its name, if it does not end in that time, or says that something went wrong.
    pub(crate) fn wait_for_success(
        &mut self,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), String> {
        let deadline = Instant::now() + time;
        let status = loop {
            match self.process.ended() {
                Ok(Some(status)) => break status,
                Err(error) => return Err(format!("cannot be looked at: {error}")),
                Ok(None) if Instant::now() > deadline || interrupt.sleep(LOOK) => {
                    return Err(format!("has not ended within {} s", time.as_secs()));
                }
                Ok(None) => {}
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "ended with {status}; it said: {}",
            last_words(&self.log)
        ))
    }

    /// Returns version, command and settings.
    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl Provenance {
    fn of(recipe: &Recipe, dir: &Path, connection: &TcpStream) -> Self {
        let congestion = Congestion::of(recipe.congestion.as_deref(), connection);
        Self {
            version: match &recipe.version {
                Version::Printed(args) => printed_version(&recipe.start.program, args),
                Version::Known(version) => version.clone(),
            },
            command: command_lines(recipe, dir),
            settings: Cow::Owned(format!("{}; {congestion}", recipe.settings)),
            congestion: Some(congestion),
        }
    }
}

/// Starts a process, waits until it accepts connections at `addr`, and returns the first.
fn start(
    invocation: &Invocation,
    addr: SocketAddr,
    log: &Path,
    interrupt: &Interrupt,
) -> Result<(OwnChild, TcpStream), StartError> {
    let program = &invocation.program;
    let child = OwnChild::spawn(invocation, log);
    let mut child = child.map_err(|source| StartError::Spawn {
        program: program.clone(),
        source,
    })?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        check(&mut child, program, log)?;
        if let Ok(connection) = TcpStream::connect_timeout(&addr, LOOK) {
            return Ok((child, connection));
        }
        if Instant::now() > deadline {
            return Err(StartError::Silent {
                program: program.to_owned(),
                said: last_words(log),
            });
        }
        if interrupt.sleep(LOOK) {
            return Err(StartError::Interrupted);
        }
    }
}

fn check(child: &mut OwnChild, program: &Path, log: &Path) -> Result<(), StartError> {
    match child.ended() {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(StartError::Ended {
            program: program.to_owned(),
            status,
            said: last_words(log),
        }),
        Err(source) => Err(StartError::Spawn {
            program: program.to_owned(),
            source,
        }),
    }
}

/// Starts the servers in front of a broker's process, once what has to be prepared is.
fn start_front(front: &Front, dir: &Path, interrupt: &Interrupt) -> Result<Vec<Node>, StartError> {
    prepare(&front.prepare, &dir.join("prepare.log"), interrupt)?;
    let nodes = front.nodes.iter().enumerate().map(|(number, node)| {
        let log = dir.join(format!("node-{number}.log"));
        let (process, _) = start(&node.start, node.addr, &log, interrupt)?;
        Ok(Node {
            process,
            addr: node.addr,
            program: node.start.program.clone(),
            log,
        })
    });
    nodes.collect()
}

/// Runs a command to its end.
fn prepare(command: &Invocation, log: &Path, interrupt: &Interrupt) -> Result<(), StartError> {
    let failed = |source| StartError::Spawn {
        program: command.program.clone(),
        source,
    };
    let mut child = OwnChild::spawn(command, log).map_err(failed)?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        match child.ended().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return check(&mut child, &command.program, log),
            None if Instant::now() > deadline => {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            None if interrupt.sleep(LOOK) => return Err(StartError::Interrupted),
            None => {}
        }
    }
}

/// Returns the command lines of a broker's processes.
fn command_lines(recipe: &Recipe, dir: &Path) -> String {
    let front = recipe.front.iter().flat_map(|front| {
        let nodes = front.nodes.iter().map(|node| &node.start);
        std::iter::once(&front.prepare).chain(nodes)
    });
    let all = std::iter::once(&recipe.start).chain(front);
    let lines: Vec<_> = all.map(|start| command_line(start, dir)).collect();
    lines.join("; ")
}

/// Returns variables, program and arguments, to be repeated in a shell. Files of the broker are named from its
/// own folder, `dir`, and others without their folder.
fn command_line(invocation: &Invocation, dir: &Path) -> String {
    let env = invocation.env.iter();
    let env = env.map(|(name, value)| format!("{name}={}", value.to_string_lossy()));
    let program = name(&invocation.program);
    let args = invocation.args.iter();
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let words = env.chain([program]).chain(args);
    joined(words.map(|word| without_folders(&word, dir)))
}

/// Returns the program's name without its folder.
fn name(program: &Path) -> String {
    let name = program.file_name().unwrap_or(program.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Returns the first line the program prints about its version; empty when it prints none.
fn printed_version(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
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

/// Returns the end of what it said. Its own folder is not named: it is there no more when somebody reads this.
fn last_words(log: &Path) -> String {
    let said = fs::read(log).unwrap_or_default();
    let end = &said[said.len().saturating_sub(LAST_WORDS)..];
    let said = end.trim_ascii().escape_ascii().to_string();
    let said = said.replace("\\n", "\n");
    match log.parent() {
        Some(dir) => said.replace(&format!("{}/", dir.display()), ""),
        None => said,
    }
}
