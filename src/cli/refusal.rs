//! Why a server has refused a join: what it says, or else the likeliest reason first, as v1 servers give none.

use std::time::Duration;

use super::failure::{CommandFailure, TAKEN, WRONG_PROOF, explained};
use crate::client::Error;
use crate::escape::escape_for_terminal;

/// A refusal that takes this long comes after the server has looked whether the session in the same place
/// is alive.
const TESTED: Duration = Duration::from_millis(700);

/// The key that a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyShown {
    /// A secret shared with the server.
    Shared,
    /// A secret mixed with the client's address.
    Address,
    /// A token instead of a key.
    Token,
    /// None.
    None,
}

/// Facts that tell a client why its join may have been refused.
#[derive(Debug)]
pub(super) struct RefusalGuide {
    /// The key that the client shows.
    pub(super) key: KeyShown,
    /// The name, if another session may have joined with it.
    pub(super) uid: Option<String>,
    /// Set to list all reasons.
    pub(super) is_verbose: bool,
}

impl RefusalGuide {
    /// Puts a refusal into words; leaves any other failure as it is.
    pub(super) fn explain(&self, failure: CommandFailure) -> CommandFailure {
        match failure {
            CommandFailure::Session(error @ (Error::Refused { .. } | Error::Denied { .. })) => {
                CommandFailure::Refused(self.words(&error))
            }
            failure => failure,
        }
    }

    /// Returns an error of a session in words.
    pub(super) fn words(&self, error: &Error) -> String {
        let after = match error {
            Error::Refused { after } => after,
            // What to do about it is known here only.
            Error::Denied {
                code: WRONG_PROOF, ..
            } if self.key != KeyShown::Token => return refused(self.wrong_proof()),
            Error::Denied { code: TAKEN, .. } => match &self.uid {
                Some(uid) => return refused(&taken(uid)),
                None => return explained(error),
            },
            _ => return explained(error),
        };
        let reason = self.likeliest(*after);
        if self.is_verbose {
            format!("join refused: {reason}\n{}", self.all())
        } else {
            format!("join refused: {reason} (-v lists other causes)")
        }
    }

    fn likeliest(&self, after: Duration) -> String {
        match &self.uid {
            Some(uid) if after >= TESTED => taken(uid),
            _ => self.wrong_proof().to_owned(),
        }
    }

    /// Returns what is wrong if what the client shows does not count.
    const fn wrong_proof(&self) -> &'static str {
        match self.key {
            KeyShown::Shared => "wrong key",
            KeyShown::Address => {
                "wrong address key, or the server sees another address than this host has"
            }
            KeyShown::Token => {
                "the token is not accepted: `mles token show` says for whom and until when it is good"
            }
            KeyShown::None => {
                "missing key; --key-file or MLES_KEY gives it, or --token-file a token"
            }
        }
    }

    fn all(&self) -> String {
        let mut causes = vec![match self.key {
            KeyShown::None => "the server has a key, and none was given",
            KeyShown::Token => {
                "the token has expired, is signed with another key, is for another name or channel, or the \
                 connection is neither over TLS nor on the server's machine"
            }
            _ => "the key is not that of the server",
        }];
        if matches!(self.key, KeyShown::Address | KeyShown::None) {
            causes.push("the server has an address key, and NAT, a proxy or a container changes the address");
        }
        if self.uid.is_some() {
            causes.push("another session of the same name is on the channel: see --random-cid");
        }
        causes.push(
            "the rules of the server give the key no right in the channel, or not with this name",
        );
        causes.push("the server is at its limit of connections or channels");
        causes.push("the name, the channel or the message is longer than the server allows");
        let lines: Vec<_> = causes.iter().map(|cause| format!("  - {cause}")).collect();
        format!(
            "Possible causes, of which the server's log has the right one:\n{}",
            lines.join("\n")
        )
    }
}

/// Returns the words for a refusal whose reason is known.
fn refused(reason: &str) -> String {
    format!("join refused: {reason}")
}

/// Returns the words for a place that is taken.
fn taken(uid: &str) -> String {
    format!(
        "\"{}\" has joined already; --random-cid lets one name join twice",
        escape_for_terminal(uid.as_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(key: KeyShown, uid: Option<&str>, milliseconds: u64, is_verbose: bool) -> String {
        let guide = RefusalGuide {
            key,
            uid: uid.map(str::to_owned),
            is_verbose,
        };
        guide.words(&Error::Refused {
            after: Duration::from_millis(milliseconds),
        })
    }

    #[test]
    fn what_the_server_says_is_told_in_one_line() {
        let told = |key, uid: Option<&str>, code, reason: &str| {
            let guide = RefusalGuide {
                key,
                uid: uid.map(str::to_owned),
                is_verbose: false,
            };
            let reason = reason.into();
            guide.words(&Error::Denied { code, reason })
        };
        for (told, expected) in [
            (
                told(
                    KeyShown::Shared,
                    None,
                    4403,
                    "no publish right in this channel",
                ),
                "join refused: no publish right in this channel",
            ),
            (
                told(
                    KeyShown::Shared,
                    None,
                    4401,
                    "wrong key for uid a and channel b",
                ),
                "join refused: wrong key",
            ),
            (
                told(
                    KeyShown::None,
                    None,
                    4401,
                    "wrong key for uid a and channel b",
                ),
                "join refused: missing key; --key-file or MLES_KEY gives it, or --token-file a token",
            ),
            (
                told(KeyShown::Token, None, 4401, "the token has expired"),
                "join refused: the token has expired",
            ),
            (
                told(KeyShown::Shared, Some("al"), 4409, "taken"),
                "join refused: \"al\" has joined already; --random-cid lets one name join twice",
            ),
            (
                told(KeyShown::Shared, None, 1013, "odd\x1b[31m\n"),
                "join refused: odd\\u{1b}[31m\\n",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn the_likeliest_cause_is_told_in_one_line_and_first() {
        for (key, uid, after, cause) in [
            (KeyShown::Shared, None, 1, "join refused: wrong key ("),
            (KeyShown::None, None, 1, "join refused: missing key; "),
            (
                KeyShown::Address,
                None,
                1,
                "join refused: wrong address key, or",
            ),
            (
                KeyShown::Shared,
                Some("alice"),
                1,
                "join refused: wrong key (",
            ),
            (
                KeyShown::Shared,
                Some("alice"),
                1_000,
                "join refused: \"alice\" has joined already",
            ),
            (KeyShown::None, None, 1_000, "join refused: missing key; "),
        ] {
            let line = words(key, uid, after, false);
            assert!(line.starts_with(cause), "{line}");
            assert!(line.ends_with("(-v lists other causes)"), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            let all = words(key, uid, after, true);
            assert!(
                all.starts_with(cause.trim_end_matches(" (").trim_end_matches("; ")),
                "{all}"
            );
            assert!(all.contains("\n  - ") && all.contains("log"), "{all}");
        }
    }
}
