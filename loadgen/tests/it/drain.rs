//! Clients that move from a server that drains to the one above it.

use std::path::Path;

use crate::broker_process::skip;
use crate::support::{loadgen, said};

#[test]
fn all_clients_move_and_none_loses_a_message() {
    if !Path::new(env!("CARGO_BIN_EXE_loadgen"))
        .with_file_name("mles")
        .is_file()
    {
        skip("mles is not built");
        return;
    }
    for broker in ["mles-resume", "mles-v2-resume", "mles-events"] {
        let load = ["--clients", "60", "--channels", "3", "--rate", "60"];
        let args = [&["drain", "--broker", broker, "--period", "2s"], &load[..]].concat();
        let output = loadgen(&args);
        let (printed, what) = (String::from_utf8_lossy(&output.stdout), said(&output));
        // How evenly they come is seen on an idle machine.
        let faults: Vec<_> = printed
            .lines()
            .filter(|line| line.starts_with("FAULT") && !line.contains("joins in a second"))
            .collect();
        assert!(faults.is_empty(), "{broker}: {what}");
        assert!(printed.contains("60 of 60 moved"), "{broker}: {what}");
        assert!(printed.contains(" 0 lost, 0 reordered"), "{broker}: {what}");
    }
}
