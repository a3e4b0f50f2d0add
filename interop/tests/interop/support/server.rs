//! A server of either kind, as a process that can be killed and started again where it was.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

use super::listeners::{Listener, Listeners};
use super::namespace::Namespace;
use super::process::Process;
use super::{Secrets, in_package};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// Our broker: the program that `MLES_BIN` names, or the newest build of this repository.
    Ours,
    /// `mles_utils::server_run`.
    Reference,
}

/// How a server is to be started.
#[derive(Clone, Debug)]
pub(crate) struct ServerSpec {
    kind: ServerKind,
    listen: SocketAddr,
    secrets: Secrets,
    history_limit: usize,
    peer: Option<SocketAddr>,
    peer_cid: Option<u32>,
    listeners: Listeners,
    options: Vec<String>,
    namespace: Option<Namespace>,
}

impl ServerSpec {
    /// A server without secrets or upstream, with 100 frames of history, on a loopback address
    /// that no other server uses.
    pub(crate) fn new(kind: ServerKind) -> Self {
        let listen = SocketAddr::from((own_loopback_address(), 0));
        Self {
            kind,
            listen,
            secrets: Secrets::NONE,
            history_limit: 100,
            peer: None,
            peer_cid: None,
            listeners: Listeners::default(),
            options: Vec::new(),
            namespace: None,
        }
    }

    pub(crate) fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    pub(crate) fn history_limit(mut self, frames: usize) -> Self {
        self.history_limit = frames;
        self
    }

    /// Makes it a peer of the server at `upstream`.
    pub(crate) fn peer(mut self, upstream: SocketAddr) -> Self {
        self.peer = Some(upstream);
        self
    }

    /// Gives all its links this CID; the reference server cannot do that.
    pub(crate) fn peer_cid(mut self, cid: u32) -> Self {
        self.peer_cid = Some(cid);
        self
    }

    /// Opens a listener of another kind, on a port that the system chooses; ours only.
    pub(crate) fn listener(mut self, listener: Listener) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Adds options of `mles serve`; ours only.
    pub(crate) fn options<S: ToString>(mut self, options: &[S]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// Inside of a network namespace.
    pub(crate) fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// On the port that `mles-client` cannot be told to change.
    pub(crate) fn standard_port(mut self) -> Self {
        self.listen.set_port(8077);
        self
    }

    /// On another IP address.
    pub(crate) fn ip(mut self, ip: IpAddr) -> Self {
        self.listen.set_ip(ip);
        self
    }

    pub(crate) fn kind(&self) -> ServerKind {
        self.kind
    }

    /// Where it will listen, if its port is given.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(mut self) -> Server {
        let (process, address) = self.spawn();
        self.listen = address;
        let listeners = &self.listeners;
        let listeners = process.wait_for("its listeners", |line| listeners.told_in(line));
        self.listeners = listeners;
        Server {
            spec: self,
            process,
        }
    }

    fn spawn(&self) -> (Process, SocketAddr) {
        let mut command = match self.kind {
            ServerKind::Ours => self.our_command(),
            ServerKind::Reference => self.reference_command(),
        };
        for (option, secret) in [
            ("--key", self.secrets.shared),
            ("--addr-key", self.secrets.address),
        ] {
            if let Some(secret) = secret {
                command.args([option, secret]);
            }
        }
        if let Some(peer) = self.peer {
            command.args(["--peer", &peer.to_string()]);
        }
        command.args(["--history-limit", &self.history_limit.to_string()]);
        command.args(&self.options);
        let process = Process::spawn(match &self.namespace {
            Some(namespace) => namespace.inside(&command),
            None => command,
        });
        let address = process.wait_for("where it listens", |line| self.address_in(line));
        (process, address)
    }

    fn our_command(&self) -> Command {
        let mut command = our_program();
        // Two shards on any machine, so that hand-over is part of what is tested.
        command.args([
            "serve",
            "--listen",
            &self.listen.to_string(),
            "--shards",
            "2",
        ]);
        command.args(self.listeners.arguments(self.listen.ip()));
        if let Some(cid) = self.peer_cid {
            command.args(["--peer-cid", &format!("{cid:#x}")]);
        }
        if self.peer.is_some() {
            command.args(["--peer-backoff", "100ms", "--peer-backoff-max", "1s"]);
        }
        command
    }

