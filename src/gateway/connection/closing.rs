//! How a WebSocket session ends.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::{WsConnection, WsSessions};
use crate::access::Denied;
use crate::protocol::BodyError;
use crate::shard::limits::{LetGo, LimitReached};
use crate::shard::refused::Refused;
use crate::shard::session::Ended;
use crate::shard::stream::see_off;
use crate::websocket::{CloseCode, GreetingError, MessageError, WsFrameError, close_frame};

/// How long a connection is kept for its socket to take what was said last.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum Closing {
    /// The connection is gone.
    Gone(io::Error),
    /// The client has closed it in order.
    Closed,
    /// Another part of the shard has ended the sessions of this connection.
    Ended,
    /// A seat was refused, which is counted and logged already.
    NoSeat(CloseCode, &'static str),
    /// The client has done what it may not.
    Fault(CloseCode, String),
    /// The client does not answer.
    Silent,
    /// The memory for incomplete messages was needed for those of others.
    Overdrawn,
    /// A message did not go on.
    Overdue,
    /// It had not joined, and had to make room for others.
    LetGo(LetGo),
}

impl Closing {
    pub(crate) fn too_late() -> Self {
        Self::Fault(CloseCode::POLICY, "no join within join_deadline".to_owned())
    }

    pub(crate) const fn stopping() -> Self {
        Self::NoSeat(CloseCode::GOING_AWAY, "the server is stopping")
    }

    pub(crate) const fn silent() -> Self {
        Self::Silent
    }

    pub(crate) fn too_big(len: usize, limit: usize) -> Self {
        let why = format!("{len} bytes are over the limit of {limit}");
        Self::Fault(CloseCode::TOO_BIG, why)
    }

    pub(crate) fn bad_body(error: &BodyError) -> Self {
        let code = match error {
            BodyError::TooLong { .. } => CloseCode::TOO_BIG,
            _ => CloseCode::BAD_DATA,
        };
        Self::Fault(code, format!("not a Mles v1 body: {error}"))
    }

    pub(crate) fn text_among_bodies() -> Self {
        let why = "text on a session that began with a Mles v1 body";
        Self::Fault(CloseCode::UNSUPPORTED, why.to_owned())
    }

    pub(crate) fn too_many_seats(limit: usize) -> Self {
        let why = format!("more than {limit} (uid, channel) pairs on one session");
        Self::Fault(CloseCode::POLICY, why)
    }

    pub(crate) fn denied(denied: &Denied) -> Self {
        let (code, why) = match denied {
            Denied::NameTooLong { .. } => (
                CloseCode::POLICY,
                "uid or channel name longer than the server allows".to_owned(),
            ),
            denied => (CloseCode::AUTH, denied.reason()),
        };
        Self::Fault(code, why)
    }

    pub(crate) fn full(full: LimitReached) -> Self {
        let why = format!("the server is at its limit ({})", full.limit());
        Self::Fault(CloseCode::TRY_LATER, why)
    }

    pub(crate) fn refused(refused: Refused) -> Self {
        match refused {
            Refused::Duplicate | Refused::CidInUse | Refused::Superseded => Self::NoSeat(
                CloseCode::DUPLICATE,
                "a session with this uid is in the channel",
            ),
            Refused::TooManyChannels => {
                Self::NoSeat(CloseCode::TRY_LATER, "the server has too many channels")
            }
            Refused::Stopping => Self::stopping(),
            Refused::Ring | Refused::Overtaken | Refused::Socket(_) => {
                Self::NoSeat(CloseCode::INTERNAL, "the join failed")
            }
        }
    }

