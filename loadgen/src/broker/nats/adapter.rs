//! The NATS client protocol: `CONNECT` without acks, `SUB`, `PUB`, `MSG`, `PING`.

use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError, decimal, line};

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadgen\",\
                       \"version\":\"0\",\"protocol\":1}\r\n";
/// The `CONNECT` of clients that would else get their own messages back.
const CONNECT_WITHOUT_ECHO: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadgen\",\"version\":\"0\",\
     \"protocol\":1,\"echo\":false}\r\n";

/// Core NATS, no headers, no JetStream. Messages that are to be confirmed have a `PING` behind them, which is
/// answered when they have been taken: so do NATS' own clients when they flush.
pub(super) struct NatsAdapter;

impl Adapter for NatsAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        Ok(match session.role {
            Role::Publisher | Role::ConfirmedPublisher => CONNECT.to_owned(),
            Role::Subscriber => format!("{CONNECT}SUB {} 1\r\n", session.channel),
            Role::Member => format!("{CONNECT_WITHOUT_ECHO}SUB {} 1\r\n", session.channel),
        }
        .into_bytes())
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let head = format!("PUB {} {}\r\n", session.channel, payload.len());
        let end = match session.role {
            Role::ConfirmedPublisher => b"\r\nPING\r\n".as_slice(),
            Role::Publisher | Role::Subscriber | Role::Member => b"\r\n",
        };
        Ok(Publication {
            payload_at: head.len(),
            bytes: [head.as_bytes(), payload, end].concat(),
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let Some(line) = line(received) else {
            return Ok(Head::Partial);
        };
        let len = line.len();
        let verb = line.split(|byte| byte.is_ascii_whitespace()).next();
        match verb.unwrap_or_default() {
            b"MSG" => {
                let size = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next();
                let payload = size.and_then(decimal);
                let payload = payload.ok_or_else(|| WireError::unexpected(line))?;
                Ok(Head::Delivery {
                    head: len,
                    payload,
                    tail: 2,
                })
            }
            b"PING" => Ok(Head::Ping { len }),
            b"PONG" => Ok(Head::Confirm { len }),
            b"INFO" | b"+OK" => Ok(Head::Control { len }),
            b"-ERR" => Err(WireError::refused(line)),
            _ => Err(WireError::unexpected(line)),
        }
    }

    fn pong(&self) -> &'static [u8] {
        b"PONG\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{assert_scans, payload};

    fn msg(sequence: u64) -> Vec<u8> {
        [
            b"MSG lg.0 1 16\r\n".as_slice(),
            &payload(16, sequence),
            b"\r\n",
        ]
        .concat()
    }

    #[test]
    fn messages_among_control_lines_at_every_cut() {
        let stream = [
            b"INFO {\"server_id\":\"x\"}\r\n+OK\r\n".to_vec(),
            msg(0),
            msg(1),
            b"PING\r\n".to_vec(),
            msg(2),
            b"PONG\r\n".to_vec(),
        ]
        .concat();
        assert_scans(&NatsAdapter, 16, &stream, 3, 1);
    }

    #[test]
    fn errors_and_nonsense_are_told_apart() {
        let refused = NatsAdapter.head(b"-ERR 'Maximum Payload Violation'\r\n");
        assert!(matches!(refused, Err(WireError::Refused(text)) if text.contains("Maximum")));
        assert!(matches!(
            NatsAdapter.head(b"MSG lg.0 1 x\r\n"),
            Err(WireError::Unexpected(_))
        ));
        assert!(matches!(
            NatsAdapter.head(b"HTTP/1.1 400\r\n"),
            Err(WireError::Unexpected(_))
        ));
    }
}
