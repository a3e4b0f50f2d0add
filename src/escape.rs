//! Text that others chose, made safe to write into a log or onto a terminal.
//!
//! A log takes [`Escaped`] names; a terminal takes whole messages, see `escape_for_terminal`.

use std::fmt::{self, Write as _};

/// Most characters of a name that are shown.
const SHOWN: usize = 64;

/// Displays a name from outside for a log: control characters, other non-printing ones (line and
/// direction marks included), quotes and backslashes are escaped, and a long name is cut.
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

/// Returns `bytes` as text of any length in which control characters, characters that change the
/// direction of writing, and bytes that are not UTF-8 are escaped. Quotes and backslashes stay.
#[cfg(feature = "cli")]
pub(crate) fn escape_for_terminal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_bidi_control(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(feature = "cli")]
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

    #[cfg(feature = "cli")]
    #[test]
    fn a_terminal_gets_text_as_it_is_and_the_rest_escaped() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            ("zażółć 日本 🙂".as_bytes(), "zażółć 日本 🙂"),
            (b"\x1b[2Jgone\n", "\\u{1b}[2Jgone\\n"),
            (b"a\xff\xfeb", "a\\xff\\xfeb"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
        ] {
            assert_eq!(escape_for_terminal(bytes), text);
        }
    }
}
