//! Notices about positions, as a session that asks for them gets them between messages.

#[cfg(test)]
use mles::protocol::Epoch;
use mles::protocol::{Notice, Position, Welcome};
use serde_json::{Map, Value};

use crate::adapter::{Head, PositionNotice, WireError};

/// Returns what a notice of `len` bytes is for a session: something to count, or nothing.
pub(super) fn head(len: usize, notice: Option<PositionNotice>) -> Head {
    match notice {
        Some(notice) => Head::Notice { len, notice },
        None => Head::Control { len },
    }
}

/// Reads a notice in a frame of v1.
///
/// # Errors
/// It is none.
pub(super) fn from_frame(frame: &[u8]) -> Result<Option<PositionNotice>, WireError> {
    let notice = Notice::decode(frame).ok_or_else(|| WireError::unexpected(frame))?;
    Ok(match notice {
        Notice::Welcome(welcome) => Some(PositionNotice::Welcome(welcome)),
        Notice::Receipt { count, position } => Some(PositionNotice::Receipt { count, position }),
        Notice::Gap { missed, .. } => Some(PositionNotice::Gap { missed }),
        Notice::Members { .. }
        | Notice::Changes { .. }
        | Notice::Stopping { .. }
        | Notice::Rights { .. }
        | Notice::Token { .. }
        | Notice::Close { .. } => None,
    })
}

/// Reads a notice in JSON: an object of one field, whose name is the kind.
///
/// # Errors
/// It is none.
pub(super) fn from_json(text: &[u8]) -> Result<Option<PositionNotice>, WireError> {
    let notice: Option<Map<String, Value>> = serde_json::from_slice(text).ok();
    let one = notice.filter(|it| it.len() == 1);
    let (kind, fields) = one
        .and_then(|it| it.into_iter().next())
        .ok_or_else(|| WireError::unexpected(text))?;
    of_kind(&kind, &fields).ok_or_else(|| WireError::unexpected(text))
}

/// Reads a notice of this kind whose fields are JSON; returns `None` if one is missing.
pub(super) fn of_kind(kind: &str, fields: &Value) -> Option<Option<PositionNotice>> {
    let number = |name: &str| fields[name].as_u64();
    let position = || fields["position"].as_str()?.parse::<Position>().ok();
    Some(match kind {
        "welcome" => Some(PositionNotice::Welcome(Welcome {
            position: position()?,
            start: fields["start"]
                .as_str()
                .and_then(|start| start.parse().ok()),
            replay: number("replay")?,
            recovered: fields["recovered"].as_bool()?,
            missed: number("missed"),
            published: number("published"),
        })),
        "receipt" => Some(PositionNotice::Receipt {
            count: number("count")?,
            position: position()?,
        }),
        "gap" => Some(PositionNotice::Gap {
            missed: number("missed")?,
        }),
        _ => None,
    })
}

/// Returns a welcome at the start of a channel, for tests of what reads it.
#[cfg(test)]
pub(super) fn sample_welcome() -> Welcome {
    Welcome {
        position: sample_position(0),
        start: None,
        replay: 0,
        recovered: true,
        missed: Some(0),
        published: None,
    }
}

/// Returns a position in a channel, for tests.
#[cfg(test)]
pub(super) fn sample_position(offset: u64) -> Position {
    Position {
        epoch: Epoch(0xABCD),
        offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let receipt = Notice::Receipt {
            count: 3,
            position: sample_position(3),
        };
        for notice in [
            Notice::Welcome(sample_welcome()),
            receipt,
            Notice::Gap {
                missed: 2,
                members: true,
            },
            Notice::Members {
                count: 1,
                uids: vec!["anna".into()],
            },
        ] {
            let json = serde_json::to_vec(&notice).expect("it has no other keys");
            let of_json = from_json(&json).expect("it is one");
            assert_eq!(from_frame(&notice.encode()).ok(), Some(of_json));
        }
        for bad in [b"{}".as_slice(), b"[]", br#"{"gap":{}}"#, b"", b"gap"] {
            assert!(from_json(bad).is_err(), "{bad:?}");
        }
    }
}
