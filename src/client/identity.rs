//! The names, the key and the connection id of a session on the wire.

use std::net::SocketAddr;

use crate::protocol::{
    BodyError, Cid, FrameHeader, HEADER_LEN, JoinExtensions, Key, Keyring, MAX_BODY_LEN, Message,
    encode_join,
};

/// Source of a session's connection id.
#[derive(Clone, Copy, Debug)]
pub(super) enum CidChoice {
    /// The low half of the first connection's key.
    FromKey,
    /// A random number.
    Random,
    /// The user, or an earlier connection of the session.
    Fixed(Cid),
}

/// The user and the channel of a session.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) uid: Box<str>,
    pub(super) channel: Box<str>,
}

impl Names {
    /// Returns the length in bytes of the largest message that fits into a frame with these names.
    pub(super) fn max_message(&self) -> usize {
        // The length of a message is encoded in 1, 2, 3 or 5 bytes; that of none in 1.
        let room = (MAX_BODY_LEN + 1).saturating_sub(self.message(b"").body_len());
        let fitting = [(5, usize::MAX), (3, 0xFFFF), (2, 0xFF), (1, 23)]
            .map(|(head, longest)| room.saturating_sub(head).min(longest));
        fitting.into_iter().max().unwrap_or_default()
    }

    /// Returns a message of these names.
    fn message<'a>(&'a self, message: &'a [u8]) -> Message<'a> {
        Message {
            uid: &self.uid,
            channel: &self.channel,
            message,
        }
    }
}

/// The connection id and the key, which the header of every frame of a session has.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionIdentity {
    pub(super) cid: Cid,
    pub(super) key: Key,
}

impl SessionIdentity {
    /// Makes the identity of a session whose socket is bound to `local`.
    pub(super) fn new(
        keyring: &Keyring,
        choice: CidChoice,
        names: &Names,
        local: SocketAddr,
    ) -> Self {
        let key = keyring.session_key(local, &names.uid, &names.channel);
        let cid = match choice {
            CidChoice::FromKey => key.cid(),
            CidChoice::Random => Cid(rand::random()),
            CidChoice::Fixed(cid) => cid,
        };
        Self { cid, key }
    }

    /// Encodes the first frame of a connection. A message that does not fit beside what is asked for follows in a frame of
    /// its own.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLong`] when the message does not fit into a frame.
    pub(super) fn encode_join(
        &self,
        names: &Names,
        first: &[u8],
        extensions: &JoinExtensions<'_>,
    ) -> Result<Vec<u8>, BodyError> {
        let mut join = Vec::new();
        if extensions.is_empty() {
            self.encode_into(names, first, &mut join)?;
            return Ok(join);
        }
        let encode = |message| encode_join(self.cid, self.key, &names.message(message), extensions);
        match encode(first) {
            Err(BodyError::TooLong { .. }) if !first.is_empty() => {
                join = encode(b"")?;
                self.encode_into(names, first, &mut join)?;
                Ok(join)
            }
            encoded => encoded,
        }
    }

    /// Writes the identity into the header of a whole frame.
    pub(super) fn stamp(&self, frame: &mut [u8]) {
        let header = FrameHeader::decode(frame).ok().flatten();
        if let Some(header) = header {
            let header = FrameHeader {
                body_len: header.body_len,
                cid: self.cid,
                key: self.key,
            };
            frame[..HEADER_LEN].copy_from_slice(&header.encode());
        }
    }

    /// Appends one whole frame to `out`, which grows by exactly what is needed when it is empty.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLong`] when the message does not fit into a frame; nothing is appended.
    pub(super) fn encode_into(
        &self,
        names: &Names,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        let message = names.message(message);
        let body_len = message.body_len();
        if body_len > MAX_BODY_LEN {
            return Err(BodyError::TooLong {
                len: body_len,
                limit: MAX_BODY_LEN,
            });
        }
        let header = FrameHeader {
            body_len,
            cid: self.cid,
            key: self.key,
        }
        .encode();
        if out.is_empty() {
            out.reserve_exact(header.len() + body_len);
        }
        out.extend_from_slice(&header);
        message.encode_into(out);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_message_fits_and_one_byte_more_does_not() {
        let identity = SessionIdentity {
            cid: Cid(1),
            key: Key(2),
        };
        // With long names little room is left, and lengths are encoded in fewer bytes.
        for room in [1, 10, 25, 27, 300, 70_000, MAX_BODY_LEN - 100] {
            let names = Names {
                uid: "u".repeat(MAX_BODY_LEN - 40 - room).into(),
                channel: "c".into(),
            };
            let max = names.max_message();
            let message = vec![0; max + 1];
            let mut out = Vec::new();
            identity
                .encode_into(&names, &message[..max], &mut out)
                .unwrap();
            assert!(identity.encode_into(&names, &message, &mut out).is_err());
        }
    }
}
