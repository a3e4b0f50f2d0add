//! A server below the broker, with raw bytes.

use std::io::Write as _;

use bytes::Bytes;
use mles::Broker;
use mles::protocol::{
    Cid, FrameHeader, Key, Keyring, LinkHello, LinkNotice, MAX_BODY_LEN, Message, NestedFrame,
    encode_frame, encode_resync, is_presence,
};

use crate::common::{Client, PATIENCE};

/// The link's id, unless another is chosen.
pub const LINK: u64 = 0xABCD;
/// The server's id, unless another is chosen.
pub const SERVER: u64 = 4711;

/// A frame of some client of the server.
pub fn frame(uid: &str, channel: &str, message: &str) -> Bytes {
    let message = Message {
        uid,
        channel,
        message: message.as_bytes(),
    };
    encode_frame(Cid(9), Key(1), &message).unwrap()
}

/// A server below, with raw bytes: a session whose first frame is a resync.
pub struct Below {
    pub client: Client,
    pub hello: Option<LinkHello>,
    pub nested: Vec<NestedFrame>,
}

impl Below {
    pub fn new(broker: &Broker, keyring: &Keyring, uid: &str) -> Self {
        let stream = Client::connect(broker);
        Self {
            client: Client::on(stream, keyring, uid, "room", None),
            hello: None,
            nested: Vec::new(),
        }
    }

    /// Says that it is a server of this project which has offered `sent` frames.
    pub fn says(mut self, sent: u64) -> Self {
        self.hello = Some(LinkHello {
            server: SERVER,
            id: LINK,
            window: 1000,
            sent,
            got: None,
            old: 0,
        });
        self
    }

    /// Says so with another id of the link.
    pub fn on_link(mut self, id: u64) -> Self {
        self.hello = self.hello.map(|hello| LinkHello { id, ..hello });
        self
    }

    /// Has these messages in its history, from the upstream or with these numbers.
    pub fn has(mut self, messages: &[(&str, Option<u64>)]) -> Self {
        let nested = messages.iter().map(|&(message, seq)| NestedFrame {
            frame: frame("somebody", "room", message),
            seq,
        });
        self.nested.extend(nested);
        self
    }

    /// The resync with the join frame in front, under a header with `key`.
    pub fn resync(&self, key: Key) -> Vec<u8> {
        let join = NestedFrame {
            frame: self.client.frame(b""),
            seq: None,
        };
        let nested: Vec<_> = std::iter::once(join).chain(self.nested.clone()).collect();
        let (body, _) = encode_resync(&nested, self.hello.as_ref(), MAX_BODY_LEN).unwrap();
        under(&body, self.client.cid, key)
    }

    pub fn join(mut self) -> Client {
        let resync = self.resync(self.client.key);
        self.client.stream.write_all(&resync).unwrap();
        self.client
    }
}

fn under(body: &[u8], cid: Cid, key: Key) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid,
        key,
    };
    [&header.encode()[..], body].concat()
}

/// A server without a secret.
pub fn open(broker: &Broker, uid: &str) -> Below {
    Below::new(broker, &Keyring::default(), uid)
}

/// The next notice on a link; only announcements may come before it.
pub fn notice(client: &mut Client) -> LinkNotice {
    loop {
        let frame = client.try_receive_raw(PATIENCE).unwrap();
        let frame = frame.expect("the broker closed the connection");
        let link = FrameHeader::decode(&frame).unwrap().unwrap().key.0;
        match LinkNotice::decode(&frame, link) {
            Some(notice) => return notice,
            None => assert!(is_presence(&frame), "a message instead of a notice"),
        }
    }
}
