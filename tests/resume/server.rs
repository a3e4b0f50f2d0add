//! The server of a run: in this process where its histories are in memory, and in one of its own where they are on disk,
//! so that it can be killed.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mles::channel::HistoryStorage;
use mles::{Broker, Settings};
use serde::{Deserialize, Serialize};

use crate::common::PATIENCE;
use crate::log::Stop;
use crate::place::Addresses;
use crate::scenario::{Scenario, Storage, Theme};

/// The environment variable that tells a process which server it is.
const ROLE: &str = "MLES_TEST_SERVER";
/// What a process says before the reason why it could not start.
const FAILED: &str = "failed: ";
/// The name of the fleet.
const FLEET: &str = "test";
/// Time after which a node whose log is away holds its publishers. After three times as long it lets its clients go.
const FLEET_PATIENCE: Duration = Duration::from_millis(700);
/// What a process says when it listens.
const LISTENS: &str = "listens";

/// All that a server of a run is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    pub theme: Theme,
    pub seed: u64,
    pub storage: Storage,
    pub addresses: Addresses,
    pub admin: SocketAddr,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The directory of the store.
    pub dir: PathBuf,
    /// The NATS server that has the log of the fleet.
    pub log: Option<String>,
}

impl Launch {
    fn settings(&self) -> Settings {
        let scenario = Scenario::with_storage(self.theme, self.seed, self.storage);
        let mut settings = scenario.settings();
        settings.listen = vec![self.addresses.tcp];
        settings.websocket.listen = vec![self.addresses.web];
        settings.tls.listen = vec![self.addresses.tls];
        settings.tls.cert = Some(self.cert.clone());
        settings.tls.key = Some(self.key.clone());
        match self.storage {
            Storage::Memory => {}
            Storage::Disk | Storage::DiskLater => {
                settings.channels.default.history = HistoryStorage::Disk;
                settings.store.dir = Some(self.dir.clone());
                settings.store.sync = scenario.sync();
                settings.admin.listen = vec![self.admin];
            }
            Storage::Fleet => {
                let servers = self.log.iter().map(|url| url.parse().unwrap());
                settings.fleet.servers = servers.collect();
                settings.fleet.name = Some(FLEET.parse().unwrap());
                settings.fleet.patience = FLEET_PATIENCE;
            }
        }
        settings
    }

    /// Starts a server, as soon as the one before has left its addresses. Blocks. The error says why it does not start.
    pub fn start(&self) -> Result<Server, String> {
        if self.storage == Storage::Memory {
            return Ok(Server::Here(start_here(&self.settings())));
        }
        let mut process = self.spawn();
        let stdin = process.stdin.take().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut why = "the server has ended at its start".to_owned();
        while let Some(line) = stdout.next() {
            let line = line.unwrap();
            if line == LISTENS {
                return Ok(Server::Process {
                    process,
                    stdin,
                    stdout,
                });
            }
            if let Some(reason) = line.strip_prefix(FAILED) {
                why = format!("the server does not start: {reason}");
            }
        }
        process.wait().unwrap();
        Err(why)
    }

    /// Makes the log of the fleet, if the server is a node of one.
    pub fn make_log(&self) {
        let Some(url) = &self.log else {
            return;
        };
        let init = ["fleet", "init", url, "--name", FLEET, "--replicas", "1"];
        let output = Command::new(env!("CARGO_BIN_EXE_mles")).args(init).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// Starts a server in a process of its own, and kills it soon, however far it has come. Blocks.
    pub fn start_and_kill(&self, after: Duration) {
        let mut process = self.spawn();
        std::thread::sleep(after);
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn spawn(&self) -> Child {
        let (_, module) = module_path!().split_once("::").unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::server_process")])
            .args(["--ignored", "--nocapture"])
            .env(ROLE, serde_json::to_string(self).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn start_here(settings: &Settings) -> Broker {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Broker::start(settings.clone()) {
            Ok(broker) => return broker,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a process a signal.
fn signal(process: &Child, signal: &str) {
    let pid = process.id().to_string();
    let status = Command::new("kill").args([signal, &pid]).status();
    assert!(status.unwrap().success());
}

/// A server that runs.
#[derive(Debug)]
pub enum Server {
    Here(Broker),
    Process {
        process: Child,
        /// Its end is what tells it to stop.
        stdin: ChildStdin,
        /// Kept open, as its test runner still writes there at its end.
        stdout: Lines<BufReader<ChildStdout>>,
    },
}

impl Server {
    /// Has its process stand still for a while, if it has one of its own. Blocks.
    pub fn pause(&self, time: Duration) {
        if let Self::Process { process, .. } = self {
            signal(process, "-STOP");
            std::thread::sleep(time);
            signal(process, "-CONT");
        }
    }

    /// Stops it, and waits until it has stopped. It must have been well until then.
    pub fn stop(self, how: Stop) -> Result<(), String> {
        match self {
            Self::Here(broker) => {
                let handle = broker.stop_handle();
                match how {
                    Stop::Orderly => handle.drain(),
                    Stop::Sudden => handle.abort(),
                }
                broker.wait().map(drop).map_err(|error| error.to_string())
            }
            Self::Process {
                mut process,
                stdin,
                stdout: _stdout,
            } => {
                match how {
                    Stop::Orderly => drop(stdin),
                    Stop::Sudden => {
                        let ended = process.try_wait().unwrap();
                        if let Some(status) = ended {
                            return Err(format!("the server has ended by itself: {status}"));
                        }
                        process.kill().unwrap();
                    }
                }
                let status = process.wait().unwrap();
                if how == Stop::Orderly && !status.success() {
                    return Err(format!("the server has not ended well: {status}"));
                }
                Ok(())
            }
        }
    }
}

/// No test: the body of a process that is a server.
#[test]
#[ignore = "it is what other tests start"]
fn server_process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let launch: Launch = serde_json::from_str(&role).unwrap();
    // The line of the test runner has no end yet.
    println!();
    let broker = match Broker::start(launch.settings()) {
        Ok(broker) => broker,
        Err(error) => return println!("{FAILED}{error}"),
    };
    println!("{LISTENS}");
    for _ in std::io::stdin().lines() {}
    broker.stop().unwrap();
}
