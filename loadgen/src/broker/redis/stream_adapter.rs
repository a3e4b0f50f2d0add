//! Messages that Redis keeps in a stream and publishes, by a script: so a command has both, and one reply.

use super::adapter::RedisAdapter;
use crate::adapter::{Adapter, Head, Publication, Session, WireError};

/// The script. What it does is in the file of commands before it is replied to, if Redis is set so.
const SCRIPT: &str = "redis.call('XADD',KEYS[1],'MAXLEN','~','1000','*','m',ARGV[1]) \
                      return redis.call('PUBLISH',KEYS[1],ARGV[1])";

/// Redis with a stream for each channel. Subscribers are those of its publish/subscribe.
pub(super) struct StreamAdapter;

impl Adapter for StreamAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        RedisAdapter.hello(session)
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let channel = session.channel;
        let head = format!(
            "*5\r\n$4\r\nEVAL\r\n${}\r\n{SCRIPT}\r\n$1\r\n1\r\n${}\r\n{channel}\r\n${}\r\n",
            SCRIPT.len(),
            channel.len(),
            payload.len()
        );
        Ok(Publication {
            payload_at: head.len(),
            bytes: [head.as_bytes(), payload, b"\r\n"].concat(),
        })
    }

    fn is_duplex(&self) -> bool {
        RedisAdapter.is_duplex()
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        RedisAdapter.head(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{payload, session};

    #[test]
    fn a_publication_is_one_command() {
        let payload = payload(16, 7);
        let publication = StreamAdapter.publication(&session(1), &payload);
        let Publication { bytes, payload_at } = publication.expect("it fits");
        assert_eq!(bytes[payload_at..][..16], payload);
        let (mut rest, mut parts) = (&bytes[4..], 0);
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let len = std::str::from_utf8(&rest[1..at]).expect("a length");
            let len: usize = len.parse().expect("a length");
            rest = &rest[at + 2 + len + 2..];
            parts += 1;
        }
        assert_eq!((parts, rest), (5, &[][..]));
    }
}
