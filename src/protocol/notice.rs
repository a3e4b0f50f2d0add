//! Notices: what a server tells a client that has asked for positions, between the messages.
//!
//! Over TCP a notice is a frame that begins with `'N'` instead of `'M'`, whose connection id and key are zero, and
//! whose body is a map of one pair. No client can publish one: the server takes only frames that begin with `'M'`.
//! Over WebSocket and in event streams the same map is sent as JSON.
//!
//! | key | value |
//! | --- | --- |
//! | `welcome` | map of `position` (text), `start` (text, may be missing), `replay` (unsigned), `recovered` (boolean), `missed` and `published` (unsigned, may be missing) |
//! | `receipt` | map of `count` (unsigned) and `position` (text) |
//! | `gap` | map of `missed` (unsigned) and `members` (boolean, may be missing) |
//! | `members` | map of `count` (unsigned) and `uids` (array of text) |
//! | `changes` | map of `count` (unsigned), `joined` and `left` (arrays of text) |
//! | `stopping` | map of `retry` (unsigned) |
//! | `rights` | map of `allowed` (array of text) |
//! | `close` | map of `code` (unsigned) and `reason` (text) |
//! | `token` | map of `ttl` (unsigned) and `refused` (text), each may be missing |
//!
//! A client counts: each message has the position behind that of the one before. A receipt gives a new position, and
//! a gap moves it on by what is missed. Where positions do not follow one another there is a receipt for no messages, whose
//! position is that before the next message.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cbor;
use super::header::{HEADER_LEN, MAX_BODY_LEN};
use super::position::Position;
use super::reader::CborReader;

/// The first byte of a frame that is a notice.
pub const NOTICE_MAGIC: u8 = b'N';

/// A message of the server to a client that has asked for positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The client has joined. First on its session.
    Welcome(Welcome),
    /// Messages of the client itself have taken their place in the order, which is here in its queue.
    Receipt {
        /// How many. They follow one another, unless the notice before this one is a gap. 0 if it is only the position that
        /// is told.
        count: u64,
        /// The position of the last; of none, the position from which the client counts on.
        position: Position,
    },
    /// Something was left out here: the client was too slow for it.
    Gap {
        /// Number of messages.
        missed: u64,
        /// Set if changes of members were left out as well: the names that the client knows are not complete.
        #[serde(default, skip_serializing_if = "is_false")]
        members: bool,
    },
    /// Who is there. Behind the welcome, for a client that wants to know, and once more when it has caught up after a gap
    /// in which changes were left out.
    Members {
        /// Number of members.
        count: u64,
        /// Their uids, one for each member, as many as the client wants at most.
        uids: Vec<Box<str>>,
    },
    /// Who has come and left since the last such notice.
    Changes {
        /// Number of members now. Names that there was no room for come with the next changes.
        count: u64,
        /// The uids of members that have come.
        joined: Vec<Box<str>>,
        /// The uids of members that have left.
        left: Vec<Box<str>>,
    },
    /// The server is stopping, and is about to end this session. What is queued still comes.
    Stopping {
        /// Milliseconds after which the client is to come back, here or to another server. Each client is told another
        /// time, so that they do not come all at once.
        retry: u64,
    },
    /// What the session may do. Behind the welcome of one that may not do everything, and whenever that changes.
    Rights {
        /// The names of its rights, of `publish`, `subscribe`, `history` and `presence`.
        allowed: Vec<Box<str>>,
    },
    /// The join is refused, or the session is over, and the connection is about to be closed. Only over TCP and TLS:
    /// elsewhere the protocol below says so.
    Close {
        /// The close code that a client over WebSocket gets for the same.
        code: u16,
        /// The reason, for people.
        reason: Box<str>,
    },
    /// How the session stands by the token of its client: behind the welcome of one that has joined with a token, and as
    /// the answer to each token that is shown afterwards.
    Token {
        /// Milliseconds until the session ends, unless another token is shown. `None` if it has not joined with one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<u64>,
        /// The reason for which the token that was shown last does not count, for people. The one before it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<Box<str>>,
    },
}

/// The answer to the wish for positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The position from which live messages count.
    pub position: Position,
    /// The position from which the messages before them count, where that is not `position` less `replay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Position>,
    /// Number of messages that come before them: what was missed, as far as it is kept.
    pub replay: u64,
    /// `true` if nothing is missing between the position that was asked for and these.
    pub recovered: bool,
    /// Number of messages that are missing there; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Number of messages of this publisher that have taken their place; `None` if it is not known, or was not
    /// asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u64>,
}

