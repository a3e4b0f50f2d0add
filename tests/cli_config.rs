//! `mles check-config` and the layers of settings, as a user meets them.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `mles` with nothing of the caller's settings in its environment.
fn mles(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file that is gone when the test is over.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mles-{}-{name}.toml", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What `check-config` prints for a good file.
fn resolved(file: &str, environment: &[(&str, &str)]) -> String {
    let output = mles(&["check-config", file], environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What `check-config` complains of.
fn complaint(name: &str, content: &str) -> String {
    let file = File::new(name, content);
    let output = mles(&["check-config", file.path()], &[]);
    assert_eq!(output.status.code(), Some(1), "{content} was taken");
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

#[test]
fn every_file_in_configs_is_good() {
    let mut count = 0;
    for entry in fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        resolved(path.to_str().unwrap(), &[("MLES_KEY", "secret")]);
        count += 1;
    }
    assert!(count >= 3, "{count} files");
}

#[test]
fn the_production_file_names_every_setting() {
    let complete = fs::read_to_string(configs().join("production.toml")).unwrap();
    let empty = File::new("complete", "");
    let all = resolved(empty.path(), &[]);
    let mut keys = 0;
    for line in all.lines() {
        let line = line
            .strip_prefix("# ")
            .filter(|l| l.ends_with("is not set"))
            .unwrap_or(line);
        let Some(key) = line.split([' ', '=']).next().filter(|key| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        }) else {
            continue;
        };
        keys += 1;
        let is_set = |line: &str| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.split_once(" = ").is_some_and(|(name, _)| name == key)
        };
        assert!(complete.lines().any(is_set), "{key} is missing");
    }
    assert!(keys > 20, "{keys} keys in:\n{all}");
}

#[test]
fn what_is_printed_can_be_loaded_again() {
    let path = configs().join("high-fan-out.toml");
    let key = [("MLES_KEY", "secret")];
    let first = resolved(path.to_str().unwrap(), &key);
    let again = File::new("again", &first);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(" # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&resolved(again.path(), &key)), values(&first));
}

#[test]
fn a_secret_is_never_printed() {
    let file = File::new("secret", "[auth]\nkey = \"hush-in-file\"\n");
    let output = resolved(file.path(), &[("MLES_ADDR_KEY", "hush-in-env")]);
    assert!(!output.contains("hush"), "{output}");
    let wrong = complaint("wrong-secret", "[auth]\nkey = [\"hush\"]\n");
    assert!(!wrong.contains("hush"), "{wrong}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = File::new(
        "layers",
        "[channel]\nhistory_limit = 7\nwrite_deadline = \"3s\"\n",
    );
    let output = resolved(file.path(), &[("MLES_HISTORY_LIMIT", "9")]);
    assert!(
        output.contains("history_limit = 9 # MLES_HISTORY_LIMIT"),
        "{output}"
    );
    assert!(output.contains("write_deadline = \"3s\""), "{output}");
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let wrong = complaint("unknown", "[limits]\nmax_uid = 3\nmax_fram = 100\n");
    assert!(wrong.contains(":3: unknown key `max_fram`"), "{wrong}");
    assert!(wrong.contains("did you mean `max_frame`"), "{wrong}");
    let wrong = complaint("section", "[limit]\n");
    assert!(wrong.contains(":1:") && wrong.contains("limits"), "{wrong}");
}

#[test]
fn wrong_values_are_told_with_their_line_and_what_is_allowed() {
    for (content, line, part) in [
        ("[server]\nshards = 0\n", 2, "from 1 to 1024"),
        ("[limits]\nmax_frame = \"1GiB\"\n", 2, "a size from 64"),
        ("[limits]\njoin_deadline = 5\n", 2, "with a unit"),
        (
            "[channel]\n\nslow_policy = \"drop\"\n",
            3,
            "\"drop-oldest\"",
        ),
        ("[server]\nlisten = \"nowhere:1\"\n", 2, "127.0.0.1:8077"),
        ("[log]\nlevel = \"loud\"\n", 2, "warn"),
    ] {
        let wrong = complaint("value", content);
        assert!(wrong.contains(&format!(":{line}:")), "{content}: {wrong}");
        assert!(wrong.contains(part), "{content}: {wrong}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let wrong = complaint("queue", "[channel]\nqueue_bytes = \"1MiB\"\n");
    assert!(
        wrong.contains("queue_bytes") && wrong.contains("max_frame"),
        "{wrong}"
    );
    let wrong = complaint("open", "[server]\nlisten = [\"0.0.0.0:8077\"]\n");
    assert!(
        wrong.contains("0.0.0.0:8077") && wrong.contains("allow"),
        "{wrong}"
    );
}

#[test]
fn every_setting_has_an_option_and_a_variable_that_work() {
    let help = mles(&["serve", "--help"], &[]);
    let help = text(&help.stdout);
    let empty = File::new("names", "");
    let all = resolved(empty.path(), &[]);
    let mut section = String::new();
    let mut checked = 0;
    for line in all.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        let Some((key, value)) = line.split(" # ").next().unwrap().split_once(" = ") else {
            continue;
        };
        let name = if section == "log" {
            format!("log_{key}")
        } else {
            key.to_owned()
        };
        let option = format!("--{}", name.replace('_', "-"));
        assert!(
            help.contains(&format!("{option} ")) || help.contains(&format!("{option}[")),
            "{option}"
        );
        let variable = format!("MLES_{}", name.to_uppercase());
        let value = value.trim_matches(['[', ']']).trim_matches('"');
        let output = resolved(empty.path(), &[(&variable, value)]);
        assert!(
            output.contains(&variable),
            "{variable}={value} was not read:\n{output}"
        );
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_missing_file_is_told() {
    let output = mles(&["check-config", "/nonexistent/mles.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/mles.toml"));
}
