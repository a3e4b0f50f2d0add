//! Redis publish/subscribe over RESP2: `SUBSCRIBE`, `PUBLISH`, and the replies to both.

use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError, decimal, line};

/// Redis; a publisher's `:receivers` replies cannot be turned off: they confirm its messages.
pub(super) struct RedisAdapter;

impl Adapter for RedisAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        let channel = session.channel;
        Ok(match session.role {
            Role::Publisher | Role::ConfirmedPublisher => Vec::new(),
            Role::Subscriber | Role::Member => format!(
                "*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{channel}\r\n",
                channel.len()
            )
            .into_bytes(),
        })
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let channel = session.channel;
        let head = format!(
            "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n",
            channel.len(),
            payload.len()
        );
        Ok(Publication {
            payload_at: head.len(),
            bytes: [head.as_bytes(), payload, b"\r\n"].concat(),
        })
    }

    /// Returns `false`: in RESP2 a connection that has subscribed takes no other commands.
    fn is_duplex(&self) -> bool {
        false
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let Some(first) = line(received) else {
            return Ok(Head::Partial);
        };
        match first[0] {
            b':' => Ok(Head::Confirm { len: first.len() }),
            b'-' => Err(WireError::refused(first)),
            b'*' if first == b"*3\r\n" => push(received),
            _ => Err(WireError::unexpected(first)),
        }
    }
}

/// Reads a push of three: `message`, channel, payload; or `subscribe`, channel, `:count`.
fn push(received: &[u8]) -> Result<Head, WireError> {
    let mut cursor = Cursor {
        received,
        at: b"*3\r\n".len(),
    };
    let Some(kind) = cursor.bulk()? else {
        return Ok(Head::Partial);
    };
    let Some(_channel) = cursor.bulk()? else {
        return Ok(Head::Partial);
    };
    let Some(last) = cursor.line() else {
        return Ok(Head::Partial);
    };
    match kind {
        b"message" => Ok(Head::Delivery {
            head: cursor.at,
            payload: bulk_len(last)?,
            tail: 2,
        }),
        b"subscribe" => Ok(Head::Control { len: cursor.at }),
        _ => Err(WireError::unexpected(received)),
    }
}

struct Cursor<'a> {
    received: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let line = line(self.received.get(self.at..)?)?;
        self.at += line.len();
        Some(line)
    }

    /// Reads a bulk string, without its length and line ends; `None` when it has not come whole.
    fn bulk(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        let Some(line) = self.line() else {
            return Ok(None);
        };
        let len = bulk_len(line)?;
        let bulk = self
            .received
            .get(self.at..)
            .and_then(|rest| rest.get(..len));
        self.at = self.at.saturating_add(len).saturating_add(2);
        Ok(bulk)
    }
}

fn bulk_len(line: &[u8]) -> Result<usize, WireError> {
    line.strip_prefix(b"$")
        .and_then(|digits| decimal(digits.trim_ascii_end()))
        .ok_or_else(|| WireError::unexpected(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{assert_scans, payload};

    fn message(sequence: u64) -> Vec<u8> {
        let head = b"*3\r\n$7\r\nmessage\r\n$4\r\nlg.0\r\n$16\r\n".as_slice();
        [head, &payload(16, sequence), b"\r\n"].concat()
    }

    #[test]
    fn messages_after_the_reply_to_subscribe_at_every_cut() {
        let reply = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nlg.0\r\n:1\r\n".to_vec();
        let stream = [reply, message(0), message(1), message(2)].concat();
        assert_scans(&RedisAdapter, 16, &stream, 3, 0);
    }

    #[test]
    fn replies_to_publish_are_drained_at_every_cut() {
        assert_scans(&RedisAdapter, 16, b":10\r\n:0\r\n:123\r\n", 0, 0);
    }

    #[test]
    fn errors_and_nonsense_are_told_apart() {
        let refused = RedisAdapter.head(b"-NOAUTH Authentication required.\r\n");
        assert!(matches!(refused, Err(WireError::Refused(text)) if text.contains("NOAUTH")));
        for bad in [
            b"*2\r\n".as_slice(),
            b"+OK\r\n",
            b"*3\r\n:7\r\n",
            b"*3\r\n$-1\r\n",
        ] {
            assert!(
                matches!(RedisAdapter.head(bad), Err(WireError::Unexpected(_))),
                "{bad:?}"
            );
        }
    }
}
