//! The README shows the examples as they are, and a dependency that builds them.

use std::path::Path;
use std::process::Command;

use super::documents::blocks;

/// The code blocks of the README that are Rust.
fn shown() -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in include_str!("../../../README.md").lines() {
        match &mut block {
            None if line.starts_with("```rust") => block = Some(String::new()),
            None => {}
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

/// An example without the comment at its top, which tells how to run it.
fn example(path: &Path) -> String {
    let source = std::fs::read_to_string(path).expect("a readable example");
    let code = source.lines().skip_while(|line| line.starts_with("//!"));
    code.skip(1).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_program_in_the_readme_is_an_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).expect("the examples");
    let examples: Vec<_> = entries
        .map(|entry| example(&entry.expect("an entry").path()))
        .collect();
    let shown = shown();
    assert_eq!(shown.len(), 3);
    for block in shown {
        assert!(examples.contains(&block), "not an example:\n{block}");
    }
}

/// A crate with the dependencies that the README shows compiles the programs that it shows for them.
#[test]
fn the_dependency_in_the_readme_builds() {
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(here, folder.path().join("mles")).unwrap();
    let app = folder.path().join("app");
    std::fs::create_dir_all(app.join("src/bin")).unwrap();
    let blocks = blocks("README.md");
    let dependencies = blocks
        .iter()
        .find(|block| block.text.starts_with("[dependencies]"));
    let manifest = format!(
        "[workspace]\n\n[package]\nname = \"app\"\nedition = \"2024\"\n\n{}",
        dependencies.expect("a dependency").text
    );
    std::fs::write(app.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(here.join("Cargo.lock"), app.join("Cargo.lock")).unwrap();
    let shown = shown();
    std::fs::write(app.join("src/main.rs"), &shown[0]).unwrap();
    std::fs::write(app.join("src/bin/blocking.rs"), &shown[1]).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .current_dir(&app)
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/readme"),
        )
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}
