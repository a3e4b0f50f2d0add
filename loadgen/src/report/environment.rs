//! The machine and the command, as far as they matter for repeating a run.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::command_line::{joined, without_folders};

/// Where and how a report came about. What the system does not tell is empty.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Environment {
    /// Version of this program.
    pub(super) loadgen: String,
    /// The arguments of this program, for reading.
    pub(super) command: String,
    /// The command argument by argument, for repeating: the name of this program comes first, and files are named
    /// without the folders of the machine. Reports of the first versions do not have it.
    #[serde(default)]
    pub(super) argv: Vec<String>,
    /// Start, in seconds since 1970.
    pub(super) started: u64,
    pub(super) kernel: String,
    pub(super) cpu: String,
    /// Cores this program may use.
    pub(super) cores: usize,
    pub(super) memory_kib: u64,
    /// The system's default for TCP. Reports of the first versions do not have it.
    #[serde(default)]
    pub(super) congestion_control: String,
}

impl Environment {
    /// Looks at this machine, now.
    pub(super) fn here() -> Self {
        let proc = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let args = std::env::args_os().skip(1);
        let args = without_key(args.map(|arg| arg.to_string_lossy().into_owned()));
        let folder = std::env::current_dir().unwrap_or_default();
        let args = args.map(|arg| without_folders(&arg, &folder));
        let argv: Vec<String> = std::iter::once("loadgen".to_owned()).chain(args).collect();
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            command: argv.join(" "),
            argv,
            started: since_1970.as_secs(),
            kernel: proc("sys/kernel/osrelease").trim().to_owned(),
            cpu: field(&proc("cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kib: field(&proc("meminfo"), "MemTotal")
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or_default(),
            congestion_control: proc("sys/net/ipv4/tcp_congestion_control")
                .trim()
                .to_owned(),
        }
    }

    /// Returns the command as a shell takes it.
    pub(super) fn repeat(&self) -> String {
        if self.argv.is_empty() {
            return self.command.clone();
        }
        joined(&self.argv)
    }
}

/// Returns `args` with `***` for the value of `--key`: reports are published.
fn without_key(args: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut is_key = false;
    args.map(
        move |arg| match (std::mem::take(&mut is_key), arg.strip_prefix("--key")) {
            (true, _) => "***".to_owned(),
            (false, Some("")) => {
                is_key = true;
                arg
            }
            (false, Some(value)) if value.starts_with('=') => "--key=***".to_owned(),
            (false, _) => arg,
        },
    )
}

/// Returns the value of the first line `name: value`.
fn field(text: &str, name: &str) -> String {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.trim() == name);
    found
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{field, without_key};

    #[test]
    fn a_key_is_not_told() {
        let told = |args: &str| {
            let args = args.split(' ').map(str::to_owned);
            without_key(args).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told("seed --key s3cret --pid 7"), "seed --key *** --pid 7");
        assert_eq!(told("seed --key=s3cret --pid 7"), "seed --key=*** --pid 7");
        assert_eq!(told("seed --keys s3cret"), "seed --keys s3cret");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n";
        assert_eq!(field(text, "model name"), "Some CPU @ 2 GHz");
        assert_eq!(field(text, "MemTotal"), "");
    }
}
