//! Text from other people, made harmless for a terminal.

use std::fmt::Write as _;

/// `bytes` as text in which control characters, characters that change the direction of writing,
/// and bytes that are not UTF-8 are escaped as Rust does.
pub(crate) fn escape(bytes: &[u8]) -> String {
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

const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn leaves_text_alone_and_escapes_the_rest() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            ("zażółć 日本 🙂".as_bytes(), "zażółć 日本 🙂"),
            (b"\x1b[2Jgone\n", "\\u{1b}[2Jgone\\n"),
            (b"a\xff\xfeb", "a\\xff\\xfeb"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }
}
