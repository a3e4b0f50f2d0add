//! Mles v1 frames, encoded by the library; a join instead of a subscription.

use mles::protocol::{BodyError, Cid, FrameHeader, HEADER_LEN, Keyring, Message, encode_frame};

use super::body::Bodies;
use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError};

/// Mles, with keys made from a keyring.
pub(super) struct MlesAdapter {
    bodies: Bodies,
    keyring: Keyring,
}

impl MlesAdapter {
    /// Returns an adapter for messages of `payload_len` bytes, the only ones that [`Adapter::head`] lets through.
    pub(super) fn new(payload_len: usize, keyring: Keyring) -> Self {
        Self {
            bodies: Bodies::new(payload_len),
            keyring,
        }
    }
}

impl Adapter for MlesAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        self.frame(session, b"")
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let bytes = self.frame(session, payload)?;
        Ok(Publication {
            payload_at: bytes.len() - payload.len(),
            bytes,
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        let header = FrameHeader::decode(received);
        let header = header.map_err(|error| WireError::Unexpected(error.to_string()))?;
        let Some(header) = header else {
            return Ok(Head::Partial);
        };
        let len = HEADER_LEN + header.body_len;
        self.bodies.head(received, HEADER_LEN, len)
    }
}

impl MlesAdapter {
    /// Returns a frame of this session. Connection ids are session numbers, so that no two members collide.
    fn frame(&self, session: &Session<'_>, message: &[u8]) -> Result<Vec<u8>, WireError> {
        let role = match session.role {
            Role::Publisher => 'p',
            Role::Subscriber => 's',
            Role::Member => 'm',
        };
        let uid = format!("{role}{}", session.number);
        let channel = session.channel;
        let key = self.keyring.session_key(session.local, &uid, channel);
        let message = Message {
            uid: &uid,
            channel,
            message,
        };
        match encode_frame(Cid(session.number), key, &message) {
            Ok(frame) => Ok(frame.to_vec()),
            Err(BodyError::TooLong { len, .. }) => Err(WireError::TooLong(len)),
            Err(error) => Err(WireError::Unexpected(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{assert_scans, payload, session};

    #[test]
    fn messages_among_announcements_at_every_cut() {
        // The CBOR length of the payload takes one, two and three bytes.
        for len in [16, 100, 300] {
            let mles = MlesAdapter::new(len, Keyring::default());
            let message = |sequence| {
                mles.publication(&session(1), &payload(len, sequence))
                    .expect("fits")
                    .bytes
            };
            let announcement = |number| mles.hello(&session(number)).expect("fits");
            let stream = [
                announcement(2),
                message(0),
                message(1),
                announcement(3000),
                message(2),
                announcement(4),
            ]
            .concat();
            assert_scans(&mles, len, &stream, 3, 0);
        }
    }

    #[test]
    fn messages_of_another_length_and_nonsense_are_refused() {
        let mles = MlesAdapter::new(16, Keyring::default());
        let longer = mles
            .publication(&session(1), &[b'M'; 17])
            .expect("fits")
            .bytes;
        assert!(matches!(mles.head(&longer), Err(WireError::Unexpected(_))));
        assert!(matches!(
            mles.head(b"HTTP/1.1 400\r\n\r\n"),
            Err(WireError::Unexpected(_))
        ));
    }
}