    fn reference_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reference-server"));
        command.arg(self.listen.to_string());
        command
    }

    /// The address with the port it got, if `line` tells it.
    fn address_in(&self, line: &str) -> Option<SocketAddr> {
        line.split(|c: char| c.is_whitespace() || c == ',')
            .map(|word| {
                word.trim_start_matches("tcp://")
                    .trim_end_matches(['.', ';'])
            })
            .filter_map(|word| word.parse::<SocketAddr>().ok())
            .find(|address| address.ip() == self.listen.ip() && address.port() != 0)
    }
}

/// A running server.
pub(crate) struct Server {
    spec: ServerSpec,
    process: Process,
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.spec.listen
    }

    pub(crate) fn secrets(&self) -> Secrets {
        self.spec.secrets
    }

    pub(crate) fn kind(&self) -> ServerKind {
        self.spec.kind
    }

    /// Where it listens for that.
    pub(crate) fn listener(&self, listener: Listener) -> SocketAddr {
        SocketAddr::new(self.address().ip(), self.spec.listeners.port(listener))
    }

    /// Where WebSocket clients find it: over TLS if it has that alone.
    pub(crate) fn ws_url(&self) -> String {
        if self.spec.listeners.has(Listener::WebSocket) {
            format!("ws://{}", self.listener(Listener::WebSocket))
        } else {
            format!("wss://{}", self.listener(Listener::WebSocketTls))
        }
    }

    /// Ends it in order, as a service manager does; returns before it has ended.
    pub(crate) fn stop(&self) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Kills it and starts it anew, empty, at the same address.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it anew after [`kill`](Self::kill), empty, at the same address.
    pub(crate) fn start_again(&mut self) {
        (self.process, _) = self.spec.spawn();
    }

    /// Waits until it has told `count` times since it started that a link of one of its channels
    /// is up. The reference tells before it sends its first frame, ours once the join is taken.
    pub(crate) fn wait_for_links(&self, count: usize) {
        let told = match self.spec.kind {
            ServerKind::Ours => "link up",
            ServerKind::Reference => "Successfully connected to peer",
        };
        self.process
            .wait_for_times(count, told, |line| line.contains(told).then_some(()));
    }

    /// Waits until one of our servers has told that a link was refused or lost.
    pub(crate) fn wait_for_failed_link(&self) {
        assert_eq!(self.spec.kind, ServerKind::Ours);
        let told = "trying again";
        self.process
            .wait_for(told, |line| line.contains(told).then_some(()));
    }

    /// Waits until one of our servers has told that its link is part of a ring.
    pub(crate) fn wait_for_ring(&self) {
        assert_eq!(self.spec.kind, ServerKind::Ours);
        let told = "form a ring";
        self.process
            .wait_for(told, |line| line.contains(told).then_some(()));
    }

    /// Waits until a reference server has let the first session in since it started.
    pub(crate) fn wait_for_first_join(&self) {
        assert_eq!(self.spec.kind, ServerKind::Reference, "ours does not tell");
        let is_join = |line: &str| line.starts_with("User ") && line.ends_with(" joined.");
        self.process
            .wait_for("who joined", |line| is_join(line).then_some(()));
    }
}

/// The `mles` program, with an environment that cannot change what a test means.
pub(crate) fn our_program() -> Command {
    let mut command = Command::new(our_binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MLES_") {
            command.env_remove(name);
        }
    }
    command
}

fn our_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MLES_BIN") {
        return path.into();
    }
    let builds = ["../target/debug/mles", "../target/release/mles"].map(in_package);
    newest(&builds).unwrap_or_else(|| {
        panic!("no `mles` program: run `cargo build` in the repository's root, or set MLES_BIN")
    })
}

fn newest(files: &[PathBuf]) -> Option<PathBuf> {
    let modified = |file: &Path| -> Option<SystemTime> { file.metadata().ok()?.modified().ok() };
    files
        .iter()
        .filter(|file| modified(file).is_some())
        .max_by_key(|file| modified(file))
        .cloned()
}

/// An address of 127.64.0.0/10 that belongs to this server alone: its port cannot be taken between
/// its choice and its use, nor between two starts, and the standard port is free on it.
fn own_loopback_address() -> Ipv4Addr {
    const BITS: u32 = 10;
    const FIRST: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 0);
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let server = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
    assert!(
        server < 1 << BITS,
        "more servers in one process than loopback addresses for them"
    );
    // What is left of the 22 bits tells processes apart that run at the same time.
    let process = std::process::id() & ((1 << (22 - BITS)) - 1);
    Ipv4Addr::from_bits(FIRST.to_bits() | process << BITS | server)
}
