//! Notices as they are on the wire, read by nothing that the server is made of.

use mles::protocol::Position;
use serde::{Deserialize, Deserializer};

/// What a server tells between the messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    Welcome(Welcome),
    Receipt(Receipt),
    Gap(Gap),
    Members(Members),
    Changes(Changes),
    Stopping(Stopping),
    Rights(Rights),
    Close(Close),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    #[serde(deserialize_with = "position")]
    pub position: Position,
    #[serde(default, deserialize_with = "some_position")]
    pub start: Option<Position>,
    pub replay: u64,
    pub recovered: bool,
    pub missed: Option<u64>,
    pub published: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub count: u64,
    #[serde(deserialize_with = "position")]
    pub position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub missed: u64,
    #[serde(default)]
    pub members: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    pub count: u64,
    pub uids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    pub count: u64,
    pub joined: Vec<String>,
    pub left: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stopping {
    pub retry: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    pub allowed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

fn some_position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Position>, D::Error> {
    position(deserializer).map(Some)
}

/// Reads a position that is text.
pub fn position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
