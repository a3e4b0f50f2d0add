//! The tail of a log: a push consumer of its own, which is not acknowledged and lives as long as the tail.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::message::Message as StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_core::Stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::request::{NO_STREAM, api_error};
use super::stream::{self, StreamNames};
use super::unreachable;
use crate::log::{LogError, Tail};
use crate::order::{LogEntry, Sequence};

/// A consumer that has nothing to deliver says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A tail that hears nothing for this long ends.
const SILENCE: Duration = Duration::from_secs(3);
/// The last sequence of the stream that the consumer has delivered, in a heartbeat.
const LAST_STREAM: &str = "Nats-Last-Stream";
/// Where a consumer that waits for its tail wants to be told to go on, in a heartbeat.
const STALLED: &str = "Nats-Consumer-Stalled";

/// Reads a stream from one sequence on.
#[derive(Debug)]
pub(crate) struct NatsTail {
    connection: Connection,
    context: jetstream::Context,
    subscriber: Subscriber,
    breaks: watch::Receiver<u64>,
    /// The entry that was returned last.
    last: Sequence,
    /// When it was heard of last.
    heard: Instant,
    /// Where the consumer waits to be told that what it sent was read.
    owed: Option<Subject>,
}

impl NatsTail {
    /// Makes the consumer.
    pub(super) async fn open(
        connection: &Connection,
        names: &StreamNames,
        sequence: Sequence,
    ) -> Result<Self, LogError> {
        let breaks = connection.breaks();
        // A consumer of a stream that is shorter would wait for what comes behind `sequence`, and leave out the rest.
        let before = stream::info(connection, names).await?;
        if before.state.last_sequence < sequence.0 {
            return Err(broken(before.state.last_sequence, sequence));
        }
        let (deliver_subject, subscriber) = connection.inbox().await?;
        let name = format!("mles-{:016x}", rand::random::<u64>());
        let config = push::Config {
            deliver_subject,
            name: Some(name.clone()),
            description: Some(connection.label.to_string()),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: sequence.0 + 1,
            },
            ack_policy: AckPolicy::None,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            num_replicas: 1,
            memory_storage: true,
            ..push::Config::default()
        };
        let config = consumer::IntoConsumerConfig::into_consumer_config(config);
        let question = json!({"stream_name": names.stream, "config": config});
        let subject = format!("CONSUMER.CREATE.{}.{name}", names.stream);
        let made: Response<consumer::Info> = connection.ask(&subject, &question).await?;
        match made {
            Response::Ok(_) => {}
            Response::Err { error } if error.error_code() == NO_STREAM => {
                return Err(names.missing());
            }
            Response::Err { error } => return Err(api_error(&error)),
        }
        let after = stream::info(connection, names).await?;
        if after.created != before.created {
            return Err(unreachable("the stream was made anew meanwhile"));
        }
        Ok(Self {
            connection: connection.clone(),
            context: connection.context.clone(),
            subscriber,
            breaks,
            last: sequence,
            heard: Instant::now(),
            owed: None,
        })
    }

    /// Waits for whatever comes next.
    async fn receive(&mut self) -> Result<Message, LogError> {
        let subscriber = &mut self.subscriber;
        let message = poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx));
        let received = tokio::select! {
            biased;
            _ = self.breaks.changed() => return Err(unreachable("the connection to NATS broke")),
            received = timeout_at(self.heard + SILENCE, message) => received,
        };
        let message = received
            .map_err(|_| unreachable(format!("nothing was heard of the stream for {SILENCE:?}")))?
            .ok_or_else(|| unreachable("the connection to NATS is closed"))?;
        self.heard = Instant::now();
        Ok(message)
    }

    /// Looks at what a consumer says of itself.
    fn heed(&mut self, message: &Message) -> Result<(), LogError> {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            let why = message.description.as_deref().unwrap_or("no reason given");
            return Err(unreachable(format!("the consumer has ended: {why}")));
        }
        if message.reply.is_some() {
            self.owed.clone_from(&message.reply);
            return Ok(());
        }
        let header = |name| message.headers.as_ref()?.get(name);
        self.owed = header(STALLED).map(|subject| Subject::from(subject.as_str()));
        let delivered = header(LAST_STREAM).and_then(|last| last.as_str().parse().ok());
        match delivered.filter(|&last: &u64| last != self.last.0) {
            Some(last) => Err(broken(last, self.last)),
            None => Ok(()),
        }
    }

    /// Takes a message of the stream, which has to be the next one.
    fn take(&mut self, message: Message) -> Result<LogEntry, LogError> {
        let message = StreamMessage {
            message,
            context: self.context.clone(),
        };
        let info = message.info();
        let info = info.map_err(|error| unreachable(format!("no record of a stream: {error}")))?;
        let sequence = Sequence(info.stream_sequence);
        if sequence.0 != self.last.0 + 1 {
            return Err(broken(sequence.0, self.last));
        }
        let at_ms = milliseconds(info.published.unix_timestamp_nanos());
        self.last = sequence;
        Ok(LogEntry {
            sequence,
            at_ms,
            bytes: message.message.payload,
        })
    }
}

impl Tail for NatsTail {
    async fn next(&mut self) -> Result<LogEntry, LogError> {
        loop {
            // Forgotten only once it was sent, so that nothing is owed for ever if this future is dropped.
            if let Some(subject) = self.owed.clone() {
                self.connection.reply(subject).await?;
                self.owed = None;
            }
            let message = self.receive().await?;
            if message.status.is_none() {
                return self.take(message);
            }
            self.heed(&message)?;
        }
    }
}

/// Returns the error for a stream that does not go on behind what was read last.
fn broken(found: u64, last: Sequence) -> LogError {
    unreachable(format!(
        "the stream is at {found} where {} was read last: something was lost, or has been put back",
        last.0
    ))
}

/// Returns nanoseconds since 1970 as milliseconds.
pub(super) fn milliseconds(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
}
