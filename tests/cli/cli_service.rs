//! `mles serve` under a service manager: what it is told, and the sockets that it passes on.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command, Stdio};

use mles::client::Client;

use crate::common::PATIENCE;
use crate::common::http::Http;
use crate::program::mles;

/// Takes the place of the service manager.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    /// Starts the program in a shell, after `before`.
    fn start(&self, before: &str, args: &[&str], set: impl FnOnce(&mut Command)) -> Service {
        let program = mles();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{before} exec \"$0\" serve \"$@\"")])
            .arg(program.get_program())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        set(&mut command);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Service { child, log }
    }

    /// Waits until something is told that has all of these.
    fn wait_for(&self, parts: &[&str]) -> String {
        let mut told = [0; 4096];
        loop {
            let len = self
                .socket
                .recv(&mut told)
                .unwrap_or_else(|error| panic!("no {parts:?}: {error}"));
            let told = String::from_utf8(told[..len].to_vec()).unwrap();
            if parts.iter().all(|part| told.contains(part)) {
                return told;
            }
        }
    }
}

/// The program; it is killed when its test is over.
struct Service {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Service {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// What it says before it ends.
    fn log(&mut self) -> String {
        let lines = (&mut self.log).lines();
        lines.map(|line| line.unwrap() + "\n").collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_is_told_how_the_broker_is() {
    let manager = Manager::new();
    let args = ["--listen", "127.0.0.1:0", "--drain-grace", "1h"];
    let mut service = manager.start("", &args, |command| {
        command.env("WATCHDOG_USEC", "300000");
    });
    let ready = manager.wait_for(&["READY=1"]);
    assert!(
        ready.contains("STATUS=Serving 0 connections in 0 channels"),
        "{ready}"
    );
    manager.wait_for(&["WATCHDOG=1"]);
    manager.wait_for(&["WATCHDOG=1"]);
    service.signal("-HUP");
    manager.wait_for(&["RELOADING=1", "MONOTONIC_USEC="]);
    manager.wait_for(&["READY=1"]);
    service.signal("-TERM");
    // An hour, the deadline, and a reserve.
    manager.wait_for(&["STOPPING=1", "EXTEND_TIMEOUT_USEC=3615000000"]);
    manager.wait_for(&["WATCHDOG=1", "STATUS=Stopping: 0 connections left"]);
    service.signal("-TERM");
    assert_eq!(service.child.wait().unwrap().code(), Some(143));
}

/// Passes sockets on as descriptors 3 and 4.
const PASS: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$;";

fn passing(sockets: [&TcpListener; 2], names: &str) -> impl FnOnce(&mut Command) {
    let [one, two] =
        sockets.map(|socket| Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap())));
    let names = names.to_owned();
    move |command| {
        command.stdin(one).stdout(two).env("LISTEN_FDNAMES", names);
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn sockets_that_are_passed_take_the_place_of_options() {
    let manager = Manager::new();
    let ((plain, at), (web, web_at)) = (listener(), listener());
    let args = ["--listen", "127.0.0.1:1", "--shards", "2"];
    let service = manager.start(PASS, &args, passing([&plain, &web], "listen:ws"));
    manager.wait_for(&["READY=1"]);
    let mut sessions = Vec::new();
    for n in 0..10 {
        let client = Client::new(at.to_string(), format!("member {n}"));
        sessions.push(client.join("room").await.unwrap());
    }
    assert_eq!(Http::connect(web_at).ask("GET /", "").status, 200);
    let answer = Http::connect(web_at).ask("GET /channels/room/members?limit=0", "");
    assert!(
        answer.status == 200 && answer.body.starts_with("{\"count\":"),
        "{answer:?}"
    );
    // Who connects while nobody serves waits for the next program.
    drop(service);
    let client = Client::new(at.to_string(), "early");
    let early = tokio::spawn(async move { client.join("room").await });
    let _next = manager.start(
        PASS,
        &args,
        passing([&plain, &web], "mles.socket:mles-ws.socket"),
    );
    manager.wait_for(&["READY=1"]);
    let mut early = early.await.unwrap().unwrap();
    let mut other = Client::new(at.to_string(), "other")
        .join("room")
        .await
        .unwrap();
    other.publish("hello").await.unwrap();
    loop {
        let message = early.recv().await.unwrap().unwrap();
        if !message.is_announcement() {
            return assert_eq!(message.text(), "hello");
        }
    }
}

#[test]
fn a_socket_that_cannot_be_used_is_told() {
    let manager = Manager::new();
    let ((plain, _), (other, _)) = (listener(), listener());
    let mut service = manager.start(PASS, &[], passing([&plain, &other], "listen:web"));
    let log = service.log();
    assert!(
        log.contains("a socket called \"web\": set FileDescriptorName="),
        "{log}"
    );
    assert_eq!(service.child.wait().unwrap().code(), Some(1));

    let beyond = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut service = manager.start(PASS, &[], passing([&plain, &beyond], "listen:ws"));
    let log = service.log();
    assert!(log.contains("refusing to listen on 0.0.0.0:"), "{log}");

    let mut service = manager.start(PASS, &[], passing([&plain, &other], "listen:tls"));
    let log = service.log();
    assert!(log.contains("TLS listeners need a certificate"), "{log}");
}
