//! `mles check-config` as a process: what it prints, what it keeps to itself, how it ends.

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
fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
    let wrong = complaint("unknown", "[limits]\nmax_uid = 3\nmax_fram = 100\n");
    assert!(wrong.contains(":3: unknown key `max_fram`"), "{wrong}");
    assert!(wrong.contains("did you mean `max_frame`"), "{wrong}");
    let wrong = complaint("section", "[limit]\n");
    assert!(wrong.contains(":1:") && wrong.contains("limits"), "{wrong}");
}

#[test]
fn a_missing_file_is_told() {
    let output = mles(&["check-config", "/nonexistent/mles.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/mles.toml"));
}
