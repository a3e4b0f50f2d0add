//! Behind nginx and haproxy, with the configurations that OPERATIONS.md shows: WebSocket and TCP pass
//! with TLS in front, and the broker knows its clients.
//!
//! Skipped, by name, where those are not installed.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mles::protocol::Keyring;
use mles::{Broker, ListenerKind};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::api::TEXT_PLAIN;
use crate::common::events::Events;
use crate::common::http::Http;
use crate::common::websocket::{BINARY, Got, TEXT, Ws, address, body, hello, quiet, request};
use crate::common::{Client, Server as _, free_address, start, wait_until};
use crate::tls::over_tls;

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// Addresses of this machine, each a client of its own.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn keyring() -> Keyring {
    Keyring::new(Some("secret".to_owned()), None)
}

/// A broker behind a proxy on 127.0.0.1, at which every address may have one connection.
fn behind() -> Broker {
    let mut settings = quiet();
    settings.keyring = keyring();
    settings.websocket.trust = true;
    settings.proxies.trusted = vec!["127.0.0.1".parse().unwrap()];
    settings.proxies.protocol = vec![ListenerKind::Mles];
    settings.limits.max_connections_per_address = 1;
    start(settings)
}

/// The block of code in the documentation that is in that language.
fn documented(language: &str) -> String {
    let (_, rest) = OPERATIONS.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Replaces what has to be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} in {text}");
    text.replace(from, to)
}

/// A proxy that runs, and is killed when the test is over.
struct Proxy {
    child: Child,
    roots: RootCertStore,
    _files: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts `program` with what `config` makes of the folder that has `cert.pem`, `key.pem` and both
    /// in `both.pem`. `None` if it is not installed.
    fn start(
        program: &str,
        test: &str,
        at: &[SocketAddr],
        config: impl FnOnce(&Path) -> (String, Vec<String>),
    ) -> Option<Self> {
        let programs = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        let found = programs
            .iter()
            .map(|folder| Path::new(folder).join(program));
        let Some(program) = found.into_iter().find(|path| path.exists()) else {
            eprintln!("SKIPPED {test}: {program} is not installed");
            return None;
        };
        let files = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(files.path().join("both.pem"), format!("{cert}{key}")).unwrap();
        fs::write(files.path().join("cert.pem"), &cert).unwrap();
        fs::write(files.path().join("key.pem"), key).unwrap();
        let (text, args) = config(files.path());
        fs::write(files.path().join("config"), text).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(files.path());
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        roots.add(cert).unwrap();
        let proxy = Self {
            child,
            roots,
            _files: files,
        };
        wait_until("the proxy listens", || {
            at.iter().all(|at| TcpStream::connect(at).is_ok())
        });
        Some(proxy)
    }

    /// Where clients with that address reach what is behind it.
    fn from(&self, source: Ipv4Addr, to: SocketAddr) -> SocketAddr {
        over_tls(source, to, self.roots.clone())
    }
}

fn nginx(broker: &Broker, at: SocketAddr, test: &str) -> Option<Proxy> {
    nginx_with(documented("nginx"), broker, at, test)
}

/// Like [`nginx`], with connections to the broker that are kept for further requests.
fn nginx_that_keeps_connections(broker: &Broker, at: SocketAddr, test: &str) -> Option<Proxy> {
    let upstream = format!(
        "upstream broker {{ server {}; keepalive 4; }}\n",
        address(broker)
    );
    let block = documented("nginx");
    let block = replaced(&block, "''      close;", "''      '';");
    let block = replaced(
        &block,
        "proxy_pass http://127.0.0.1:8076",
        "proxy_pass http://broker",
    );
    let unused = "# 127.0.0.1:8076\n";
    nginx_with(
        [upstream.as_str(), unused, &block].concat(),
        broker,
        at,
        test,
    )
}

fn nginx_with(block: String, broker: &Broker, at: SocketAddr, test: &str) -> Option<Proxy> {
    Proxy::start("nginx", test, &[at], |folder| {
        let folder = folder.display();
        let block = replaced(&block, "listen 443 ssl", &format!("listen {at} ssl"));
        let block = replaced(&block, "127.0.0.1:8076", &address(broker).to_string());
        let block = replaced(
            &block,
            "/etc/ssl/chat.example.pem",
            &format!("{folder}/cert.pem"),
        );
        let block = replaced(
            &block,
            "/etc/ssl/chat.example.key",
            &format!("{folder}/key.pem"),
        );
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr warn;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}{block}}}\n"
        );
        let args = ["-p", &folder.to_string(), "-c", "config", "-e", "stderr"];
        (text, args.map(str::to_owned).to_vec())
    })
}

fn haproxy(broker: &Broker, mles: SocketAddr, web: SocketAddr, test: &str) -> Option<Proxy> {
    Proxy::start("haproxy", test, &[mles, web], |folder| {
        let block = documented("haproxy");
        let block = replaced(&block, "bind :8443", &format!("bind {mles}"));
        let block = replaced(&block, "bind :443", &format!("bind {web}"));
        let block = replaced(&block, "127.0.0.1:8077", &broker.address().to_string());
        let block = replaced(&block, "127.0.0.1:8076", &address(broker).to_string());
        let cert = format!("{}/both.pem", folder.display());
        let block = replaced(&block, "/etc/haproxy/chat.example.pem", &cert);
        // Checks and ends that do not take the test's time.
        let block = replaced(&block, "timeout server-fin 30s", "timeout server-fin 100ms");
        let block = replaced(&block, " check\n", " check inter 100ms\n");
        let text = format!("global\n    maxconn 100\n\n{block}");
        (text, ["-db", "-f", "config"].map(str::to_owned).to_vec())
    })
}

