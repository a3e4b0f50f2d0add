//! Command lines as reports have them: a shell takes them, and they name no folder of this machine.
//!
//! Reports are published. Who measured and where their files are is nobody's business, and a path of that
//! machine is of no use on another.

use std::path::Path;

/// Joins `words` so that a shell takes them apart again.
pub(crate) fn joined<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let words = words.into_iter().map(|word| quoted(word.as_ref()));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns `word` with the path that it is or assigns (`--json=/home/me/a.json`) cut down: to what follows
/// `folder` where it is in there, else to its name. A relative path stays as it is.
pub(crate) fn without_folders(word: &str, folder: &Path) -> String {
    let (before, path) = match word.split_once('=') {
        Some((name, value)) if !name.starts_with('/') => (format!("{name}="), value),
        _ => (String::new(), word),
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        return word.to_owned();
    }
    let rest = match path.strip_prefix(folder) {
        // The file system's root has everything in it, and is not where anybody works.
        Ok(rest) if folder.parent().is_some() => rest,
        _ => path.file_name().map_or(path, Path::new),
    };
    match rest.to_string_lossy() {
        rest if rest.is_empty() => format!("{before}."),
        rest => format!("{before}{rest}"),
    }
}

/// Quotes `word` so that a shell takes it for one, and `NAME=value` for an assignment.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+%".contains(&byte);
    let is_plain = |word: &str| !word.is_empty() && word.bytes().all(plain);
    if is_plain(word) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) if is_plain(name) => format!("{name}={}", quoted(value)),
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_in_a_shell() {
        assert_eq!(quoted("--seconds=1.5"), "--seconds=1.5");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b$(c)"), "'a b$(c)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("A=-b c"), "A='-b c'");
        assert_eq!(joined(["--save", "", "a b"]), "--save '' 'a b'");
    }

    #[test]
    fn a_path_loses_the_folders_of_the_machine() {
        let cut = |word| without_folders(word, Path::new("/home/me/project"));
        assert_eq!(cut("/home/me/project/out/a.json"), "out/a.json");
        assert_eq!(cut("/home/me/project"), ".");
        assert_eq!(cut("/home/me/project2/a.json"), "a.json");
        assert_eq!(cut("/usr/sbin/nats-server"), "nats-server");
        assert_eq!(cut("--json=/home/me/a.json"), "--json=a.json");
        assert_eq!(cut("HOME=/home/me/project"), "HOME=.");
        assert_eq!(cut("/home/me/a=/b.json"), "b.json");
        assert_eq!(without_folders("/home/me/a.json", Path::new("/")), "a.json");
    }

    #[test]
    fn what_is_no_path_of_the_machine_stays() {
        for word in [
            "compare",
            "--json",
            "target/release/mles",
            "../a.json",
            "--json=a.json",
            "127.0.0.1:80",
            "{127,0,0,1}",
            "",
        ] {
            assert_eq!(without_folders(word, Path::new("/home/me")), word);
        }
    }
}
