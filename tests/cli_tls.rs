//! `mles pub` and `sub` over TLS, as processes.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod fake_server;
mod tls_proxy;

use std::process::{Command, Output, Stdio};

use fake_server::{FakeServer, body, frame};
use tls_proxy::{Authority, TlsProxy, long_ago};

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
    assert_eq!(peer.read_frame().body, body("a", "news", b"hello"));
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
