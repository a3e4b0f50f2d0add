//! Joining a channel: a connection is opened, and the join frame is the first that is sent.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::admission::{Admission, ConnectionEnd};
use super::error::Error;
use super::frame_buffer::FrameBuffer;
use super::halves::{ReadHalf, WriteHalf};
use super::identity::{Names, SessionIdentity};
use super::options::SessionOptions;
use super::socket::ConnectInfo;
use super::transport;
use crate::protocol::{JoinExtensions, ResumeRequest};

/// A connection on which the join was sent.
pub(super) struct JoinedConnection {
    pub(super) reader: JoinedReader,
    pub(super) writer: JoinedWriter,
    /// The token that was shown.
    pub(super) token: Option<String>,
}

/// The sending half of a joined connection.
pub(super) struct JoinedWriter {
    pub(super) half: WriteHalf,
    pub(super) identity: SessionIdentity,
}

/// The receiving half of a joined connection.
pub(super) struct JoinedReader {
    pub(super) half: ReadHalf,
    pub(super) info: ConnectInfo,
    pub(super) admission: Admission,
}

/// The outcome of a read.
pub(super) enum ReadOutcome {
    Frame(Bytes),
    End(ConnectionEnd),
}

/// Connects and sends the join, which carries the message `first` and what is asked for.
///
/// # Errors
///
/// As for [`Client::join`](super::Client::join).
pub(super) async fn join(
    options: &SessionOptions,
    names: &Names,
    first: &[u8],
    request: Option<&ResumeRequest>,
) -> Result<JoinedConnection, Error> {
    let (reader, mut writer, info) = transport::connect(options).await?;
    // Over TLS, too, it is this address that the server sees.
    let identity = SessionIdentity::new(&options.keyring, options.cid, names, info.local);
    let token = options.token().await?;
    let extensions = JoinExtensions {
        resume: request.copied(),
        token: token.as_deref(),
    };
    let join = identity.encode_join(names, first, &extensions)?;
    let sent = async {
        writer.write_all(&join).await?;
        writer.flush().await
    };
    timeout(options.join_timeout, sent)
        .await
        .map_err(|_| options.connect_error(io::ErrorKind::TimedOut.into()))??;
    Ok(JoinedConnection {
        reader: JoinedReader {
            half: reader,
            info,
            admission: Admission::new(options.join_timeout, &info),
        },
        writer: JoinedWriter {
            half: writer,
            identity,
        },
        token,
    })
}

impl JoinedReader {
    /// Polls for the next whole frame, or the end of the connection.
    pub(super) fn poll_frame(
        &mut self,
        buffer: &mut FrameBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReadOutcome, Error>> {
        loop {
            if let Some(frame) = buffer.next_frame()? {
                return Poll::Ready(Ok(ReadOutcome::Frame(frame)));
            }
            // The future of one read borrows and keeps nothing, so a new one can poll each time.
            let read = pin!(self.half.read_buf(buffer.space())).poll(cx);
            match read {
                Poll::Pending => {
                    buffer.release();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(len)) if len > 0 => {
                    self.admission.heard();
                    buffer.filled(len);
                }
                Poll::Ready(end) => return Poll::Ready(self.ended(end.map(drop), buffer)),
            }
        }
    }

    fn ended(&self, how: io::Result<()>, buffer: &FrameBuffer) -> Result<ReadOutcome, Error> {
        match self.admission.ended(how) {
            ConnectionEnd::Plain(Ok(())) if buffer.is_mid_frame() => Err(Error::Cut),
            end => Ok(ReadOutcome::End(end)),
        }
    }
}
