//! The template of `mles sub --format`.

use std::io::{self, Write};
use std::str::FromStr;

/// Part of a message that a template can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// The channel that the sender named.
    Channel,
    /// The name of the sender.
    Uid,
    /// The content as it is.
    Message,
    /// The content in hexadecimal.
    Hex,
    /// The content in base64.
    Base64,
    /// The length of the content in bytes.
    Length,
    /// The time of arrival.
    Time,
    /// The position in the order of the channel; nothing where there is none.
    Position,
}

impl Placeholder {
    const ALL: [(&str, Self); 8] = [
        ("channel", Self::Channel),
        ("uid", Self::Uid),
        ("message", Self::Message),
        ("hex", Self::Hex),
        ("base64", Self::Base64),
        ("length", Self::Length),
        ("time", Self::Time),
        ("position", Self::Position),
    ];
}

/// Text with placeholders in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

impl Template {
    /// Writes the text, and has `show` write each value.
    pub(super) fn write<W: Write>(
        &self,
        out: &mut W,
        mut show: impl FnMut(&mut W, Placeholder) -> io::Result<()>,
    ) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Value(placeholder) => show(out, *placeholder)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => literal.push(escape(chars.next())?),
                '{' if chars.as_str().starts_with('{') => {
                    chars.next();
                    literal.push('{');
                }
                '{' => {
                    let (name, rest) = chars
                        .as_str()
                        .split_once('}')
                        .ok_or_else(|| wrong("a brace is not closed"))?;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Value(placeholder(name)?));
                    chars = rest.chars();
                }
                '}' => {
                    if chars.as_str().starts_with('}') {
                        chars.next();
                    }
                    literal.push('}');
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }
}

fn escape(after: Option<char>) -> Result<char, String> {
    match after {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        _ => Err("a backslash stands before n, t, 0 or another backslash".to_owned()),
    }
}

fn placeholder(name: &str) -> Result<Placeholder, String> {
    let found = Placeholder::ALL.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, placeholder)| *placeholder)
        .ok_or_else(|| wrong(&format!("there is no {{{name}}}")))
}

fn wrong(what: &str) -> String {
    let known = Placeholder::ALL.map(|(name, _)| format!("{{{name}}}"));
    format!(
        "{what}; the placeholders are {}, and {{{{ is a brace",
        known.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(template: &str) -> String {
        let template: Template = template.parse().expect(template);
        let mut out = Vec::new();
        let show = |out: &mut Vec<u8>, placeholder| write!(out, "<{placeholder:?}>");
        template.write(&mut out, show).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_stays_and_placeholders_are_shown() {
        assert_eq!(shown("{uid}: {message}"), "<Uid>: <Message>");
        assert_eq!(shown(r"{channel}\t{hex}\0\n\\"), "<Channel>\t<Hex>\0\n\\");
        assert_eq!(shown("{{{length}}} } {{uid}}"), "{<Length>} } {uid}");
        assert_eq!(shown("ä {time}{base64}"), "ä <Time><Base64>");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_is() {
        for text in ["{user}", "{Uid}", "{}", "{ uid }", "{uid"] {
            let said = text.parse::<Template>().expect_err(text);
            assert!(said.contains("{uid}") && said.contains("{hex}"), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        for text in [r"\x", "\\"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }
}
