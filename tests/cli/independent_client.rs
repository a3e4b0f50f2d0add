//! A client that was written from docs/PROTOCOL.md alone, in another language, gets on with the server.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use mles::Settings;
use mles::protocol::Keyring;

use crate::common::websocket::{self, address};
use crate::common::{Server as _, start};

const SECRET: &str = "secret";

#[test]
fn a_client_written_from_the_document_misses_and_doubles_nothing() {
    let broker = start(Settings {
        keyring: Keyring::new(Some(SECRET.to_owned()), None),
        ..websocket::settings()
    });
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new("python3")
        .arg(tests.join("cli/independent_client.py"))
        .arg(broker.address().to_string())
        .arg(address(&broker).to_string())
        .arg(SECRET)
        .arg(tests.join("data/vectors-extensions.json"))
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let test = "a_client_written_from_the_document_misses_and_doubles_nothing";
            return eprintln!("SKIPPED {test}: python3 is not installed");
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
}
