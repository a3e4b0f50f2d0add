//! Patterns of names: with wildcards, and with placeholders for the names of whoever asks.

use std::fmt;
use std::str::{Chars, FromStr};

use thiserror::Error;

/// A pattern of uids or channel names.
///
/// `*` stands for any characters, none as well, and `?` for one. `{uid}` and `{key}` stand for the uid and the name of
/// the key of whoever asks: what is a wildcard in a uid stands for itself. `{{` and `}}` are braces.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    parts: Vec<Part>,
    text: Box<str>,
}

/// The names that placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placeholders<'a> {
    pub(crate) uid: &'a str,
    /// `None` for who has shown no key.
    pub(crate) key: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    AnyChar,
    AnyChars,
    Uid,
    Key,
}

/// The reason that a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// A brace has no partner.
    #[error(
        "a brace has no partner: {{uid}} and {{key}} are placeholders, and {{{{ and }}}} are braces"
    )]
    Brace,
    /// There is no such placeholder.
    #[error("there is no placeholder {{{0}}}: known are {{uid}} and {{key}}")]
    Placeholder(String),
}

impl NamePattern {
    /// Returns the pattern that every name matches.
    #[must_use]
    pub fn any() -> Self {
        Self {
            parts: vec![Part::AnyChars],
            text: "*".into(),
        }
    }

    /// Returns `true` if `name` matches, for whoever has these names. A placeholder for a name that is empty, or
    /// not there, matches nothing.
    pub(crate) fn matches(&self, name: &str, asker: Placeholders<'_>) -> bool {
        let mut parts = Vec::with_capacity(self.parts.len());
        for &part in &self.parts {
            let inserted = match part {
                Part::Uid => asker.uid,
                Part::Key => asker.key.unwrap_or_default(),
                part => {
                    parts.push(part);
                    continue;
                }
            };
            if inserted.is_empty() {
                return false;
            }
            parts.extend(inserted.chars().map(Part::Char));
        }
        matches(&parts, name)
    }

    /// Returns `true` if the pattern has a placeholder for the uid.
    #[cfg(feature = "cli")]
    pub(crate) fn names_uid(&self) -> bool {
        self.parts.contains(&Part::Uid)
    }
}

/// Matches wildcards: where something does not fit, the last `*` takes one more character. Takes at most the
/// product of both lengths in steps, however many wildcards there are.
fn matches(parts: &[Part], name: &str) -> bool {
    let (mut parts, mut rest) = (parts, name.chars());
    let mut last: Option<(&[Part], Chars<'_>)> = None;
    loop {
        let fits = match parts.split_first() {
            Some((Part::AnyChars, behind)) => {
                parts = behind;
                last = Some((behind, rest.clone()));
                continue;
            }
            Some((part, behind)) => {
                parts = behind;
                match rest.next() {
                    Some(found) => *part == Part::AnyChar || *part == Part::Char(found),
                    // Nothing is left for it, and even less if a `*` takes more.
                    None => return false,
                }
            }
            None if rest.as_str().is_empty() => return true,
            None => false,
        };
        if fits {
            continue;
        }
        let Some((behind, from)) = &mut last else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        (parts, rest) = (behind, from.clone());
    }
}

impl FromStr for NamePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let doubled = rest[next.len_utf8()..].starts_with(next);
            let mut len = next.len_utf8();
            parts.push(match next {
                '*' => Part::AnyChars,
                '?' => Part::AnyChar,
                '{' | '}' if doubled => {
                    len += 1;
                    Part::Char(next)
                }
                '{' => {
                    let (name, _) = rest[1..].split_once('}').ok_or(BadPattern::Brace)?;
                    len = name.len() + 2;
                    match name {
                        "uid" => Part::Uid,
                        "key" => Part::Key,
                        _ => return Err(BadPattern::Placeholder(name.to_owned())),
                    }
                }
                '}' => return Err(BadPattern::Brace),
                literal => Part::Char(literal),
            });
            rest = &rest[len..];
        }
        if parts.is_empty() {
            return Err(BadPattern::Empty);
        }
        Ok(Self {
            parts,
            text: text.into(),
        })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::prelude::*;
    use wildmatch::WildMatch;

    use super::*;

    fn matches(pattern: &str, name: &str, uid: &str, key: Option<&str>) -> bool {
        let pattern: NamePattern = pattern.parse().unwrap();
        pattern.matches(name, Placeholders { uid, key })
    }

    #[test]
    fn placeholders_stand_for_names_as_they_are() {
        for (pattern, name, uid, is_matched) in [
            ("user.{uid}", "user.alice", "alice", true),
            ("user.{uid}", "user.bob", "alice", false),
            ("user.{uid}", "user.", "alice", false),
            ("user.{uid}.*", "user.alice.inbox", "alice", true),
            // Wildcards in a uid are characters as any other.
            ("user.{uid}", "user.alice", "*", false),
            ("user.{uid}", "user.*", "*", true),
            ("user.{uid}", "user.a", "?", false),
            ("user.{uid}", "user.bob", "{uid}", false),
            ("user.{uid}", "user.{uid}", "{uid}", true),
            // Nobody is not everybody.
            ("user.{uid}*", "user.alice", "", false),
            ("{uid}-{uid}", "a-a", "a", true),
            ("{uid}-{uid}", "a-b", "a", false),
            ("{key}.{uid}", "web.alice", "alice", true),
            ("{{uid}}", "{uid}", "alice", true),
            ("{{uid}}", "alice", "alice", false),
            ("?{uid}?", "ä-ö", "-", true),
        ] {
            let matched = matches(pattern, name, uid, Some("web"));
            assert_eq!(matched, is_matched, "{pattern} {name} {uid}");
        }
        assert!(!matches("{key}*", "web", "alice", None));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, bad) in [
            ("", BadPattern::Empty),
            ("user.{uid", BadPattern::Brace),
            ("user.uid}", BadPattern::Brace),
            ("user.{", BadPattern::Brace),
            ("user.{name}", BadPattern::Placeholder("name".to_owned())),
            ("{}", BadPattern::Placeholder(String::new())),
            ("{UID}", BadPattern::Placeholder("UID".to_owned())),
        ] {
            assert_eq!(text.parse::<NamePattern>(), Err(bad), "{text}");
        }
        let bad = "{uid".parse::<NamePattern>().unwrap_err();
        assert!(bad.to_string().ends_with("{{ and }} are braces"), "{bad}");
    }

    proptest! {
        /// Rules for channels have the same wildcards.
        #[test]
        fn wildcards_match_as_in_channel_rules(pattern in "[ab*?ä]{1,9}", name in "[abä]{0,9}") {
            let expected = WildMatch::new(&pattern).matches(&name);
            prop_assert_eq!(matches(&pattern, &name, "", None), expected);
        }

        #[test]
        fn a_uid_opens_its_own_channels_only(uid in "[ab*?{}.]{1,6}", other in "[ab*?{}.]{1,6}") {
            let is_own = matches("user.{uid}", &format!("user.{other}"), &uid, None);
            prop_assert_eq!(is_own, uid == other);
        }
    }
}
