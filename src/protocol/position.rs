//! Positions in the order of a channel.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// One incarnation of a channel's order. A channel that is opened anew, or by a server that was restarted, has another
/// one, so that an offset in the old order is never taken for one in the new.
///
/// As text it is 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A place in the order of a channel: everything up to and including the message at `offset` is before it.
///
/// As text it is the epoch, a colon, and the offset in decimal. To clients that text is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The order in which the offset counts.
    pub epoch: Epoch,
    /// Number of messages up to this place, from 1. Hints of presence are not counted. It is 0 where no message
    /// is before it.
    pub offset: u64,
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a position: it is 16 hexadecimal digits, a colon, and a number")]
pub struct BadPosition;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl Serialize for Position {
    /// Serializes the text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    /// Deserializes the text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Epoch {
    type Err = BadPosition;

    /// Takes only what [`Display`](fmt::Display) writes: one epoch has one text.
    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(BadPosition);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| BadPosition)
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    /// Takes only what [`Display`](fmt::Display) writes: one position has one text.
    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (epoch, offset) = text.split_once(':').ok_or(BadPosition)?;
        let is_plain = offset.bytes().all(|byte| byte.is_ascii_digit())
            && (offset == "0" || !offset.starts_with('0'));
        if !is_plain {
            return Err(BadPosition);
        }
        Ok(Self {
            epoch: epoch.parse()?,
            offset: offset.parse().map_err(|_| BadPosition)?,
        })
    }
}
