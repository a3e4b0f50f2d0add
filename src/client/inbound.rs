//! What comes on one connection: whole frames, and how it ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::admission::{ConnectionEnd, EarlyEnd};
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::join::{JoinedReader, ReadOutcome};
use super::socket::ConnectInfo;
use super::transport;

/// The receiving side of one connection.
pub(super) struct Inbound {
    state: InboundState,
    buffer: FrameBuffer,
    /// Longest time to find out whether a server still listens.
    patience: Duration,
}

enum InboundState {
    Up(JoinedReader),
    /// The connection has ended early, which may be a refusal.
    CheckingRefusal(RefusalCheck),
    Over,
}

type RefusalCheck = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl Inbound {
    pub(super) const fn new(reader: JoinedReader, buffer: FrameBuffer, patience: Duration) -> Self {
        Self {
            state: InboundState::Up(reader),
            buffer,
            patience,
        }
    }

    /// Polls for the next frame; `None` once the connection was closed in an orderly way, and after an error.
    ///
    /// # Errors
    ///
    /// Once: the reason for which the connection has ended.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            let ended = match &mut self.state {
                InboundState::Over => return Poll::Ready(Ok(None)),
                InboundState::CheckingRefusal(check) => ready!(check.as_mut().poll(cx)),
                InboundState::Up(reader) => match ready!(reader.poll_frame(&mut self.buffer, cx)) {
                    Ok(ReadOutcome::Frame(frame)) => return Poll::Ready(Ok(Some(frame))),
                    Ok(ReadOutcome::End(ConnectionEnd::Plain(how))) => how,
                    Ok(ReadOutcome::End(ConnectionEnd::Early(end))) => {
                        self.state =
                            InboundState::CheckingRefusal(check_refusal(end, self.patience));
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            self.state = InboundState::Over;
            return Poll::Ready(ended.map(|()| None));
        }
    }

    /// Returns `true` if the server has let us in, as far as can be told by now.
    pub(super) fn is_admitted(&self) -> bool {
        matches!(&self.state, InboundState::Up(reader) if reader.admission.granted())
    }

    /// Returns when silence is going to show that the server has let us in.
    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        match &self.state {
            InboundState::Up(reader) => Some(reader.admission.deadline()),
            _ => None,
        }
    }

    /// Returns `true` if the connection has ended early, and it is not known yet if that is a refusal.
    pub(super) const fn is_checking_refusal(&self) -> bool {
        matches!(self.state, InboundState::CheckingRefusal(_))
    }

    /// Notes that the sending side was closed: the server may close the connection in turn.
    pub(super) fn sending_finished(&mut self) {
        if let InboundState::Up(reader) = &mut self.state {
            reader.admission.finished();
        }
    }

    /// Returns the addresses of the connection, and about its round trip; `None` once it is over.
    pub(super) fn connection(&self) -> Option<ConnectInfo> {
        match &self.state {
            InboundState::Up(reader) => Some(reader.info),
            _ => None,
        }
    }

    /// Has the connection reset when it is dropped.
    pub(super) fn reset_on_drop(&self) {
        if let InboundState::Up(reader) = &self.state {
            // Where that fails, the connection is closed as any other.
            let _ = reader.half.reset_on_drop();
        }
    }

    /// Returns the state in a word, for debugging.
    pub(super) const fn state(&self) -> &'static str {
        match self.state {
            InboundState::Up(_) => "connected",
            InboundState::CheckingRefusal(_) => "ended",
            InboundState::Over => "over",
        }
    }
}

/// Finds out if an early end was a refusal.
fn check_refusal(end: EarlyEnd, patience: Duration) -> RefusalCheck {
    Box::pin(async move {
        let is_listening = transport::is_listening(end.server(), patience).await;
        end.resolve(is_listening)
    })
}
