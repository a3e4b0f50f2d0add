//! How a WebSocket connection ends.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::{WsConnection, WsSessions};
use crate::protocol::BodyError;
use crate::shard::ended::Ended;
use crate::shard::farewell::for_refusal;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::see_off;
use crate::websocket::{CloseCode, GreetingError, MessageError, WsFrameError, close_frame};

/// Longest time for which a connection is kept until its socket has taken the last words.
pub(in crate::gateway) const FAREWELL: Duration = Duration::from_secs(2);

/// Reason for which a connection ends.
#[derive(Debug)]
pub(crate) enum Closing {
    /// The connection is gone.
    Gone(io::Error),
    /// The client has closed it in order.
    Closed,
    /// Another part of the shard has ended the sessions of this connection.
    Ended,
    /// Its channel has refused it, or the server is stopping: what there is to count and to log is done.
    RefusedByChannel(Refusal),
    /// It is not let in.
    Refused(Refusal),
    /// The client has done what it may not.
    Fault(CloseCode, String),
    /// The client does not answer.
    Silent,
    /// The memory for incomplete messages was needed for those of others.
    Overdrawn,
    /// A message did not go on.
    Overdue,
}

impl Closing {
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

    pub(crate) fn no_mark() -> Self {
        let why =
            "a message of mles-websocket.token begins with = before a payload, or with ! in a text";
        Self::Fault(CloseCode::BAD_DATA, why.to_owned())
    }

    pub(crate) fn too_many_sessions(limit: usize) -> Self {
        let why = format!("more than {limit} (uid, channel) pairs on one session");
        Self::Fault(CloseCode::POLICY, why)
    }

    pub(crate) fn not_alone() -> Self {
        let why = "positions are for one session of a connection in each channel: open another \
                   connection for the next uid";
        Self::Fault(CloseCode::POLICY, why.to_owned())
    }

    /// Returns what the client is told; `None` if it is gone or has been told.
    fn reason(&self) -> Option<(CloseCode, Cow<'_, str>)> {
        let (code, reason) = match self {
            Self::Gone(_) | Self::Closed | Self::Ended => return None,
            Self::RefusedByChannel(refusal) | Self::Refused(refusal) => {
                return Some(for_refusal(refusal));
            }
            Self::Overdrawn => return Some(for_refusal(&Refusal::Overdrawn)),
            Self::Fault(code, why) => (*code, why.as_str()),
            Self::Silent => (CloseCode::POLICY, "no answer to pings"),
            Self::Overdue => (
                CloseCode::POLICY,
                "an incomplete message did not progress within frame_deadline",
            ),
        };
        Some((code, reason.into()))
    }

    /// Returns the end of one of the connection's sessions.
    pub(crate) fn ended(&self) -> Ended {
        let error = match self {
            Self::Fault(_, why) => return Ended::Fault(why.as_str().into()),
            Self::Refused(refusal) => return Ended::Fault(for_refusal(refusal).1.into()),
            Self::Overdrawn => return Ended::Overdrawn,
            Self::Overdue => return Ended::Overdue,
            Self::RefusedByChannel(refusal) => io::Error::other(for_refusal(refusal).1),
            Self::Gone(error) => io::Error::new(error.kind(), error.to_string()),
            Self::Closed => io::Error::other("closed by the client"),
            Self::Ended => io::Error::other("another session of the connection was ended"),
            Self::Silent => io::Error::new(io::ErrorKind::TimedOut, "no sign of life"),
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
    /// Ends all sessions, tells the client why, and closes the connection.
    pub(crate) async fn end(mut self: Box<Self>, end: Closing) {
        if let Some((code, why)) = end.reason() {
            self.layered.close(close_frame(code, &why));
        }
        self.layered.let_all_go();
        self.release();
        if !self.has_joined() {
            self.note_no_join(&end);
        }
        for member in self.sessions.iter() {
            self.shard.end(&member.session, end.ended());
        }
        // What is left is one connection.
        self.sessions = WsSessions::None;
        if matches!(end, Closing::Gone(_) | Closing::Refused(Refusal::LetGo(_))) {
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
        let Some((_, told)) = end.reason() else {
            return tracing::debug!(%peer, "the WebSocket client left without joining");
        };
        let attempt = Attempt::JoinOverWebSocket { told: &told };
        let fault = || Refusal::Fault(told.to_string());
        match end {
            // Counted and logged where it was refused.
            Closing::RefusedByChannel(_) => {}
            Closing::Refused(refusal) => self.shard.note_refusal(peer, attempt, refusal),
            Closing::Overdrawn => self.shard.note_refusal(peer, attempt, &Refusal::Overdrawn),
            _ => self.shard.note_refusal(peer, attempt, &fault()),
        }
    }
}
