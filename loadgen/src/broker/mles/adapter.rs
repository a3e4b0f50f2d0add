//! Mles v1 frames, encoded by the library; a join instead of a subscription.

use mles::protocol::{
    BodyError, Cid, FrameHeader, HEADER_LEN, Key, Keyring, Message, NOTICE_MAGIC, ResumeRequest,
    encode_frame, encode_join,
};

use super::body::Bodies;
use super::notice;
use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError};

/// Mles, with keys made from a keyring.
pub(super) struct MlesAdapter {
    bodies: Bodies,
    keyring: Keyring,
    /// `true` if sessions that receive, or want to have messages confirmed, ask for positions.
    asks_for_positions: bool,
}

impl MlesAdapter {
    /// Returns an adapter for messages of `payload_len` bytes, the only ones that [`Adapter::head`] lets through.
    pub(super) fn new(payload_len: usize, keyring: Keyring) -> Self {
        Self {
            bodies: Bodies::new(payload_len),
            keyring,
            asks_for_positions: false,
        }
    }

    /// Returns an adapter whose sessions ask for positions, all but those of publishers that want no message
    /// confirmed.
    pub(super) fn with_positions(payload_len: usize, keyring: Keyring) -> Self {
        Self {
            asks_for_positions: true,
            ..Self::new(payload_len, keyring)
        }
    }
}

impl Adapter for MlesAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        if !self.asks_for_positions || session.role == Role::Publisher {
            return self.frame(session, b"");
        }
        let request = ResumeRequest {
            since: session.since,
            ..ResumeRequest::default()
        };
        self.encode(session, b"", |cid, key, join| {
            encode_join(cid, key, join, &request.into())
        })
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let bytes = self.frame(session, payload)?;
        Ok(Publication {
            payload_at: bytes.len() - payload.len(),
            bytes,
        })
    }

    fn counts_positions(&self) -> bool {
        self.asks_for_positions
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        if self.asks_for_positions && received[0] == NOTICE_MAGIC {
            return notice_head(received);
        }
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
    /// Returns a frame of this session with a message.
    fn frame(&self, session: &Session<'_>, message: &[u8]) -> Result<Vec<u8>, WireError> {
        self.encode(session, message, |cid, key, message| {
            encode_frame(cid, key, message).map(|frame| frame.to_vec())
        })
    }

    /// Encodes a frame of this session. Connection ids are session numbers, so that no two members collide.
    fn encode(
        &self,
        session: &Session<'_>,
        message: &[u8],
        encode: impl FnOnce(Cid, Key, &Message<'_>) -> Result<Vec<u8>, BodyError>,
    ) -> Result<Vec<u8>, WireError> {
        let role = match session.role {
            Role::Publisher => 'p',
            Role::Subscriber => 's',
            Role::Member => 'm',
            Role::ConfirmedPublisher => 'c',
        };
        let uid = format!("{role}{}", session.number);
        let channel = session.channel;
        let key = self.keyring.session_key(session.local, &uid, channel);
        let message = Message {
            uid: &uid,
            channel,
            message,
        };
        match encode(Cid(session.number), key, &message) {
            Ok(frame) => Ok(frame),
            Err(BodyError::TooLong { len, .. }) => Err(WireError::TooLong(len)),
            Err(error) => Err(WireError::Unexpected(error.to_string())),
        }
    }
}

/// Reads a frame that is a notice.
fn notice_head(received: &[u8]) -> Result<Head, WireError> {
    let Some(&[_, high, middle, low]) = received.first_chunk() else {
        return Ok(Head::Partial);
    };
    let len = HEADER_LEN + u32::from_be_bytes([0, high, middle, low]) as usize;
    match received.get(..len) {
        None => Ok(Head::Partial),
        Some(frame) => Ok(notice::head(len, notice::from_frame(frame)?)),
    }
}

#[cfg(test)]
mod tests {
    use mles::protocol::{Notice, take_extensions};

    use super::super::notice::{sample_position, sample_welcome};
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
    fn messages_among_notices_at_every_cut() {
        let mles = MlesAdapter::with_positions(16, Keyring::default());
        let message = |sequence| {
            let publication = mles.publication(&session(1), &payload(16, sequence));
            publication.expect("fits").bytes
        };
        let welcome = Notice::Welcome(sample_welcome()).encode();
        let members = Notice::Members {
            count: 2,
            uids: vec!["anna".into()],
        };
        let gap = Notice::Gap {
            missed: 1,
            members: false,
        };
        // One message, one that is missing, and two of its own.
        let receipt = Notice::Receipt {
            count: 2,
            position: sample_position(4),
        };
        let stream = [
            &welcome[..],
            &members.encode(),
            &message(0),
            &gap.encode(),
            &receipt.encode(),
            &message(1),
        ]
        .concat();
        assert_scans(&mles, 16, &stream, 2, 0);
        let plain = MlesAdapter::new(16, Keyring::default());
        assert!(plain.head(&welcome).is_err(), "nobody asked");
    }

    #[test]
    fn only_those_who_are_told_something_ask() {
        let mles = MlesAdapter::with_positions(16, Keyring::default());
        for (role, asks) in [
            (Role::Publisher, false),
            (Role::Subscriber, true),
            (Role::Member, true),
            (Role::ConfirmedPublisher, true),
        ] {
            let since = Some(sample_position(3));
            let join = Session {
                role,
                since,
                ..session(1)
            };
            let join = mles.hello(&join).expect("fits");
            let (_, found) = take_extensions(&join[HEADER_LEN..]).expect("it is a body");
            assert_eq!(found.resume.map(|it| it.since), asks.then_some(since));
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
