//! Where the program takes keys from: the same for servers and clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use mles::client::Key;
use tempfile::TempDir;

use crate::fake_server::FakeServer;
use crate::program::{Mles, mles, taken};

/// A folder with a key file of `text`, which nobody else can read.
fn key_file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// The key in the join of a client.
fn client_key(args: &[&str], variables: &[(&str, &str)]) -> Key {
    let server = FakeServer::start();
    let args = [&["pub", "news", "one", "--uid", "alice"], args].concat();
    let _mles = Mles::start_with(&server, &args, |command| {
        command.envs(variables.iter().copied()).stdin(Stdio::null())
    });
    Key(server.accept().read_frame().key)
}

/// Checks the settings of a server, without starting it.
fn server_says(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = mles();
    // It gets as far as the address, which it cannot have.
    command
        .args(["serve", "--listen", "203.0.113.1:1"])
        .args(args);
    command.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn an_option_wins_over_the_environment_for_the_key_and_for_its_file() {
    let (_folder, path) = key_file("from file\n");
    let file = path.as_str();
    for (args, variables, expected) in [
        (&["--key-file", file][..], &[][..], "from file"),
        (&[], &[("MLES_KEY_FILE", file)], "from file"),
        (&["--key-file", file], &[("MLES_KEY", "other")], "from file"),
        (&["--key", "mine"], &[("MLES_KEY_FILE", file)], "mine"),
        (&["--key", "mine"], &[("MLES_KEY", "other")], "mine"),
        (
            &["--key", "mine"],
            &[("MLES_KEY_FILE", "/nonexistent")],
            "mine",
        ),
        // An empty variable counts as not set.
        (
            &[],
            &[("MLES_KEY", ""), ("MLES_KEY_FILE", file)],
            "from file",
        ),
        (
            &[],
            &[("MLES_KEY", "other"), ("MLES_KEY_FILE", "")],
            "other",
        ),
        (&["--key", "mine"], &[("MLES_ADDR_KEY", "")], "mine"),
    ] {
        let expected = Key::from_parts([expected, "alice", "news"]);
        assert_eq!(
            client_key(args, variables),
            expected,
            "{args:?} {variables:?}"
        );
    }
}

#[test]
fn every_variable_that_is_empty_counts_as_not_set() {
    let names = ["MLES_SERVER", "MLES_KEY", "MLES_KEY_FILE", "MLES_ADDR_KEY"];
    let empty = names.map(|name| (name, ""));
    for command in ["pub", "sub", "chat"] {
        let mut program = mles();
        program
            .args([command, "news"])
            .envs(empty)
            .stdin(Stdio::null());
        if command == "pub" {
            program.arg("one");
        }
        program.args(["--server", "127.0.0.1:1"]);
        let (code, _, stderr) = taken(&program.output().unwrap());
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("cannot connect"), "{stderr}");
    }
    let mut program = mles();
    let output = program.args(["sub", "news", "--tls"]).envs(empty).output();
    let (_, _, stderr) = taken(&output.unwrap());
    assert!(stderr.contains("localhost"), "no default server: {stderr}");
}

#[test]
fn what_cannot_be_the_key_is_told_by_servers_and_clients_alike() {
    let (_a, empty) = key_file("\n");
    let (_b, lines) = key_file("one\ntwo\n");
    let (_c, good) = key_file("good");
    for (args, variables, part) in [
        (&["--key-file", &empty][..], &[][..], "is empty"),
        (&["--key-file", &lines], &[], "several lines"),
        (&["--key-file", "/nonexistent/key"], &[], "/nonexistent/key"),
        (
            &["--key-file", "/dev/zero"],
            &[],
            "larger than a key can be",
        ),
        (
            &["--key", "k", "--key-file", &good],
            &[],
            "both `key` and `key_file`",
        ),
        (
            &[],
            &[("MLES_KEY", "k"), ("MLES_KEY_FILE", good.as_str())],
            "both",
        ),
        (
            &[],
            &[("MLES_KEY_FILE", "/nonexistent/key")],
            "MLES_KEY_FILE",
        ),
    ] {
        let (code, _, stderr) = taken(&server_says(args, variables));
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(part), "server: {stderr}");
        assert!(!stderr.contains("203.0.113.1"), "server: {stderr}");
        let mut client = mles();
        client
            .args(["sub", "news", "--server", "127.0.0.1:1"])
            .args(args);
        let output = client.envs(variables.iter().copied()).output().unwrap();
        let (code, _, stderr) = taken(&output);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(part), "client: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "client: {stderr}");
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_are_no_part_of_the_key() {
    for text in ["the key", "the key\n", "the key\r\n", "\u{feff}the key\n\n"] {
        let (_folder, path) = key_file(text);
        let expected = Key::from_parts(["the key", "alice", "news"]);
        assert_eq!(
            client_key(&["--key-file", &path], &[]),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn a_key_file_that_everybody_can_read_is_pointed_out() {
    let (folder, path) = key_file("secret\n");
    let warns = |args: &[&str]| {
        let mut client = mles();
        client
            .args(["sub", "news", "--server", "127.0.0.1:1"])
            .args(args);
        let (_, _, client) = taken(&client.output().unwrap());
        let (_, _, server) = taken(&server_says(args, &[]));
        let said = |text: &str| text.contains("every user of this machine can read the key file");
        assert_eq!(said(&client), said(&server), "{client}\n{server}");
        said(&client)
    };
    let args = ["--key-file", path.as_str()];
    assert!(!warns(&args));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    // The folder keeps the others out.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(!warns(&args));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(warns(&args));
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(!warns(&args));
}
