//! A client that asks for positions and counts, with nothing between the test and the bytes.

use std::io::Write as _;
use std::time::Duration;

use mles::protocol::{
    Cid, Keyring, Message, NOTICE_MAGIC, Notice, Position, ResumeRequest, Welcome, encode_join,
    is_presence,
};

use super::{Client, PATIENCE, Server};

/// What a client that counts has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, and the position that it has by counting.
    Message(Position, Vec<u8>),
    /// Messages of its own have their places: how many, and the position of the last.
    Receipt(u64, Position),
    /// Something was left out.
    Gap { missed: u64, members: bool },
    /// A notice about members.
    Members(Notice),
    /// The broker is stopping: the milliseconds after which it wants the client back.
    Stopping(u64),
    /// What the session may do has changed.
    Rights(Vec<String>),
    /// The broker closes the connection: the code, and the reason.
    Close(u16, String),
    /// How the session stands by its token.
    Token(Notice),
}

/// A session that has asked for positions.
#[derive(Debug)]
pub struct Asker {
    pub client: Client,
    pub welcome: Welcome,
    /// The position of the last that it knows.
    pub position: Position,
}

impl Asker {
    /// Joins with an empty message, and waits for the welcome.
    pub fn join(server: &impl Server, uid: &str, channel: &str, request: ResumeRequest) -> Self {
        let client = Client::on(
            Client::connect(server),
            &Keyring::default(),
            uid,
            channel,
            None,
        );
        Self::on(client, b"", request)
    }

    /// Joins like [`Self::join`], with that connection id.
    pub fn join_as(
        server: &impl Server,
        (uid, cid): (&str, Cid),
        channel: &str,
        request: ResumeRequest,
    ) -> Self {
        let keyring = Keyring::default();
        let client = Client::on(Client::connect(server), &keyring, uid, channel, Some(cid));
        Self::on(client, b"", request)
    }

    /// Joins as a session that has not sent its join frame, with that message, and waits for the welcome.
    pub fn on(client: Client, message: &[u8], request: ResumeRequest) -> Self {
        Self::try_on(client, message, request).expect("the broker closed the connection")
    }

    /// Like [`Self::on`]; `None` if the broker closes the connection.
    pub fn try_on(mut client: Client, message: &[u8], request: ResumeRequest) -> Option<Self> {
        let message = Message {
            uid: &client.uid,
            channel: &client.channel,
            message,
        };
        let join = encode_join(client.cid, client.key, &message, &request.into()).unwrap();
        client.stream.write_all(&join).unwrap();
        let first = client.try_receive_raw(PATIENCE).ok()??;
        let welcome = match Notice::decode(&first) {
            Some(Notice::Welcome(welcome)) => welcome,
            Some(Notice::Close { .. }) => return None,
            _ => panic!("no welcome, but {first:?}"),
        };
        let mut position = welcome.position;
        position.offset -= welcome.replay;
        Some(Self {
            client,
            welcome,
            position,
        })
    }

    /// Joins as [`Self::on`] does, where that is refused. Returns the code and the reason.
    pub fn refused(mut client: Client, message: &[u8], request: ResumeRequest) -> (u16, String) {
        let message = Message {
            uid: &client.uid,
            channel: &client.channel,
            message,
        };
        let join = encode_join(client.cid, client.key, &message, &request.into()).unwrap();
        client.stream.write_all(&join).unwrap();
        let first = client.try_receive_raw(PATIENCE).unwrap().expect("a notice");
        let Some(Notice::Close { code, reason }) = Notice::decode(&first) else {
            panic!("not refused, but {first:?}");
        };
        client.assert_closed();
        (code, reason.into())
    }

    /// The next event, hints of presence aside; `None` at the end of the stream or when nothing comes in time.
    pub fn try_next(&mut self, patience: Duration) -> Option<Event> {
        loop {
            let raw = self.client.try_receive_raw(patience).ok()??;
            if raw[0] != NOTICE_MAGIC {
                if is_presence(&raw) {
                    continue;
                }
                self.position.offset += 1;
                let message = Message::decode(&raw[mles::protocol::HEADER_LEN..]).unwrap();
                return Some(Event::Message(self.position, message.message.to_vec()));
            }
            return Some(match Notice::decode(&raw).expect("a known notice") {
                Notice::Receipt { count, position } => {
                    self.position = position;
                    Event::Receipt(count, position)
                }
                Notice::Gap { missed, members } => {
                    self.position.offset += missed;
                    Event::Gap { missed, members }
                }
                notice @ (Notice::Members { .. } | Notice::Changes { .. }) => {
                    Event::Members(notice)
                }
                Notice::Stopping { retry } => Event::Stopping(retry),
                Notice::Rights { allowed } => {
                    Event::Rights(allowed.into_iter().map(String::from).collect())
                }
                Notice::Close { code, reason } => Event::Close(code, reason.into()),
                notice @ Notice::Token { .. } => Event::Token(notice),
                Notice::Welcome(welcome) => panic!("welcome once more: {welcome:?}"),
            });
        }
    }

    /// The next event, hints of presence aside.
    pub fn next(&mut self) -> Event {
        self.try_next(PATIENCE)
            .expect("the broker closed the connection")
    }

    /// The next event, which must be a message: its offset, and what it says.
    pub fn message(&mut self) -> (u64, String) {
        match self.next() {
            Event::Message(position, message) => {
                (position.offset, String::from_utf8(message).unwrap())
            }
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The next event, which must be a receipt: how many messages, and the offset of the last.
    pub fn receipt(&mut self) -> (u64, u64) {
        match self.next() {
            Event::Receipt(count, position) => (count, position.offset),
            other => panic!("{other:?} instead of a receipt"),
        }
    }

    /// The next event, which must tell what the session may do.
    pub fn rights(&mut self) -> String {
        match self.next() {
            Event::Rights(allowed) => allowed.join(" "),
            other => panic!("{other:?} instead of rights"),
        }
    }

    /// Waits for a receipt for `count` messages. Returns how many others were left out before it.
    pub fn left_out_before_receipt(&mut self, count: u64) -> u64 {
        let mut left_out = 0;
        loop {
            match self.next() {
                Event::Gap { missed, .. } => left_out += missed,
                Event::Receipt(found, _) => {
                    assert_eq!(found, count);
                    return left_out;
                }
                other => panic!("{other:?} instead of a receipt"),
            }
        }
    }

    /// Publishes a message.
    pub fn send(&mut self, message: &[u8]) {
        self.client.send(message);
    }
}