    /// What the client is told; `None` if it is gone or has been told.
    fn reason(&self) -> Option<(CloseCode, &str)> {
        match self {
            Self::Gone(_) | Self::Closed | Self::Ended => None,
            Self::NoSeat(code, why) => Some((*code, why)),
            Self::Fault(code, why) => Some((*code, why)),
            Self::Silent => Some((CloseCode::POLICY, "no answer to pings")),
            Self::Overdrawn => Some((
                CloseCode::TRY_LATER,
                "no memory left for incomplete messages (partial_bytes)",
            )),
            Self::Overdue => Some((
                CloseCode::POLICY,
                "a message did not go on within frame_deadline",
            )),
            Self::LetGo(_) => Some((CloseCode::TRY_LATER, "the server is at its limit")),
        }
    }

    /// The same for one of its seats.
    pub(crate) fn ended(&self) -> Ended {
        let error = match self {
            Self::Fault(_, why) => return Ended::Fault(why.as_str().into()),
            Self::Overdrawn => return Ended::Overdrawn,
            Self::Overdue => return Ended::Overdue,
            Self::NoSeat(_, why) => io::Error::other(*why),
            Self::Gone(error) => io::Error::new(error.kind(), error.to_string()),
            Self::Closed => io::Error::other("closed by the client"),
            Self::Ended => io::Error::other("another session of the connection was ended"),
            Self::Silent => io::Error::new(io::ErrorKind::TimedOut, "no sign of life"),
            Self::LetGo(_) => io::Error::other("made room for others"),
        };
        Ended::ByPeer(error)
    }
}

impl From<WsFrameError> for Closing {
    fn from(error: WsFrameError) -> Self {
        Self::Fault(error.code(), error.to_string())
    }
}

impl From<MessageError> for Closing {
    fn from(error: MessageError) -> Self {
        Self::Fault(error.code(), error.to_string())
    }
}

impl From<GreetingError> for Closing {
    fn from(error: GreetingError) -> Self {
        Self::Fault(error.code(), error.to_string())
    }
}

impl WsConnection {
    /// Gives the seats up, tells the client why, and closes the connection.
    pub(crate) async fn end(mut self: Box<Self>, end: Closing) {
        if let Some((code, why)) = end.reason() {
            self.layered.close(close_frame(code, why));
        }
        self.layered.let_all_go();
        self.release();
        if !self.has_joined() {
            self.note_no_join(&end);
        }
        for seat in self.seats.iter() {
            self.shard.end(&seat.session, end.ended());
        }
        // What is left is one connection.
        self.seats = WsSessions::None;
        if matches!(end, Closing::Gone(_) | Closing::LetGo(_)) {
            return self.layered.shut_down_write();
        }
        let farewell = async {
            // The rest of a message that has begun, and the close frame. A client that does not take
            // them now never will.
            let _ = timeout(FAREWELL, self.layered.flushed()).await;
            self.layered.shut_down_write();
            see_off(&mut self.reader).await;
        };
        self.permit.unless_let_go(farewell).await;
    }

    fn note_no_join(&self, end: &Closing) {
        let peer = self.peer;
        match end {
            Closing::Gone(_) | Closing::Closed | Closing::Ended => {
                tracing::debug!(%peer, "the WebSocket client left without joining");
            }
            // Counted and logged where it was refused.
            Closing::NoSeat(..) => {}
            Closing::Fault(_, why) => {
                self.shard.stats().refused.add(1);
                if self.shard.log.admit() {
                    tracing::warn!(%peer, refusal = %why, "join over WebSocket refused");
                }
            }
            Closing::Silent | Closing::Overdue => self.shard.stats().refused.add(1),
            Closing::Overdrawn => {
                self.shard.stats().partials_evicted.add(1);
                if self.shard.log.admit() {
                    tracing::warn!(
                        %peer,
                        "join over WebSocket refused: its message had stood still for longest when \
                         the memory for incomplete messages was used up (partial_bytes)"
                    );
                }
            }
            Closing::LetGo(why) => {
                self.shard.stats().joining_evicted.add(1);
                if self.shard.log.admit() {
                    let limit = why.full.limit();
                    tracing::warn!(%peer, limit, "WebSocket client let go before it had joined: made room at the limit");
                }
            }
        }
    }
}
