//! A log on NATS JetStream: one stream, one subject, and a consumer for each tail.
//!
//! Invariants:
//!
//! * Every request to the servers ends within a second, answered or not.
//! * A stream is made by `mles fleet init` alone: one that is lost must not come back silently empty.
//! * A tail ends when the connection breaks, when it hears nothing for three seconds, and when a sequence is not the next
//!   one, so that whoever reads it compares what it has with the stream before it goes on.
//!
//! It must not know what is in a record.

mod connection;
mod inspect;
mod login;
mod request;
mod stream;
mod tail;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use async_nats::{HeaderMap, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::connection::Connection;
pub(crate) use self::inspect::Inspection;
use self::request::{NO_MESSAGE, NO_STREAM, api_error};
pub(crate) use self::stream::{NewLog, StreamNames};
pub(crate) use self::tail::NatsTail;
use super::{Log, LogError, LogState};
use crate::order::{LogEntry, Sequence};
use crate::settings::FleetSettings;

/// Time that each request to the servers may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Least time that a failed append takes, so that a loop of retries does not spin.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Room for the subject and the headers of a record within the largest message that a server takes.
const HEADER_ROOM: usize = 512;

/// The log of a fleet on NATS JetStream.
#[derive(Debug)]
pub(crate) struct NatsLog {
    connection: Connection,
    names: StreamNames,
}

impl NatsLog {
    /// Connects to the servers, within five seconds. Whether they have the log is told by [`Log::describe`]. Must be called
    /// on the runtime that drives the connection from then on.
    ///
    /// # Errors
    ///
    /// No server can be reached, or none lets this node in; or they are too old.
    pub(crate) async fn connect(settings: &FleetSettings) -> Result<Self, LogError> {
        let name = settings.name.as_ref();
        let name = name.ok_or_else(|| unusable("the fleet has no name"))?;
        let connection = Connection::open(settings).await?;
        Ok(Self {
            connection,
            names: StreamNames::of(name),
        })
    }

    /// Returns the name of the stream.
    pub(crate) fn stream(&self) -> &str {
        &self.names.stream
    }

    /// Makes the log. `false` if there is one already, which stays as it is.
    pub(crate) async fn make(&self, new: &NewLog) -> Result<bool, LogError> {
        stream::make(&self.connection, &self.names, new).await
    }

    /// Returns everything about the log that people ask for.
    pub(crate) async fn inspect(&self) -> Result<Inspection, LogError> {
        inspect::inspect(&self.connection, &self.names).await
    }

    /// Tries whatever a node does, without appending anything, and returns what it could not do.
    pub(crate) async fn try_out(&self) -> Vec<LogError> {
        inspect::try_out(self).await
    }

    async fn publish(&self, headers: HeaderMap, record: Bytes) -> Result<Response<Ack>, LogError> {
        let longest = self.connection.max_payload();
        if record.len() + HEADER_ROOM > longest {
            let text = format!(
                "a record of {} bytes is more than the servers take: `max_payload` is {longest} there",
                record.len()
            );
            return Err(unusable(text));
        }
        let subject = self.names.subject.clone();
        let request = Request::new().headers(headers).payload(record);
        request::parse(&self.connection.send(subject, request, PATIENCE).await?)
    }
}

/// What a stream says of a message that it has taken.
#[derive(Deserialize)]
struct Ack {
    seq: u64,
}

#[derive(Serialize)]
struct GetMessage {
    seq: u64,
}

#[derive(Deserialize)]
struct GotMessage {
    message: RawMessage,
}

impl Log for NatsLog {
    type Tail = NatsTail;

    async fn describe(&self) -> Result<LogState, LogError> {
        let info = stream::info(&self.connection, &self.names).await?;
        let longest = self.connection.max_payload();
        stream::state(&info, longest.saturating_sub(HEADER_ROOM))
    }

    async fn append(&self, id: &str, record: Bytes) -> Result<Sequence, LogError> {
        let began = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert("Nats-Expected-Stream", self.names.stream.as_str());
        let result = match self.publish(headers, record).await {
            Ok(Response::Ok(ack)) => Ok(Sequence(ack.seq)),
            Ok(Response::Err { error }) => Err(api_error(&error)),
            Err(error) => Err(error),
        };
        if result.is_err() {
            tokio::time::sleep_until(began + RETRY_AFTER).await;
        }
        result
    }

    async fn get(&self, sequence: Sequence) -> Result<Option<LogEntry>, LogError> {
        if sequence == Sequence(0) {
            return Ok(None);
        }
        let question = GetMessage { seq: sequence.0 };
        let subject = format!("STREAM.MSG.GET.{}", self.names.stream);
        let answer = self.connection.ask(&subject, &question).await?;
        let GotMessage { message } = match answer {
            Response::Ok(got) => got,
            Response::Err { error } if error.error_code() == NO_MESSAGE => return Ok(None),
            Response::Err { error } if error.error_code() == NO_STREAM => {
                return Err(self.names.missing());
            }
            Response::Err { error } => return Err(api_error(&error)),
        };
        let bytes = BASE64_STANDARD.decode(message.payload);
        let bytes = bytes.map_err(|error| unreachable(format!("unreadable answer: {error}")))?;
        Ok(Some(LogEntry {
            sequence,
            at_ms: tail::milliseconds(message.time.unix_timestamp_nanos()),
            bytes: bytes.into(),
        }))
    }

    async fn tail(&self, sequence: Sequence) -> Result<NatsTail, LogError> {
        NatsTail::open(&self.connection, &self.names, sequence).await
    }
}

/// Returns the error for what may go well when it is tried again.
fn unreachable(text: impl Into<Box<str>>) -> LogError {
    LogError::Unreachable(text.into())
}

/// Returns the error for what somebody has to mend.
fn unusable(text: impl Into<Box<str>>) -> LogError {
    LogError::Unusable(text.into())
}
