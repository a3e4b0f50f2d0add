//! The extension of v1 by which a client asks for positions when it joins.
//!
//! The first body of its session has a fourth key, `resume`: a map in which every key may be missing, and in which
//! keys that are not known are ignored.
//!
//! | key | value |
//! | --- | --- |
//! | `since` | text: the position from which the client wants to go on |
//! | `publisher` | unsigned: a random number that names it as a publisher, the same after a reconnect |
//! | `members` | unsigned: it wants to know who is there, with at most so many names |
//!
//! The server takes the key out before anything of the frame is passed on or stored. It answers with a
//! [`Notice::Welcome`](super::Notice::Welcome). A server that does not know the extension ignores the key, and sends
//! no notice.

use serde::Serialize;

use super::error::BodyError;
use super::position::Position;
use super::reader::{CborReader, vacant};

/// A client's wish for positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The position behind which it wants everything; `None` for the whole history.
    pub since: Option<Position>,
    /// Names it as a publisher: random, and the same after a reconnect. A secret of the client and the server, which
    /// never passes it on.
    pub publisher: Option<u64>,
    /// Set if it wants to know who is there: the largest number of names in the first answer.
    pub members: Option<u64>,
}

impl ResumeRequest {
    pub(super) fn read(reader: &mut CborReader<'_>) -> Result<Self, BodyError> {
        let (mut since, mut publisher, mut members) = (None, None, None);
        for _ in 0..reader.map()? {
            let at = reader.at();
            match reader.key()? {
                b"since" => {
                    let slot = vacant(&mut since, "since", at)?;
                    let at = reader.at();
                    let position = reader.text()?.parse();
                    *slot = Some(position.map_err(|_| BodyError::NoPosition { at })?);
                }
                b"publisher" => {
                    *vacant(&mut publisher, "publisher", at)? = Some(reader.unsigned()?);
                }
                b"members" => *vacant(&mut members, "members", at)? = Some(reader.unsigned()?),
                // Later clients may ask for more, and see from the answer that they do not get it.
                _ => reader.skip()?,
            }
        }
        Ok(Self {
            since,
            publisher,
            members,
        })
    }
}

/// A wish for positions as it is encoded.
#[derive(Serialize)]
pub(super) struct EncodedRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u64>,
}

impl From<&ResumeRequest> for EncodedRequest {
    fn from(request: &ResumeRequest) -> Self {
        Self {
            since: request.since,
            publisher: request.publisher,
            members: request.members,
        }
    }
}
