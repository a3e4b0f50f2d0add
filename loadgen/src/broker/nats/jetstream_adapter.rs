//! JetStream: messages are published to a stream, which confirms each when it has it. Subscribers get them from there,
//! republished or by consumers of their own.

use super::adapter::NatsAdapter;
use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError};

/// The stream that has all messages.
const STREAM: &str = r#"{"name":"LOADGEN","subjects":["stream.>"],"storage":"file","num_replicas":1,"retention":"limits","discard":"old","max_msgs_per_subject":1000,"republish":{"src":"stream.>","dest":"live.>"}}"#;
/// The stream that has all messages for consumers.
const CONSUMED: &str = r#"{"name":"LOADGEN","subjects":["stream.>"],"storage":"file","num_replicas":1,"retention":"limits","discard":"old","max_bytes":1073741824}"#;
/// Where confirmations come to.
const INBOX: &str = "_INBOX";
/// Beginning of the word that a message is in the stream.
const ACK: &[u8] = b"{\"stream\":";
/// Beginning of the answer to who creates the stream.
const CREATED: &[u8] = b"{\"type\":";

/// NATS with a stream. Subscribers, who come first, create it; they hear what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JetStreamAdapter {
    /// The stream republishes messages, and subscribers have plain subscriptions.
    Republished,
    /// Each subscriber has an ephemeral push consumer without acks. One that asks for it before the stream is there is
    /// refused.
    Consumers,
}

impl JetStreamAdapter {
    /// Returns the stream, and the subject of the session's messages.
    fn stream(self, session: &Session<'_>) -> (&'static str, String) {
        match self {
            Self::Republished => (STREAM, format!("live.{}", session.channel)),
            Self::Consumers => (CONSUMED, format!("deliver.{}", session.number)),
        }
    }
}

impl Adapter for JetStreamAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        let (stream, channel) = self.stream(session);
        let channel = &channel;
        let hello = NatsAdapter.hello(&Session {
            channel,
            ..*session
        })?;
        let number = session.number;
        let more = match session.role {
            Role::Publisher | Role::ConfirmedPublisher => format!("SUB {INBOX}.{number} 2\r\n"),
            Role::Subscriber | Role::Member => format!(
                "SUB {INBOX}.{number} 2\r\nPUB $JS.API.STREAM.CREATE.LOADGEN {INBOX}.{number} {}\r\n{stream}\r\n",
                stream.len()
            ),
        };
        let consumer = match (self, session.role) {
            (Self::Consumers, Role::Subscriber | Role::Member) => consumer(session),
            _ => String::new(),
        };
        Ok([hello, more.into_bytes(), consumer.into_bytes()].concat())
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let head = format!(
            "PUB stream.{} {INBOX}.{} {}\r\n",
            session.channel,
            session.number,
            payload.len()
        );
        Ok(Publication {
            payload_at: head.len(),
            bytes: [head.as_bytes(), payload, b"\r\n"].concat(),
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let found = NatsAdapter.head(received)?;
        let Head::Delivery {
            head,
            payload,
            tail,
        } = found
        else {
            return Ok(found);
        };
        if !received.starts_with(b"MSG _INBOX.") {
            return Ok(found);
        }
        let Some(answer) = received.get(head..head + payload) else {
            return Ok(Head::Partial);
        };
        let len = head + payload + tail;
        if answer.starts_with(ACK) {
            Ok(Head::Confirm { len })
        } else if answer.starts_with(CREATED) && !answer.windows(7).any(|part| part == b"\"error\"")
        {
            Ok(Head::Control { len })
        } else {
            Err(WireError::refused(answer))
        }
    }

    fn is_duplex(&self) -> bool {
        false
    }

    fn pong(&self) -> &'static [u8] {
        NatsAdapter.pong()
    }
}

/// Returns the request for the consumer of a session.
fn consumer(session: &Session<'_>) -> String {
    let Session {
        number, channel, ..
    } = session;
    let request = format!(
        r#"{{"stream_name":"LOADGEN","config":{{"deliver_subject":"deliver.{number}","filter_subject":"stream.{channel}","deliver_policy":"new","ack_policy":"none","mem_storage":true,"num_replicas":1}}}}"#
    );
    let len = request.len();
    format!("PUB $JS.API.CONSUMER.CREATE.LOADGEN {INBOX}.{number} {len}\r\n{request}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{assert_scans, payload};

    #[test]
    fn messages_and_confirmations_at_every_cut() {
        let message = |sequence| {
            let head = b"MSG live.lg.0 1 16\r\n".as_slice();
            [head, &payload(16, sequence), b"\r\n"].concat()
        };
        let ack = b"MSG _INBOX.5 2 29\r\n{\"stream\":\"LOADGEN\",\"seq\":12}\r\n";
        let stream = [message(0), ack.to_vec(), message(1), ack.to_vec()].concat();
        assert_scans(&JetStreamAdapter::Republished, 16, &stream, 2, 0);
    }

    #[test]
    fn answers_are_told_apart() {
        let answer =
            |text: &str| format!("MSG _INBOX.5 2 {}\r\n{text}\r\n", text.len()).into_bytes();
        let ack = answer("{\"stream\":\"LOADGEN\",\"seq\":12}");
        let len = ack.len();
        assert_eq!(
            JetStreamAdapter::Republished.head(&ack),
            Ok(Head::Confirm { len })
        );
        let created = answer("{\"type\":\"created\"}");
        let len = created.len();
        assert_eq!(
            JetStreamAdapter::Republished.head(&created),
            Ok(Head::Control { len })
        );
        for error in [
            "{\"error\":{\"code\":503,\"description\":\"full\"}}",
            "{\"type\":\"created\",\"error\":{\"description\":\"full\"}}",
        ] {
            let refused = JetStreamAdapter::Republished.head(&answer(error));
            assert!(matches!(refused, Err(WireError::Refused(text)) if text.contains("full")));
        }
    }
}
