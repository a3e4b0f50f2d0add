//! The extension of v1 by which two servers of this project tell each other about a link.
//!
//! A *link* is the session of a server with its upstream for one channel. Its first frame is a
//! resync message in which the server says who it is ([`LinkHello`]); the upstream answers with
//! notices ([`LinkNotice`]). Servers that do not know the extension ignore the hello, and are never
//! sent a notice.
//!
//! A notice is a frame whose header has the link's id as its key, and whose body is a map of one
//! pair:
//!
//! | key | value |
//! | --- | --- |
//! | `link_welcome` | map of `replay` and `given` (unsigned), `counted` (boolean) and `path` (array of unsigned) |
//! | `link_path` | array of unsigned |
//! | `link_compared` | unsigned |
//! | `link_refused` | text: `key`, `cid`, `loop`, `limit`, `stopping`, `resync` or `sender` |

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::cbor;
use super::error::BodyError;
use super::header::{FrameHeader, HEADER_LEN};
use super::key::{Cid, Key};
use super::reader::{CborReader, vacant};

/// Most servers in the path of a notice: more than any sensible depth.
pub const MAX_LINK_PATH: usize = 64;

/// Introduction of the lower server of a link, in its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHello {
    /// The server: random for each process.
    pub server: u64,
    /// The link: random for each channel and upstream, the same after a reconnect for as long as
    /// the server remembers what it has exchanged with the upstream. A secret of the two servers: who
    /// knows it could take the link's place above, or tell the lower server that it is refused. It is
    /// never passed on.
    pub id: u64,
    /// Number of the newest frames that it recognises when they are replayed to it. In front of late
    /// frames: number of the newest frames up to `got` with which it has compared these.
    pub window: u64,
    /// Number of frames that it has offered on this link, this resync message included. Those that came
    /// from the upstream or have an empty message do not count.
    pub sent: u64,
    /// Up to which of them the upstream may have got one another way before: they were in the
    /// history of a server below, which may have been linked to it through another server.
    pub old: u64,
    /// Number of frames that have come down this link, as the upstream counts; `None` if that is not
    /// known. Those with an empty message do not count.
    pub got: Option<u64>,
}

/// Message of the upper server of a link to the lower one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNotice {
    /// The link has joined. First on its session.
    Welcome {
        /// Number of frames of history that follow; those after them are live.
        replay: u64,
        /// Set if these are just what follows [`LinkHello::got`]; else some may be known.
        counted: bool,
        /// Number of frames that have gone down this link when the replay is over. Both sides count on
        /// from there.
        given: u64,
        /// See [`LinkNotice::Path`].
        path: Vec<u64>,
    },
    /// The servers above the lower one for this channel have changed. The upper server of the link
    /// comes first, then its own upstreams, as far as known.
    Path(Vec<u64>),
    /// The upper server has compared late frames with all that it remembers: those up to this number of
    /// the frames that the link has offered. Frames before the notice were sent before that.
    Compared(u64),
    /// The link is refused; the session ends.
    Refused(LinkRefusal),
}

/// Reason for which a link is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkRefusal {
    /// The key is not the one that the upstream expects.
    Key,
    /// The connection id belongs to a live session of the channel.
    Cid,
    /// The lower server is above the upstream, or is the upstream.
    Loop,
    /// A limit of the upstream: on channels, on lengths of names.
    Limit,
    /// The upstream is stopping.
    Stopping,
    /// The resync message is bad.
    Resync,
    /// The upstream checks who has sent each frame, and takes no servers below it.
    Sender,
    /// The key of the lower server does not have the right `peer` in the channel.
    Right,
}

impl LinkRefusal {
    const ALL: [Self; 8] = [
        Self::Key,
        Self::Cid,
        Self::Loop,
        Self::Limit,
        Self::Stopping,
        Self::Resync,
        Self::Sender,
        Self::Right,
    ];

    /// Returns the word on the wire.
    const fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Cid => "cid",
            Self::Loop => "loop",
            Self::Limit => "limit",
            Self::Stopping => "stopping",
            Self::Resync => "resync",
            Self::Sender => "sender",
            Self::Right => "right",
        }
    }
}

impl fmt::Display for LinkRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "wrong key",
            Self::Cid => "the connection id is in use",
            Self::Loop => "the servers form a loop",
            Self::Limit => "over a limit of the upstream",
            Self::Stopping => "the upstream is stopping",
            Self::Resync => "the upstream does not accept the resync message",
            Self::Sender => {
                "the upstream checks the sender of every frame and takes no servers below it \
                 (check_names = \"sender\" there)"
            }
            Self::Right => {
                "the upstream allows no server below by this key (peer in a [[rule]] there)"
            }
        })
    }
}

