//! What the documents show, and where.

use std::fs;

use super::checkout;

/// A fenced block of a document.
pub(super) struct Block {
    /// The file, and the line that the text begins on.
    pub(super) place: String,
    /// The heading that the block stands below.
    pub(super) section: String,
    pub(super) language: String,
    pub(super) text: String,
}

/// A command as it stands in a document.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// What is typed, lines that end with a backslash included, without a comment.
    pub(super) text: String,
    /// The comment at its end.
    pub(super) comment: String,
}

/// The commands of one section of a document, which a reader types one after the other.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) place: String,
    pub(super) commands: Vec<Command>,
}

/// Returns the documents in Markdown, as paths from the top of the checkout.
pub(super) fn markdown() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["", "docs", "interop"] {
        files.extend(files_in(folder, ".md"));
    }
    files.retain(|file| file != "CHANGELOG.md");
    files
}

fn files_in(folder: &str, end: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(checkout().join(folder)) else {
        // `interop` is no part of the published package.
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| name.ends_with(end));
    let mut files: Vec<_> = names
        .map(|name| format!("{folder}/{name}").trim_matches('/').to_owned())
        .collect();
    files.sort();
    files
}

pub(super) fn read(file: &str) -> String {
    fs::read_to_string(checkout().join(file)).unwrap()
}

pub(super) fn blocks(file: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in read(file).lines().enumerate() {
        match &mut open {
            None if line.starts_with("```") => {
                let language = line.trim_start_matches('`').split(',').next().unwrap();
                open = Some(Block {
                    place: format!("{file}:{}", index + 2),
                    section: section.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            None if line.starts_with('#') => line.trim_matches(['#', ' ']).clone_into(&mut section),
            None => {}
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "{file}: a block does not end");
    blocks
}

/// Returns the lines of a document that are in no block.
pub(super) fn prose(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            lines.push(line);
        }
    }
    lines
}

/// Returns what stands between backticks in the sentences of a document.
pub(super) fn code_spans(file: &str) -> Vec<String> {
    let text = read(file);
    let sentences = prose(&text).join(" ");
    let spans = sentences.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

/// Returns what readers of all documents type, section by section.
pub(super) fn sessions() -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for file in markdown() {
        for block in blocks(&file).iter().filter(|block| block.language == "sh") {
            let place = format!("{file}, \"{}\"", block.section);
            let commands = commands(&block.text);
            match sessions.last_mut() {
                Some(last) if last.place == place => last.commands.extend(commands),
                _ => sessions.push(Session { place, commands }),
            }
        }
    }
    for file in files_in("configs", ".toml") {
        let text = read(&file);
        let lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
        let lines: Vec<_> = lines.collect();
        sessions.push(Session {
            place: file,
            commands: commands(&lines.join("\n")),
        });
    }
    for file in files_in("examples", ".rs") {
        let text = read(&file);
        let head = text.lines().take_while(|line| line.starts_with("//!"));
        let head: String = head.collect();
        let spans = head.split('`').skip(1).step_by(2);
        let shown = spans.filter(|span| span.starts_with("cargo "));
        let shown: Vec<_> = shown.map(str::to_owned).collect();
        assert!(!shown.is_empty(), "{file} does not tell how to run it");
        sessions.push(Session {
            place: file,
            commands: commands(&shown.join("\n")),
        });
    }
    sessions.retain(|session| !session.commands.is_empty());
    sessions
}

/// Takes lines of shell apart into commands and their comments.
fn commands(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut typed = String::new();
    for line in text.lines() {
        let (command, comment) = without_comment(line);
        typed.push_str(command.trim_end());
        if typed.ends_with('\\') {
            typed.push('\n');
        } else if !typed.is_empty() {
            commands.push(Command {
                text: std::mem::take(&mut typed),
                comment: comment.to_owned(),
            });
        }
    }
    assert!(typed.is_empty(), "a command does not end: {typed}");
    commands
}

/// Divides a line at the first `#` that begins a word and is in no quotes.
fn without_comment(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            None if c == '#' && before.is_whitespace() => return line.split_at(at),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    (line, "")
}

#[test]
fn commands_are_told_from_comments() {
    let text = "a 'x # y' \\\n    b   # why\n# only a comment\nc#d\n";
    let commands = commands(text);
    let texts: Vec<_> = commands.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["a 'x # y' \\\n    b", "c#d"]);
    assert_eq!(commands[0].comment, "# why");
}
