//! `mles dev-cert` as a process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use mles::tls::{ClientTls, ClientTlsOptions};

fn dev_cert(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    command.arg("dev-cert").arg("--out").arg(folder).args(args);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn it_writes_a_pair_that_fits_and_a_key_that_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    let output = dev_cert(&out, &["--name", "box.lan"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (cert, key) = (out.join("cert.pem"), out.join("key.pem"));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Loading it as a client's own checks that certificate and key belong together.
    let options = ClientTlsOptions::default().ca(&cert).identity(&cert, &key);
    ClientTls::new(options).unwrap();
    let said = text(&output.stderr);
    assert!(
        said.contains("localhost, 127.0.0.1, ::1, box.lan"),
        "{said}"
    );
}

#[test]
fn it_prints_three_commands_with_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("it's here");
    let output = dev_cert(&out, &[]);
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    let starts = ["mles serve ", "mles sub ", "mles pub "];
    assert_eq!(lines.len(), starts.len());
    let cert = format!("'{}/it'\\''s here/cert.pem'", folder.path().display());
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start) && line.contains(&cert), "{line}");
    }
}

#[test]
fn it_does_not_write_over_files_unless_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    for there in [&cert, &key] {
        fs::write(there, "precious").unwrap();
        let output = dev_cert(folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(&there.display().to_string()), "{said}");
        assert!(said.contains("--force"), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(there).unwrap(), "precious");
        fs::remove_file(there).unwrap();
    }
    fs::write(&key, "precious").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(dev_cert(folder.path(), &["--force"]).status.success());
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_had_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = dev_cert(&file.join("below"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write"), "{output:?}");
    let output = dev_cert(folder.path(), &["--name", "bücher"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("these names"), "{output:?}");
}
