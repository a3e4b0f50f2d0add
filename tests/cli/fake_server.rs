//! A server made of a listener and raw bytes, to see exactly what a client sends.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mles::client::{Client, Session};
use mles::protocol::{ResumeRequest, decode_token, take_extensions};

pub(crate) use crate::common::PATIENCE;

pub(crate) struct FakeServer(TcpListener);

/// The server's side of one connection.
pub(crate) struct Peer(TcpStream);

/// One frame as it came, taken apart by hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) cid: u32,
    pub(crate) key: u64,
    pub(crate) body: Vec<u8>,
}

impl FakeServer {
    pub(crate) fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Listens on a [`free_address`](crate::common::free_address).
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self(TcpListener::bind(address).unwrap())
    }

    pub(crate) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection that brings anything: a client that was refused only looks whether anybody
    /// listens.
    pub(crate) fn accept(&self) -> Peer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stream = self.accept_any(deadline).expect("nobody connects");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            if !matches!(stream.peek(&mut [0]), Ok(0)) {
                return Peer(stream);
            }
        }
    }

    /// Asserts that no connection waits to be accepted.
    pub(crate) fn expect_nobody(&self) {
        assert!(
            self.accept_any(Instant::now()).is_none(),
            "somebody else connects"
        );
    }

    fn accept_any(&self, deadline: Instant) -> Option<TcpStream> {
        self.0.set_nonblocking(true).unwrap();
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return Some(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has `client` join "news", and takes its join.
    pub(crate) async fn join(&self, client: &Client) -> (Session, Peer) {
        let accepting = self.accept_later();
        let session = client.join("news").await.unwrap();
        let mut peer = accepting.await.unwrap();
        peer.read_frame();
        (session, peer)
    }

    /// Accepts on another thread, while the client runs on this one.
    pub(crate) fn accept_later(&self) -> tokio::task::JoinHandle<Peer> {
        let listener = Self(self.0.try_clone().unwrap());
        tokio::task::spawn_blocking(move || listener.accept())
    }
}

impl Peer {
    pub(crate) fn read_frame(&mut self) -> RawFrame {
        let (magic, frame) = self.read_any();
        assert_eq!(magic, b'M');
        frame
    }

    /// The token that the client shows next, before it sends anything else.
    pub(crate) fn read_token(&mut self) -> String {
        let (magic, frame) = self.read_any();
        assert_eq!(magic, b'N');
        assert_eq!((frame.cid, frame.key), (0, 0));
        decode_token(&frame.body).unwrap().to_owned()
    }

    /// The next frame, and its first byte.
    pub(crate) fn read_any(&mut self) -> (u8, RawFrame) {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).unwrap();
        let len = u32::from_be_bytes([0, header[1], header[2], header[3]]);
        let mut body = vec![0; len.try_into().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        let frame = RawFrame {
            cid: u32::from_be_bytes(header[4..8].try_into().unwrap()),
            key: u64::from_be_bytes(header[8..].try_into().unwrap()),
            body,
        };
        (header[0], frame)
    }

    /// The first frame of a client that asks for positions, without the key, and what it asks for.
    pub(crate) fn read_join(&mut self) -> (RawFrame, ResumeRequest) {
        let mut frame = self.read_frame();
        let (body, extensions) = take_extensions(&frame.body).unwrap();
        let request = extensions.resume;
        let body = body.into_owned();
        frame.body = body;
        (frame, request.expect("it asks for nothing"))
    }

    /// The bodies of so many frames of a client that publishes: its first asks for positions, which is left out.
    pub(crate) fn read_bodies(&mut self, frames: usize) -> Vec<Vec<u8>> {
        let join = self.read_join().0;
        let more = (1..frames).map(|_| self.read_frame());
        let frames = [join].into_iter().chain(more);
        frames.map(|frame| frame.body).collect()
    }

    /// Asserts that the client has closed its sending side and sent nothing more.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }

    /// Reads until the client has closed its sending side; how many bytes came.
    pub(crate) fn read_to_end(&mut self) -> usize {
        self.0.read_to_end(&mut Vec::new()).unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.peer_addr().unwrap()
    }
}

/// A body, encoded by hand; all lengths below 24 or, for the message, below 65536.
pub(crate) fn body(uid: &str, channel: &str, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0xA3];
    for (key, value) in [("uid", uid), ("channel", channel)] {
        for text in [key, value] {
            out.push(0x60 + short(text.len()));
            out.extend(text.as_bytes());
        }
    }
    out.extend(b"\x67message");
    match message.len() {
        len @ 0..24 => out.push(0x40 + short(len)),
        len @ 24..256 => out.extend([0x58, u8::try_from(len).unwrap()]),
        len => {
            out.push(0x59);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend(message);
    out
}

/// A frame from some other member.
pub(crate) fn frame(uid: &str, channel: &str, message: impl AsRef<[u8]>) -> Vec<u8> {
    frame_of(0xC1D, &body(uid, channel, message.as_ref()))
}

pub(crate) fn frame_of(cid: u32, body: &[u8]) -> Vec<u8> {
    let mut out = (0x4D00_0000 + u32::try_from(body.len()).unwrap())
        .to_be_bytes()
        .to_vec();
    out.extend(cid.to_be_bytes());
    out.extend(0xABCD_u64.to_be_bytes());
    out.extend(body);
    out
}

fn short(len: usize) -> u8 {
    assert!(len < 24);
    u8::try_from(len).unwrap()
}
