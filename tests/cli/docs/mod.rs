//! Whatever the documentation shows works as it stands there: commands, configurations, programs.
//!
//! A command that cannot run in a test is a row of [`stand_ins`], with the reason and what is checked in
//! its place.

#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "commands run on Linux alone")
)]
mod documents;
mod links;
mod programs;
mod protocol;
#[cfg(target_os = "linux")]
mod reader;
#[cfg(target_os = "linux")]
mod stand_ins;
#[cfg(target_os = "linux")]
mod terminal;

use std::fs;
use std::path::Path;

use self::documents::{blocks, code_spans, markdown};
use crate::program::{mles, taken};

/// Languages of fenced blocks, and who checks them.
const LANGUAGES: [(&str, &str); 15] = [
    ("sh", "this module"),
    ("toml", "this module"),
    ("json", "this module"),
    ("rust", "this module"),
    ("js", "tests/browser/clients.test.mjs"),
    ("yaml", "nobody: a part of the settings of Prometheus"),
    ("nginx", "tests/websocket/proxies.rs"),
    ("haproxy", "tests/websocket/proxies.rs"),
    ("frame", "protocol"),
    ("body", "protocol"),
    ("siphash", "protocol"),
    ("tcp", "protocol"),
    ("websocket", "protocol"),
    ("http", "protocol"),
    ("text", "nobody: figures and formulas"),
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_block_is_of_a_language_that_is_checked() {
    for file in markdown() {
        for block in blocks(&file) {
            let is_known = LANGUAGES.iter().any(|(name, _)| *name == block.language);
            assert!(is_known, "{}: unknown language", block.place);
        }
    }
}

/// Results name the programs that were measured, and no folder of the machine on which that was.
#[test]
fn results_have_no_paths_of_a_machine() {
    let results = checkout().join("docs/results");
    for file in std::fs::read_dir(results).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| c == '"' || c.is_whitespace() || c == '=');
        let is_system = |word: &str| word.starts_with("/usr/") || word.starts_with("/tmp/loadgen-");
        let paths = words.filter(|word| word.starts_with('/') && !is_system(word));
        let paths: Vec<_> = paths.collect();
        assert_eq!(paths, [""; 0], "{}", path.display());
    }
}

#[test]
fn every_configuration_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mles.toml");
    let mut checked = 0;
    for block in markdown().iter().flat_map(|file| blocks(file)) {
        if block.language != "toml" || block.text.contains("[dependencies]") {
            continue;
        }
        fs::write(&file, with_key_files(&block.text, folder.path())).unwrap();
        let output = mles().arg("check-config").arg(&file).output().unwrap();
        let (code, _, complaint) = taken(&output);
        assert_eq!(code, 0, "{}: {complaint}", block.place);
        checked += 1;
    }
    assert!(checked > 0, "no document has a configuration");
}

/// Puts key files of this test in the place of those that a configuration names.
fn with_key_files(text: &str, folder: &Path) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let name = line.strip_prefix("file = \"/etc/mles/");
        let Some(name) = name.and_then(|name| name.strip_suffix(".key\"")) else {
            lines.push(line.to_owned());
            continue;
        };
        let path = folder.join(name);
        fs::write(&path, format!("secret of {name}")).unwrap();
        lines.push(format!("file = {path:?}"));
    }
    lines.join("\n")
}

#[test]
fn every_json_block_is_json() {
    for block in markdown().iter().flat_map(|file| blocks(file)) {
        if block.language == "json" {
            let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
            assert!(parsed.is_ok(), "{}: {parsed:?}", block.place);
        }
    }
}

/// Commands in running text are checked for their arguments: they have `FILE` where a file should be.
#[test]
fn every_command_in_a_sentence_takes_its_arguments() {
    let mut checked = 0;
    for file in markdown() {
        for span in code_spans(&file) {
            let command = span.split('|').next().unwrap();
            let mut words = command.split_whitespace();
            if words.next() != Some("mles") || span.contains("...") || span.contains('…') {
                continue;
            }
            // Arguments are read from left to right, so a wrong one is found before this.
            let output = mles().args(words).arg("--help").output().unwrap();
            let (code, _, complaint) = taken(&output);
            assert_eq!(code, 0, "{file}: `{span}`: {complaint}");
            checked += 1;
        }
    }
    assert!(checked > 0, "no document has a command in a sentence");
}
