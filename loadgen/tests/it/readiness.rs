//! Brokers that listen and do not serve yet.

use std::path::Path;
use std::process::Command;

use crate::broker_process::skip;
use crate::support::said;

const HESITANT_MLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hesitant_mles.py");

#[test]
fn a_broker_is_loaded_once_it_serves() {
    let mles = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("mles");
    if !mles.is_file() || Command::new("python3").arg("--version").output().is_err() {
        skip("mles is not built, or python3 is not installed");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["compare", "--brokers", "mles", "--mles-bin", HESITANT_MLES])
        .args(["--scenario", "fanout", "--rounds", "1", "--seconds", "0.2"])
        .env("HESITANT", mles)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
