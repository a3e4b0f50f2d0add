//! Messages between shards. See `mailbox` for the two classes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustls::Connection;
use tokio::net::TcpStream;

use super::ask::Question;
use super::ids::{ChannelId, ShardId};
use super::labels::Transport;
use super::layered::Layered;
use super::limits::{LimitReached, Permit};
use super::links::received_resync::ReceivedResync;
use super::mailbox::Weigh;
use super::parked::Parked;
use super::presence::NamedMembers;
use super::refusal::Refusal;
use super::stream::{StreamReader, StreamWriter, sides};
use crate::access::Rights;
use crate::channel::{FrameRun, MemberNews, Resumed, SessionId};
use crate::protocol::{Cid, FrameError, FrameHeader, LinkHello, ResumeRequest};

/// From a relay or an accepting shard to the owner of a channel.
#[derive(Debug)]
pub(crate) enum Request {
    /// A connection has sent its join frame.
    Join(Box<Arrival<Option<Detached>>>),
    /// A relay member has published.
    Publish {
        channel: ChannelId,
        session: SessionId,
        run: FrameRun,
    },
    /// A run is sampled that was sent before this.
    Follow { channel: ChannelId, read: Instant },
    /// A relay member is gone.
    Leave {
        channel: ChannelId,
        cid: Cid,
        session: SessionId,
    },
    /// The channel has to make room for another, unless it is needed again.
    Free { channel: ChannelId },
    /// A relay member's client has closed its sending side.
    HalfClose {
        channel: ChannelId,
        cid: Cid,
        session: SessionId,
    },
    /// A relay member has been tested, and its client is there.
    Alive { session: SessionId },
    /// Somebody without a seat publishes, reads, or wants to know who is there.
    Ask(Box<Question>),
    /// A relay member that watches was too slow for some of the news: it needs the list anew, with so many names.
    ListMembers { channel: ChannelId, names: usize },
    /// A relay member must not be told any more who is there.
    StopWatching {
        channel: ChannelId,
        session: SessionId,
    },
    /// Names of relay members, which the owner has asked for.
    Named(Box<NamedMembers>),
    /// Asks for [`Delivery::Through`], behind everything that is published before it.
    Through { shard: ShardId },
    /// Some relay member on that shard is over its high-water mark, or none is any more.
    Press {
        channel: ChannelId,
        shard: ShardId,
        on: bool,
    },
}

/// From the owner of a channel to a shard with relay members.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A new relay member.
    Adopt(Box<Adoption>),
    /// The next run in the channel's order, for every member but `except`.
    Run {
        channel: ChannelId,
        except: SessionId,
        run: FrameRun,
        /// Number of messages in it, if the channel is numbered.
        messages: u32,
    },
    /// The first message of the next run comes behind the offset `before`, which is not that of the one before it.
    Jump { channel: ChannelId, before: u64 },
    /// A run is sampled that was sent before this.
    Follow { channel: ChannelId, read: Instant },
    /// A session whose connection stays there is refused a seat.
    Refuse {
        session: SessionId,
        why: Box<Refusal>,
    },
    /// Everything has come that was published before it was asked for.
    Through,
    /// The owner wants to know the uids of the members there.
    NameMembers { channel: ChannelId },
    /// News about its members, for those on that shard who watch the channel.
    TellMembers {
        channel: ChannelId,
        news: Arc<MemberNews>,
    },
    /// Another connection wants the place of the member. Its client is to be tested.
    Test {
        channel: ChannelId,
        session: SessionId,
        /// The uid that both sessions claim.
        uid: Box<str>,
    },
    /// The member has lost its seat: to a new session, or to make room at a limit.
    Evict {
        channel: ChannelId,
        session: SessionId,
        limit: Option<LimitReached>,
    },
    /// The channel's publishers have to pause, or may go on.
    Pause {
        channel: ChannelId,
        on: bool,
        /// `true` if the pause may last as long as it likes.
        is_unlimited: bool,
    },
}

