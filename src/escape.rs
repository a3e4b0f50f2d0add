//! Names that clients chose, made safe to write into a log or onto a terminal.

use std::fmt::{self, Write};

/// Most characters of a name that are shown.
const SHOWN: usize = 64;

/// Displays a name from outside: control characters, other non-printing ones (line and direction
/// marks included), quotes and backslashes are escaped, and a long name is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(SHOWN) {
            c.escape_debug().try_for_each(|c| f.write_char(c))?;
        }
        if chars.next().is_some() {
            write!(f, "...({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(name: &str) -> String {
        Escaped(name).to_string()
    }

    #[test]
    fn printable_names_are_shown_as_they_are() {
        assert_eq!(escaped("room-1 ä 日本"), "room-1 ä 日本");
    }

    #[test]
    fn what_could_forge_a_line_or_drive_a_terminal_is_escaped() {
        assert_eq!(escaped("a\nINFO b"), "a\\nINFO b");
        assert_eq!(escaped("\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(escaped("\u{202e}txt"), "\\u{202e}txt");
        assert_eq!(escaped("a\u{2028}b\u{9b}"), "a\\u{2028}b\\u{9b}");
        assert_eq!(escaped(r#"a"b\c"#), r#"a\"b\\c"#);
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let whole = "ä".repeat(SHOWN);
        assert_eq!(escaped(&whole), whole);
        assert_eq!(
            escaped(&format!("{whole}x")),
            format!("{whole}...(129 bytes)")
        );
    }
}
