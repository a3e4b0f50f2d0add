//! The reference's blocking `MsgConn`, on a thread of its own so that its calls, which have no
//! timeout, cannot hang a test.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mles_utils::MsgConn;

use super::DEADLINE;

enum Call {
    Send(Vec<u8>),
    Read,
    Close,
}

/// A `MsgConn`; the thread of one that still reads ends when its server does.
pub(crate) struct Conn {
    calls: Sender<Call>,
    messages: Receiver<Vec<u8>>,
}

impl Conn {
    /// Connects and sends an empty join frame.
    pub(crate) fn join(server: SocketAddr, uid: &str, channel: &str) -> Self {
        Self::open(uid, channel, move |conn| conn.connect(server))
    }

    /// Connects and sends a join frame that is the first message too.
    pub(crate) fn join_with(server: SocketAddr, uid: &str, channel: &str, first: &str) -> Self {
        let first = first.as_bytes().to_vec();
        Self::open(uid, channel, move |conn| {
            conn.connect_with_message(server, first)
        })
    }

    fn open(
        uid: &str,
        channel_name: &str,
        connect: impl FnOnce(MsgConn) -> MsgConn + Send + 'static,
    ) -> Self {
        let (calls, next_call) = channel();
        let (message, messages) = channel();
        let (joined, when_joined) = channel();
        let conn = MsgConn::new(uid.to_owned(), channel_name.to_owned());
        thread::spawn(move || {
            let conn = connect(conn);
            if joined.send(()).is_ok() {
                run(conn, &next_call, &message);
            }
        });
        when_joined
            .recv_timeout(DEADLINE)
            .expect("`MsgConn` did not connect");
        Self { calls, messages }
    }

    pub(crate) fn send(&self, message: &str) {
        self.calls
            .send(Call::Send(message.as_bytes().to_vec()))
            .unwrap();
    }

    /// The next message that is not empty, or `None` once the server has closed the session.
    pub(crate) fn receive(&self) -> Option<String> {
        self.calls.send(Call::Read).unwrap();
        let message = self
            .messages
            .recv_timeout(DEADLINE)
            .expect("`MsgConn` received nothing");
        // This is how `MsgConn` reports the end of the session.
        if message.is_empty() {
            None
        } else {
            Some(String::from_utf8(message).unwrap())
        }
    }

    /// The next `count` messages.
    pub(crate) fn receive_many(&self, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| self.receive().expect("the session has ended"))
            .collect()
    }

    /// Closes the session after everything sent before.
    pub(crate) fn close(self) {
        self.calls.send(Call::Close).unwrap();
    }
}

fn run(mut conn: MsgConn, calls: &Receiver<Call>, messages: &Sender<Vec<u8>>) {
    for call in calls {
        match call {
            Call::Send(message) => conn = conn.send_message(message),
            Call::Read => {
                let message;
                (conn, message) = conn.read_message();
                if messages.send(message).is_err() {
                    return;
                }
            }
            Call::Close => {
                conn.close();
                return;
            }
        }
    }
}
