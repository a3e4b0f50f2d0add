//! `mles pub` and `sub` over TLS, as processes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::common::tls_proxy::{Authority, TlsProxy, long_ago};
use crate::fake_server::{FakeServer, body, frame};

fn start(args: &[&str]) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    for name in ["MLES_KEY", "MLES_ADDR_KEY", "MLES_SERVER"] {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn run(args: &[&str]) -> (i32, String) {
    told(&start(args).wait_with_output().unwrap())
}

/// Exit code and standard error.
fn told(output: &Output) -> (i32, String) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn pub_and_sub_over_tls() {
    let authority = Authority::new();
    let server = FakeServer::start();
    let proxy = TlsProxy::start(&server.address(), &authority.localhost(), None);
    let ca = authority.ca();
    let (name, ca) = (proxy.server(), ca.to_str().unwrap());
    let publishing = start(&["pub", "news", "hello", "-u", "a", "-s", &name, "--ca", ca]);
    let mut peer = server.accept();
    assert_eq!(peer.read_bodies(1), [body("a", "news", b"hello")]);
    peer.expect_end();
    drop(peer);
    assert_eq!(
        told(&publishing.wait_with_output().unwrap()),
        (0, String::new())
    );

    let bare = name.strip_prefix("tls://").unwrap();
    let args = ["sub", "news", "-n", "1", "-s", bare, "--tls", "--ca", ca];
    let subscribing = start(&args);
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "news", "hello"));
    let output = subscribing.wait_with_output().unwrap();
    assert_eq!(told(&output), (0, String::new()));
    assert_eq!(output.stdout, b"hello\n");
}

/// A process that is killed when its test is over.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the log until there is a line that `pick` takes something from.
fn log_line<T>(log: &mut impl BufRead, pick: impl Fn(&str) -> Option<T>) -> T {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log is over");
        if let Some(picked) = pick(&line) {
            return picked;
        }
    }
}

#[test]
fn what_dev_cert_prints_works() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let made = start(&["dev-cert", "--out", out])
        .wait_with_output()
        .unwrap();
    let commands = String::from_utf8(made.stdout).unwrap();
    let [serve, sub, publish] = commands.lines().collect::<Vec<_>>().try_into().unwrap();
    let args = |line: &str, port: &str| -> Vec<String> {
        let words = line.split(' ').skip(1);
        words.map(|word| word.replace("8443", port)).collect()
    };
    let strs = |args: &[String]| start(&args.iter().map(String::as_str).collect::<Vec<_>>());

    let mut serve = args(serve, "0");
    serve.extend(["--listen".to_owned(), "none".to_owned()]);
    let mut broker = Killed(strs(&serve));
    let mut log = BufReader::new(broker.0.stderr.take().unwrap());
    let port = log_line(&mut log, |line| {
        let address = line.split_once(" listens on 127.0.0.1:")?.1;
        Some(address.split_once(" (TLS)")?.0.to_owned())
    });
    let (code, said) = told(&strs(&args(publish, &port)).wait_with_output().unwrap());
    assert_eq!((code, said.as_str()), (0, ""));
    let mut sub = args(sub, &port);
    sub.extend(["-n".to_owned(), "1".to_owned()]);
    let heard = strs(&sub).wait_with_output().unwrap();
    assert_eq!(told(&heard), (0, String::new()));
    assert_eq!(heard.stdout, b"hello\n");

    // The same signal as for other servers; a certificate that is worse than before is not taken.
    let hang_up = || {
        let id = broker.0.id().to_string();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -HUP {id}")])
            .status();
        assert!(sent.unwrap().success());
    };
    hang_up();
    log_line(&mut log, |line| {
        line.contains("certificates reloaded").then_some(())
    });
    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    hang_up();
    log_line(&mut log, |line| {
        line.contains("not reloaded, the settings in force stay")
            .then_some(())
    });
}

#[test]
fn servers_that_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = FakeServer::start();
    let ca = authority.ca();
    let refused = |pair| {
        let proxy = TlsProxy::start(&server.address(), &pair, None);
        let ca = ca.to_str().unwrap();
        let (code, said) = run(&["sub", "news", "-s", &proxy.server(), "--ca", ca]);
        assert_eq!(code, 1, "{said}");
        said
    };
    let said = refused(authority.sign("localhost", long_ago));
    assert!(said.contains("certificate has expired"), "{said}");
    let said = refused(authority.sign("other.example", |_| {}));
    assert!(
        said.contains("not for this name, but for other.example"),
        "{said}"
    );
    let said = refused(other.localhost());
    assert!(
        said.contains("not from an authority that is trusted here"),
        "{said}"
    );
}

#[test]
fn whoever_trusts_anyone_is_warned() {
    let authority = Authority::new();
    let server = FakeServer::start();
    let pair = authority.sign("other.example", long_ago);
    let proxy = TlsProxy::start(&server.address(), &pair, None);
    let child = start(&[
        "sub",
        "news",
        "-n",
        "1",
        "-s",
        &proxy.server(),
        "--insecure",
    ]);
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "news", "hello"));
    let (code, said) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("mles: WARNING: --insecure: "), "{said}");
}

/// Servers that ask for it will refuse it; others do not care.
#[test]
fn a_client_certificate_that_has_expired_is_warned_of() {
    let authority = Authority::new();
    let server = FakeServer::start();
    let proxy = TlsProxy::start(&server.address(), &authority.localhost(), None);
    let old = authority.sign("client", long_ago);
    let (ca, name) = (authority.ca(), proxy.server());
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let child = start(&[
        "pub",
        "news",
        "hello",
        "-s",
        &name,
        "--ca",
        &path(&ca),
        "--client-cert",
        &path(&old.cert),
        "--client-key",
        &path(&old.key),
    ]);
    let mut peer = server.accept();
    peer.read_frame();
    peer.expect_end();
    drop(peer);
    let (code, said) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{said}");
    let expected = format!(
        "mles: WARNING: the certificate in {} has expired ",
        path(&old.cert)
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn options_for_tls_are_not_silently_without_effect() {
    for option in [
        &["--ca", "f"][..],
        &["--insecure"],
        &["--client-cert", "c", "--client-key", "k"],
    ] {
        let (code, said) = run(&[&["pub", "news", "hello", "-s", "127.0.0.1:1"], option].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("add --tls"), "{said}");
    }
    let (code, said) = run(&["pub", "news", "hello", "--tls", "--ca", "/nonexistent"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cannot read /nonexistent"), "{said}");
    let (code, _) = run(&["pub", "news", "hello", "--tls", "--client-cert", "c"]);
    assert_eq!(code, 2);
}