impl LinkNotice {
    /// Encodes the whole frame for the link with the id `link`. A path longer than [`MAX_LINK_PATH`] is
    /// cut to its first servers.
    #[must_use]
    pub fn encode(&self, link: u64, cid: Cid) -> Bytes {
        let mut frame = vec![0; HEADER_LEN];
        match self {
            Self::Welcome {
                replay,
                counted,
                given,
                path,
            } => {
                let path = within_bound(path);
                let welcome = EncodedNotice::Welcome {
                    replay: *replay,
                    counted: *counted,
                    given: *given,
                    path,
                };
                cbor::append(&mut frame, &welcome);
            }
            Self::Path(path) => {
                cbor::append(&mut frame, &EncodedNotice::Path(within_bound(path)));
            }
            Self::Compared(up_to) => cbor::append(&mut frame, &EncodedNotice::Compared(*up_to)),
            Self::Refused(why) => cbor::append(&mut frame, &EncodedNotice::Refused(why.word())),
        }
        let header = FrameHeader {
            body_len: frame.len() - HEADER_LEN,
            cid,
            key: Key(link),
        };
        frame[..HEADER_LEN].copy_from_slice(&header.encode());
        frame.into()
    }

    /// Decodes a whole frame that came down a link with the id `link`. `None` if it is anything
    /// else than a notice for that link: an ordinary frame.
    #[must_use]
    pub fn decode(frame: &[u8], link: u64) -> Option<Self> {
        let header = FrameHeader::decode(frame).ok()??;
        let body = &frame[HEADER_LEN..];
        if header.key != Key(link) || header.body_len != body.len() {
            return None;
        }
        Self::decode_body(body)
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut reader = CborReader::new(body);
        if reader.map() != Ok(1) {
            return None;
        }
        let notice = match reader.key().ok()? {
            b"link_welcome" => welcome(&mut reader)?,
            b"link_path" => Self::Path(path(&mut reader)?),
            b"link_compared" => Self::Compared(reader.unsigned().ok()?),
            b"link_refused" => {
                let word = reader.text().ok()?;
                let mut known = LinkRefusal::ALL.into_iter();
                Self::Refused(known.find(|why| why.word() == word)?)
            }
            _ => return None,
        };
        reader.end().ok()?;
        Some(notice)
    }
}

/// A map of the one pair that the notice is.
#[derive(Serialize)]
enum EncodedNotice<'a> {
    #[serde(rename = "link_welcome")]
    Welcome {
        replay: u64,
        counted: bool,
        given: u64,
        path: &'a [u64],
    },
    #[serde(rename = "link_path")]
    Path(&'a [u64]),
    #[serde(rename = "link_compared")]
    Compared(u64),
    #[serde(rename = "link_refused")]
    Refused(&'a str),
}

fn within_bound(path: &[u64]) -> &[u64] {
    &path[..path.len().min(MAX_LINK_PATH)]
}

fn welcome(reader: &mut CborReader<'_>) -> Option<LinkNotice> {
    let (mut replay, mut counted, mut given, mut servers) = (None, None, None, None);
    for _ in 0..reader.map().ok()? {
        match reader.key().ok()? {
            b"replay" if replay.is_none() => replay = Some(reader.unsigned().ok()?),
            b"counted" if counted.is_none() => counted = Some(reader.boolean().ok()?),
            b"given" if given.is_none() => given = Some(reader.unsigned().ok()?),
            b"path" if servers.is_none() => servers = Some(path(reader)?),
            _ => return None,
        }
    }
    Some(LinkNotice::Welcome {
        replay: replay?,
        counted: counted?,
        given: given?,
        path: servers?,
    })
}

fn path(reader: &mut CborReader<'_>) -> Option<Vec<u64>> {
    let count = usize::try_from(reader.array().ok()?).ok()?;
    if count > MAX_LINK_PATH {
        return None;
    }
    (0..count).map(|_| reader.unsigned().ok()).collect()
}

impl LinkHello {
    /// Longest encoding in bytes that is accepted: a map of six pairs, every head as wide as it gets.
    pub(super) const MAX_LEN: usize = 9 + 6 * (9 + "window".len() + 9);

    /// Reads the hello of a resync message: a map of unsigned integers, in any order.
    pub(super) fn read(reader: &mut CborReader<'_>) -> Result<Self, BodyError> {
        let (mut server, mut id, mut window) = (None, None, None);
        let (mut sent, mut old, mut got) = (None, None, None);
        // However many pairs are announced, the seventh is an error at the latest.
        for _ in 0..reader.map()? {
            let at = reader.at();
            let (slot, key) = match reader.key()? {
                b"server" => (&mut server, "server"),
                b"id" => (&mut id, "id"),
                b"window" => (&mut window, "window"),
                b"sent" => (&mut sent, "sent"),
                b"got" => (&mut got, "got"),
                b"old" => (&mut old, "old"),
                _ => return Err(BodyError::UnknownKey { at }),
            };
            *vacant(slot, key, at)? = Some(reader.unsigned()?);
        }
        let missing = |key| BodyError::MissingKey {
            key,
            at: reader.at(),
        };
        Ok(Self {
            server: server.ok_or(missing("server"))?,
            id: id.ok_or(missing("id"))?,
            window: window.ok_or(missing("window"))?,
            sent: sent.ok_or(missing("sent"))?,
            got,
            old: old.ok_or(missing("old"))?,
        })
    }
}