impl Welcome {
    /// Returns the position before the first message that follows the welcome.
    #[must_use]
    pub fn begins_at(&self) -> Position {
        self.start.unwrap_or(Position {
            epoch: self.position.epoch,
            offset: self.position.offset.saturating_sub(self.replay),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Notice {
    /// Creates the notice that a client counts on from `position`, as the next message does not follow the one before.
    #[must_use]
    pub const fn jump_to(position: Position) -> Self {
        Self::Receipt { count: 0, position }
    }

    /// Encodes the whole frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut frame = vec![0; HEADER_LEN];
        cbor::append(&mut frame, self);
        let body_len = frame.len() - HEADER_LEN;
        assert!(body_len <= MAX_BODY_LEN, "names in a notice are bounded");
        let start = (u32::from(NOTICE_MAGIC) << 24) | u32::try_from(body_len).unwrap_or(0);
        frame[..4].copy_from_slice(&start.to_be_bytes());
        frame.into()
    }

    /// Decodes a whole frame that begins with [`NOTICE_MAGIC`]. `None` if it is no notice that is known. Fields that
    /// are not known are left out.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        if frame.first() != Some(&NOTICE_MAGIC) {
            return None;
        }
        let mut reader = CborReader::new(frame.get(HEADER_LEN..)?);
        if reader.map() != Ok(1) {
            return None;
        }
        let mut fields = Fields::default();
        let notice = match reader.key().ok()? {
            b"welcome" => {
                fields.read(&mut reader)?;
                Self::Welcome(Welcome {
                    position: fields.position?,
                    start: fields.start,
                    replay: fields.replay?,
                    recovered: fields.recovered?,
                    missed: fields.missed,
                    published: fields.published,
                })
            }
            b"receipt" => {
                fields.read(&mut reader)?;
                Self::Receipt {
                    count: fields.count?,
                    position: fields.position?,
                }
            }
            b"gap" => {
                fields.read(&mut reader)?;
                Self::Gap {
                    missed: fields.missed?,
                    members: fields.members.unwrap_or(false),
                }
            }
            b"members" => {
                fields.read(&mut reader)?;
                Self::Members {
                    count: fields.count?,
                    uids: fields.uids?,
                }
            }
            b"changes" => {
                fields.read(&mut reader)?;
                Self::Changes {
                    count: fields.count?,
                    joined: fields.joined?,
                    left: fields.left?,
                }
            }
            b"stopping" => {
                fields.read(&mut reader)?;
                Self::Stopping {
                    retry: fields.retry?,
                }
            }
            b"rights" => {
                fields.read(&mut reader)?;
                Self::Rights {
                    allowed: fields.allowed?,
                }
            }
            b"close" => {
                fields.read(&mut reader)?;
                Self::Close {
                    code: fields.code?.try_into().ok()?,
                    reason: fields.reason?,
                }
            }
            b"token" => {
                fields.read(&mut reader)?;
                Self::Token {
                    ttl: fields.ttl,
                    refused: fields.refused,
                }
            }
            _ => return None,
        };
        reader.end().ok()?;
        Some(notice)
    }
}

/// The fields of all notices.
#[derive(Default)]
struct Fields {
    position: Option<Position>,
    start: Option<Position>,
    replay: Option<u64>,
    recovered: Option<bool>,
    missed: Option<u64>,
    published: Option<u64>,
    count: Option<u64>,
    members: Option<bool>,
    uids: Option<Vec<Box<str>>>,
    joined: Option<Vec<Box<str>>>,
    left: Option<Vec<Box<str>>>,
    retry: Option<u64>,
    allowed: Option<Vec<Box<str>>>,
    code: Option<u64>,
    reason: Option<Box<str>>,
    ttl: Option<u64>,
    refused: Option<Box<str>>,
}

impl Fields {
    fn read(&mut self, reader: &mut CborReader<'_>) -> Option<()> {
        for _ in 0..reader.map().ok()? {
            match reader.key().ok()? {
                b"position" => self.position = Some(reader.text().ok()?.parse().ok()?),
                b"start" => self.start = Some(reader.text().ok()?.parse().ok()?),
                b"replay" => self.replay = Some(reader.unsigned().ok()?),
                b"recovered" => self.recovered = Some(reader.boolean().ok()?),
                b"missed" => self.missed = Some(reader.unsigned().ok()?),
                b"published" => self.published = Some(reader.unsigned().ok()?),
                b"count" => self.count = Some(reader.unsigned().ok()?),
                b"members" => self.members = Some(reader.boolean().ok()?),
                b"uids" => self.uids = Some(names(reader)?),
                b"joined" => self.joined = Some(names(reader)?),
                b"left" => self.left = Some(names(reader)?),
                b"retry" => self.retry = Some(reader.unsigned().ok()?),
                b"allowed" => self.allowed = Some(names(reader)?),
                b"code" => self.code = Some(reader.unsigned().ok()?),
                b"reason" => self.reason = Some(reader.text().ok()?.into()),
                b"ttl" => self.ttl = Some(reader.unsigned().ok()?),
                b"refused" => self.refused = Some(reader.text().ok()?.into()),
                // Later versions may say more.
                _ => reader.skip().ok()?,
            }
        }
        Some(())
    }
}

fn names(reader: &mut CborReader<'_>) -> Option<Vec<Box<str>>> {
    let count = reader.array().ok()?;
    // Nothing is allocated by a number that was announced: the input ends first.
    (0..count)
        .map(|_| Some(reader.text().ok()?.into()))
        .collect()
}