const _: () = assert!(size_of::<Request>() <= 72 && size_of::<Delivery>() <= 72);

impl Weigh for Request {
    fn weight(&self) -> usize {
        match self {
            Self::Join(arrival) => arrival.weight(),
            Self::Publish { run, .. } => run.pinned(),
            Self::Ask(question) => question.weight(),
            Self::Named(named) => named.weight(),
            Self::Follow { .. }
            | Self::Leave { .. }
            | Self::ListMembers { .. }
            | Self::StopWatching { .. }
            | Self::HalfClose { .. }
            | Self::Free { .. }
            | Self::Alive { .. }
            | Self::Through { .. }
            | Self::Press { .. } => 0,
        }
    }
}

impl Weigh for Delivery {
    fn weight(&self) -> usize {
        match self {
            Self::Run { run, .. } => run.pinned(),
            // The replay shares its buffers with the channel's history.
            Self::Adopt(adoption) => adoption.early.weight(),
            Self::TellMembers { news, .. } => news.weight(),
            Self::Jump { .. }
            | Self::Follow { .. }
            | Self::Refuse { .. }
            | Self::Through
            | Self::NameMembers { .. }
            | Self::Test { .. }
            | Self::Evict { .. }
            | Self::Pause { .. } => 0,
        }
    }
}

/// The names and numbers that identify a session, and the place it counts for.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) session: SessionId,
    pub(crate) cid: Cid,
    pub(crate) peer: SocketAddr,
    pub(crate) uid: Box<str>,
    /// The rights of the session.
    pub(crate) rights: Rights,
    /// Keeps the connection counted, unless what it lives in does that.
    pub(crate) permit: Option<Permit>,
    /// Transport of the session.
    pub(crate) transport: Transport,
}

/// Input that arrived behind a join frame, before the session had its seat.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// The whole frames in it.
    pub(crate) run: Option<FrameRun>,
    /// The start of a frame.
    pub(crate) partial: Bytes,
    /// The fault of the bytes behind that, which are not kept.
    pub(crate) bad: Option<FrameError>,
}

impl Early {
    /// Returns the bytes of memory that it keeps alive.
    pub(super) fn weight(&self) -> usize {
        self.run.as_ref().map_or(0, FrameRun::pinned) + self.partial.len()
    }
}

/// A connection that has proved that it may join, on its way to the channel's owner.
#[derive(Debug)]
pub(crate) struct Arrival<S> {
    pub(crate) socket: S,
    /// The shard that accepted it.
    pub(crate) origin: ShardId,
    pub(crate) identity: Identity,
    pub(crate) channel: Box<str>,
    /// The whole join frame.
    pub(crate) join: Bytes,
    /// `true` if the join frame carries no message, so that it only announces the member.
    pub(crate) is_silent: bool,
    /// The history that a server has sent instead of a mere join frame.
    pub(crate) resync: Option<Box<ReceivedResync>>,
    /// Set for a client that asks for positions. The join frame does not say so.
    pub(crate) resume: Option<Box<ResumeRequest>>,
    /// How far its publisher was made known where others have to know it first: on a disk, or in a fleet.
    pub(crate) introduced: Introduced,
    /// Set for a session that a gateway opens for its client.
    pub(crate) gateway: Option<Gateway>,
    pub(crate) early: Early,
}

/// How far a publisher was made known before its session has a seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Introduced {
    #[default]
    No,
    /// As one whose messages were counted before.
    Known,
    /// As one whose messages are counted anew.
    Anew,
}

/// A session that a gateway has opened for a client that knows no connection ids: the owner chooses
/// one that is free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gateway {
    /// `true` if its uid may have one such session in the channel only.
    pub(crate) is_sole: bool,
}

