//! Who a session is on the wire: its names, its key, its connection id.

use std::net::SocketAddr;

use crate::protocol::{BodyError, Cid, FrameHeader, Key, Keyring, MAX_BODY_LEN, Message};

/// How a session gets its connection id.
#[derive(Clone, Copy, Debug)]
pub(super) enum CidChoice {
    /// The low half of the first connection's key.
    FromKey,
    /// A random one.
    Random,
    /// This one.
    Fixed(Cid),
}

/// The pair that a session is about.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) uid: Box<str>,
    pub(super) channel: Box<str>,
}

/// What stands in the header of every frame of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) cid: Cid,
    pub(super) key: Key,
}

impl Identity {
    /// The identity of a session whose socket is bound to `local`.
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
        let message = Message {
            uid: &names.uid,
            channel: &names.channel,
            message,
        };
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
