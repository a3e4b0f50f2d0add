//! The README shows the examples as they are.

use std::path::Path;

/// The code blocks of the README that are Rust.
fn shown() -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in include_str!("../../README.md").lines() {
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