impl<S> Arrival<S> {
    /// Replaces the socket, and keeps the rest.
    pub(crate) fn try_map<T, E>(
        self,
        socket: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<Arrival<T>, E> {
        Ok(Arrival {
            socket: socket(self.socket)?,
            origin: self.origin,
            identity: self.identity,
            channel: self.channel,
            join: self.join,
            is_silent: self.is_silent,
            introduced: self.introduced,
            resync: self.resync,
            resume: self.resume,
            gateway: self.gateway,
            early: self.early,
        })
    }

    /// Takes another connection id, in the join frame as well.
    pub(super) fn change_cid(&mut self, cid: Cid) {
        self.identity.cid = cid;
        if let Ok(Some(header)) = FrameHeader::decode(&self.join) {
            let header = FrameHeader { cid, ..header }.encode();
            self.join = [&header[..], &self.join[header.len()..]].concat().into();
        }
    }

    /// Returns the greeting of a server of this project below.
    pub(crate) fn hello(&self) -> Option<LinkHello> {
        self.resync.as_ref()?.link
    }

    pub(super) fn weight(&self) -> usize {
        let brought = self.resync.as_ref().map_or(0, |brought| brought.weight());
        self.join.len() + brought + self.early.weight()
    }
}

/// A connection on its way to the shard on which it will stay as a relay member.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// Absent when it is there already.
    pub(crate) socket: Option<Detached>,
    pub(crate) identity: Identity,
    pub(crate) id: ChannelId,
    pub(crate) channel: Box<str>,
    pub(crate) replay: Vec<Bytes>,
    /// Set if it has asked for positions.
    pub(crate) resumed: Option<Box<Resumed>>,
    pub(crate) skip: u32,
    /// `true` if it has named its publisher.
    pub(crate) has_publisher: bool,
    /// `true` while the channel's publishers have to pause.
    pub(crate) is_paused: bool,
    pub(crate) early: Early,
}

/// The connection of a session that wants a seat.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Plain, on this shard.
    Here(TcpStream),
    /// TLS, on this shard, with what is said on it allowed to move: it is that of a server.
    Tls(Box<Layered>),
    /// Brought along from another shard.
    Moved(Detached),
    /// On this shard, where it stays.
    Parked(Parked),
    /// On another shard, where it stays.
    Elsewhere,
}

/// A connection that no runtime knows.
#[derive(Debug)]
pub(crate) struct Detached {
    stream: std::net::TcpStream,
    tls: Option<Box<Connection>>,
}

impl Socket {
    /// Its two sides, registered with this thread's runtime.
    pub(super) fn attach(self) -> std::io::Result<(StreamReader, StreamWriter)> {
        match self {
            Self::Here(stream) => Ok(sides(stream, None)),
            Self::Tls(layered) => {
                let (stream, tls) = layered.into_parts();
                Ok(sides(stream, tls))
            }
            Self::Moved(moved) => moved.attach(),
            Self::Parked(_) | Self::Elsewhere => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes it out of this thread's runtime; `None` if it is not in it.
    pub(super) fn detach(self) -> std::io::Result<Option<Detached>> {
        match self {
            Self::Here(stream) => Detached::of(stream, None),
            Self::Tls(layered) => {
                let (stream, tls) = layered.into_parts();
                Detached::of(stream, tls)
            }
            Self::Moved(moved) => Ok(Some(moved)),
            Self::Parked(_) | Self::Elsewhere => Ok(None),
        }
    }
}

impl Detached {
    fn of(stream: TcpStream, tls: Option<Connection>) -> std::io::Result<Option<Self>> {
        let stream = stream.into_std()?;
        let tls = tls.map(Box::new);
        Ok(Some(Self { stream, tls }))
    }

    /// Registers it with this thread's runtime.
    pub(super) fn attach(self) -> std::io::Result<(StreamReader, StreamWriter)> {
        let stream = TcpStream::from_std(self.stream)?;
        Ok(sides(stream, self.tls.map(|tls| *tls)))
    }
}

/// A channel's name on one shard.
pub(crate) type ChannelName = Rc<str>;
