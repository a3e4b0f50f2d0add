//! TLS with a certificate of `mles dev-cert`, as Python's `websockets`, Node's `ws` and OpenSSL's
//! `s_client` meet it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::{member, with_each_library};
use crate::support::{
    Event, Library, Listener, Process, Secrets, Server, ServerKind, ServerSpec, Session, Visit,
    WsClient, large_text, our_program, skip,
};

with_each_library!(
    members_talk_over_tls,
    a_certificate_that_is_not_trusted_is_refused
);

const CHANNEL: &str = "room";

/// A certificate and its key in a folder that goes with it.
pub(super) struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// Makes one for the address of a server that is to be started.
    pub(super) fn make(spec: &ServerSpec) -> Self {
        let ip = spec.address().ip().to_string();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("certificate-{ip}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = our_program();
        command.args(["dev-cert", "--force", "--name", &ip, "--out"]);
        let output = command.arg(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self { folder }
    }

    pub(super) fn cert(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The options of a server that uses it.
    pub(super) fn options(&self) -> [String; 4] {
        let key = self.folder.join("key.pem");
        let option = |name: &str| name.to_owned();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        [
            option("--tls-cert"),
            path(&self.cert()),
            option("--tls-key"),
            path(&key),
        ]
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What is left behind is in the build's folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A broker with both listeners for TLS.
pub(super) fn server_with(secrets: Secrets) -> (Server, Certificate) {
    let spec = ServerSpec::new(ServerKind::Ours)
        .secrets(secrets)
        .listener(Listener::MlesTls)
        .listener(Listener::WebSocketTls);
    let certificate = Certificate::make(&spec);
    let server = spec.options(&certificate.options()).start();
    (server, certificate)
}

fn members_talk_over_tls(library: Library) {
    let (server, certificate) = server_with(Secrets::SHARED);
    let ca = certificate.cert();
    let visit = Visit {
        ca: Some(&ca),
        ..Visit::default()
    };
    let shared = server.secrets().shared;
    let mut tcp = member(&server, "dora", CHANNEL);
    let mut anna = WsClient::open(library, &server.ws_url(), visit);
    anna.greet(shared, "anna", CHANNEL);
    let mut bert = WsClient::open(library, &server.ws_url(), visit);
    bert.greet(shared, "bert", CHANNEL);
    anna.text("hello");
    bert.expect_text("hello");
    assert_eq!(tcp.receive_message().text(), "hello");
    let large = large_text(1024 * 1024);
    bert.text(&large);
    assert!(anna.next() == Event::Text(large.clone()));
    assert!(tcp.receive_message().text() == large);
    tcp.send("from TCP");
    anna.expect_text("from TCP");
    bert.expect_text("from TCP");
    anna.close(1000, "");
    anna.expect_closed(1000);
}

fn a_certificate_that_is_not_trusted_is_refused(library: Library) {
    let (server, _certificate) = server_with(Secrets::NONE);
    let mut anna = WsClient::start(library, &server.ws_url(), Visit::default());
    let event = anna.next();
    assert!(
        matches!(&event, Event::Failed(why) if why.contains("certificate")),
        "{event:?}"
    );
}

/// Returns `true` if OpenSSL is there; if not, says that the running test is skipped.
pub(super) fn has_openssl() -> bool {
    let output = Command::new("openssl").arg("version").output();
    let has = output.is_ok_and(|output| output.status.success());
    if !has {
        skip("no openssl");
    }
    has
}

fn s_client(server: &Server, listener: Listener, certificate: &Certificate) -> Command {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &server.listener(listener).to_string(),
    ]);
    command.args(["-alpn", "mles,http/1.1", "-verify_return_error", "-CAfile"]);
    command.arg(certificate.cert());
    command
}

/// Shakes hands and says nothing; what it tells about the session.
fn handshake(mut command: Command, options: &[&str]) -> (ExitStatus, String) {
    command.args(options);
    let mut process = Process::spawn(command);
    process.close_stdin();
    let (status, lines) = process.wait();
    (status, lines.join("\n"))
}

#[test]
fn openssl_agrees_on_tls_1_2_and_1_3() {
    if !has_openssl() {
        return;
    }
    let (server, certificate) = server_with(Secrets::NONE);
    for (listener, alpn) in [
        (Listener::MlesTls, "mles"),
        (Listener::WebSocketTls, "http/1.1"),
    ] {
        for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let (status, told) = handshake(s_client(&server, listener, &certificate), &[option]);
            assert!(status.success(), "{listener:?} {version}: {told}");
            for wanted in [
                format!("New, {version}, Cipher is "),
                format!("ALPN protocol: {alpn}\n"),
                "Verify return code: 0 (ok)".to_owned(),
                "Compression: NONE".to_owned(),
            ] {
                assert!(
                    told.contains(&wanted),
                    "{listener:?}: no {wanted} in {told}"
                );
            }
        }
    }
}

#[test]
fn openssl_cannot_use_what_is_older() {
    if !has_openssl() {
        return;
    }
    let (server, certificate) = server_with(Secrets::NONE);
    for listener in [Listener::MlesTls, Listener::WebSocketTls] {
        for option in ["-tls1", "-tls1_1"] {
            let mut command = s_client(&server, listener, &certificate);
            // Without this it would not even ask.
            command.args(["-cipher", "ALL:@SECLEVEL=0", option]);
            let mut process = Process::spawn(command);
            process.close_stdin();
            let (status, _) = process.wait();
            assert!(!status.success(), "{listener:?} {option}");
            // The server has said so.
            process.wait_for("an alert", |line| line.contains("alert").then_some(()));
        }
    }
}

#[test]
fn openssl_resumes_sessions() {
    if !has_openssl() {
        return;
    }
    let (server, certificate) = server_with(Secrets::NONE);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = certificate.folder.join("session.pem");
        let session = session.to_str().unwrap();
        let mut command = s_client(&server, Listener::WebSocketTls, &certificate);
        command.args([option, "-sess_out", session]);
        let mut process = Process::spawn(command);
        // The ticket of TLS 1.3 comes behind the handshake, so it stays until it is answered.
        process.write(b"GET / HTTP/1.0\r\n\r\n");
        let (_, lines) = process.wait();
        assert!(
            lines.iter().any(|line| line.starts_with("New, ")),
            "{lines:?}"
        );
        let command = s_client(&server, Listener::WebSocketTls, &certificate);
        let (_, told) = handshake(command, &[option, "-sess_in", session]);
        assert!(told.contains(&format!("Reused, {version}")), "{told}");
    }
}

/// A member of Mles v1 that is no more than `openssl s_client`.
#[test]
fn openssl_carries_frames() {
    if !has_openssl() {
        return;
    }
    let (server, certificate) = server_with(Secrets::SHARED);
    let mut tcp = member(&server, "dora", CHANNEL);
    let mut command = s_client(&server, Listener::MlesTls, &certificate);
    command.arg("-quiet");
    let mut anna = Process::spawn(command);
    let frames = Session::connect(server.address(), server.secrets(), "anna", CHANNEL);
    anna.write(&frames.frame(""));
    anna.write(&frames.frame("hello"));
    assert_eq!(tcp.receive_message().text(), "hello");
    tcp.send("hei\n");
    anna.wait_for("the frame", |line| line.ends_with("hei").then_some(()));
}