/// Two clients with addresses of their own meet; a third, with the address of the first, is turned
/// away.
fn assert_knows_websocket_clients(broker: &Broker, one: SocketAddr, other: SocketAddr) {
    let mut alice = Ws::open(one);
    alice.join(broker, TEXT, hello("alice", "room").as_bytes());
    let mut bob = Ws::open(other);
    bob.join(broker, BINARY, &body("bob", "room", b""));
    bob.send(BINARY, &body("bob", "room", b"hello"));
    assert_eq!(alice.message(), Got::Text("hello".to_owned()));
    let before = broker.stats().turned_away;
    let refused = Ws::ask(one, &request("/", "")).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    wait_until("it is counted", || broker.stats().turned_away > before);
    // What a client says of itself is not believed.
    let forged = request("/", "X-Forwarded-For: 192.0.2.1\r\n");
    let refused = Ws::ask(one, &forged).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // A place is free again when its client has gone.
    let left = broker.stats().left;
    drop(alice);
    wait_until("she has gone", || broker.stats().left > left);
    Ws::open(one).join(broker, TEXT, hello("alice", "room").as_bytes());
}

/// Events pass one by one, and the client of the stream is known until it goes.
fn assert_streams_events(broker: &Broker, one: SocketAddr, other: SocketAddr) {
    let path = "/channels/stream/events";
    let mut stream = Client::connect(&one);
    // In this version proxies put no chunks around them.
    let asks = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(asks.as_bytes()).unwrap();
    let mut events = Events::on(stream);
    events.data("welcome");
    for text in ["one", "two", "three"] {
        let mut http = Http::connect(other);
        let answer = http.post("/channels/stream/messages", TEXT_PLAIN, text);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(events.text(), text);
    }
    let refused = Ws::ask(one, &request("/", "")).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let left = broker.stats().left;
    drop(events);
    // A proxy may only find out when there is something to pass on.
    wait_until("it has gone", || {
        let path = "/channels/stream/messages";
        Http::connect(other).post(path, TEXT_PLAIN, "more");
        broker.stats().left > left
    });
}

#[test]
fn nginx_passes_websocket_on_and_its_clients_are_known() {
    let broker = behind();
    let at = free_address();
    let Some(nginx) = nginx(
        &broker,
        at,
        "nginx_passes_websocket_on_and_its_clients_are_known",
    ) else {
        return;
    };
    let (one, other) = (nginx.from(ONE, at), nginx.from(OTHER, at));
    assert_streams_events(&broker, one, other);
    assert_knows_websocket_clients(&broker, one, other);
}

#[test]
fn nginx_may_keep_connections_and_upgrade_them_later() {
    let broker = behind();
    let at = free_address();
    let Some(nginx) = nginx_that_keeps_connections(
        &broker,
        at,
        "nginx_may_keep_connections_and_upgrade_them_later",
    ) else {
        return;
    };
    let one = nginx.from(ONE, at);
    for _ in 0..10 {
        let mut http = Http::connect(one);
        assert_eq!(http.ask("GET /", "").status, 200);
        let publish = "Content-Type: text/plain\r\nContent-Length: 5\r\n";
        http.send(format!(
            "POST /channels/room/messages HTTP/1.1\r\nHost: localhost\r\n{publish}\r\nhello"
        ));
        assert_eq!(http.answer().status, 201);
    }
    let accepted = broker.stats().accepted;
    assert!(accepted <= 4, "{accepted} connections");
    let other = nginx.from(OTHER, at);
    assert_streams_events(&broker, one, other);
    assert_knows_websocket_clients(&broker, one, other);
}

#[test]
fn haproxy_passes_everything_on_and_its_clients_are_known() {
    let broker = behind();
    let (mles, web) = (free_address(), free_address());
    let Some(haproxy) = haproxy(
        &broker,
        mles,
        web,
        "haproxy_passes_everything_on_and_its_clients_are_known",
    ) else {
        return;
    };
    let (one, other) = (haproxy.from(ONE, mles), haproxy.from(OTHER, mles));
    let join = |at: SocketAddr, uid: &str| {
        let joined = broker.stats().joined;
        let client = Client::join_with(&at, &keyring(), uid, "room", b"", None);
        wait_until("it has joined", || broker.stats().joined > joined);
        client
    };
    let (mut alice, mut bob) = (join(one, "alice"), join(other, "bob"));
    alice.send(b"hello");
    assert_eq!(bob.text(), "hello");
    let before = broker.stats().turned_away;
    let mut third = Client::join_with(&one, &keyring(), "third", "room", b"", None);
    third.assert_closed();
    wait_until("it is counted", || broker.stats().turned_away > before);
    [alice, bob, third].into_iter().for_each(Client::reset);
    wait_until("they have gone", || broker.stats().left == 2);

    let (one, other) = (haproxy.from(ONE, web), haproxy.from(OTHER, web));
    assert_streams_events(&broker, one, other);
    assert_knows_websocket_clients(&broker, one, other);
}

/// Checks by TCP with a PROXY header, and by HTTP.
#[test]
fn health_checks_of_haproxy_are_not_refused() {
    let broker = behind();
    let (mles, web) = (free_address(), free_address());
    let Some(_haproxy) = haproxy(
        &broker,
        mles,
        web,
        "health_checks_of_haproxy_are_not_refused",
    ) else {
        return;
    };
    wait_until("it has checked", || broker.stats().accepted >= 20);
    let stats = broker.stats();
    assert_eq!((stats.refused, stats.turned_away), (0, 0));
}
