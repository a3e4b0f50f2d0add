//! A WebSocket client that speaks raw bytes, and the broker that it needs.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mles::channel::{ChannelSettings, SlowPolicy};
use mles::protocol::Message;
use mles::{Broker, ListenerKind, Settings};

use super::{Client, PATIENCE, SILENCE, is_timeout, wait_until};

/// First bytes of whole frames.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// The bit that says that a frame is the last of its message.
pub const FIN: u8 = 0x80;

/// The key in the RFC, and what it says the answer is.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Settings with a listener for WebSocket beside that for TCP.
pub fn settings() -> Settings {
    let mut settings = super::settings();
    settings.websocket.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    settings
}

/// Settings like [`settings`] without a history, so that every message that comes is a new one.
pub fn quiet() -> Settings {
    let mut settings = settings();
    settings.channels.default.history_frames = 0;
    settings
}

/// A broker without a history, whose channels have that policy and those limits for slow members.
pub fn with_policy(
    slow_policy: SlowPolicy,
    queue_bytes: usize,
    write_deadline: Duration,
) -> Broker {
    let mut settings = quiet();
    settings.channels.default = ChannelSettings {
        slow_policy,
        queue_bytes,
        write_deadline,
        ..settings.channels.default
    };
    super::start(settings)
}

/// Where a broker in this process listens for WebSocket.
pub fn address(broker: &Broker) -> SocketAddr {
    let mut listeners = broker.listeners().iter();
    let of_kind = |(kind, _): &&(ListenerKind, SocketAddr)| *kind == ListenerKind::WebSocket;
    listeners.find(of_kind).unwrap().1
}

/// A request for an upgrade, with more headers, each with its line end.
pub fn request(path: &str, headers: &str) -> Vec<u8> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    );
    request.into_bytes()
}

/// A frame of a client: the first byte, the length in the shortest form, and a mask.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..126), _) => frame.push(0x80 | len),
        (_, Ok(len)) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// The payload of a close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A body of v1.
pub fn body(uid: &str, channel: &str, message: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let message = Message {
        uid,
        channel,
        message,
    };
    message.encode_into(&mut body);
    body
}

/// A greeting of v2.
pub fn hello(uid: &str, channel: &str) -> String {
    format!(r#"{{"uid":"{uid}","channel":"{channel}"}}"#)
}

/// A message or a control frame of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Without a code: 1005, as in the RFC.
    Close(u16, String),
}

/// A session, blocking, with nothing between the test and the bytes.
#[derive(Debug)]
pub struct Ws {
    pub stream: TcpStream,
    pending: Vec<u8>,
}

impl Ws {
    /// Connects and is upgraded.
    pub fn open(address: SocketAddr) -> Self {
        let answer = Self::ask(address, &request("/", ""));
        answer.unwrap_or_else(|answer| panic!("not upgraded: {answer}"))
    }

    /// Connects with a request of the test's choice. An answer that is no upgrade is an error.
    pub fn ask(address: SocketAddr, request: &[u8]) -> Result<Self, String> {
        Self::ask_on(Client::connect(&address), request)
    }

    /// Asks like [`Self::ask`], on a connection that there is.
    pub fn ask_on(mut stream: TcpStream, request: &[u8]) -> Result<Self, String> {
        stream.write_all(request).unwrap();
        let mut ws = Self::on(stream);
        let head = String::from_utf8(ws.head().unwrap()).unwrap();
        if head.starts_with("HTTP/1.1 101 ") {
            assert!(head.contains(ACCEPT), "{head}");
            Ok(ws)
        } else {
            Err(head)
        }
    }

    /// A connection on which a request was sent; see [`Ws::head`].
    pub fn on(stream: TcpStream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Reads the answer to the request, or all that there is of it.
    pub fn head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read(&mut byte)? > 0 {
            head.push(byte[0]);
        }
        Ok(head)
    }

    /// Joins as v1 with an empty message, and waits until the broker counts the session.
    pub fn v1(broker: &Broker, uid: &str, channel: &str) -> Self {
        let mut ws = Self::open(address(broker));
        ws.join(broker, BINARY, &body(uid, channel, b""));
        ws
    }

    /// Joins as v2, and waits until the broker counts the session.
    pub fn v2(broker: &Broker, uid: &str, channel: &str) -> Self {
        let mut ws = Self::open(address(broker));
        ws.join(broker, TEXT, hello(uid, channel).as_bytes());
        ws
    }

    /// Sends what joins a channel, and waits until the broker counts the session.
    pub fn join(&mut self, broker: &Broker, first: u8, payload: &[u8]) {
        let before = broker.stats().joined;
        self.send(first, payload);
        wait_until("the session has joined", || broker.stats().joined > before);
    }

    /// Sends a frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.raw(&frame(first, payload));
    }

    /// Sends bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends `count` pings, hundreds in each write.
    pub fn send_pings(&mut self, count: u32, payload: impl Fn(u32) -> Vec<u8>) {
        for begin in (0..count).step_by(500) {
            let pings: Vec<u8> = (begin..begin + 500)
                .flat_map(|i| frame(PING, &payload(i)))
                .collect();
            self.raw(&pings);
        }
    }

    /// The next frame.
    pub fn next(&mut self) -> Got {
        let next = self.try_next(PATIENCE).unwrap();
        next.expect("the broker closed the connection without a close frame")
    }

    /// The next frame; `None` at the end of the stream, an error when nothing comes in time or the
    /// stream ends inside a frame.
    pub fn try_next(&mut self, patience: Duration) -> io::Result<Option<Got>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(got) = take_frame(&mut self.pending) {
                return Ok(Some(got));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = vec![0; 64 << 10];
            match self.stream.read(&mut chunk)? {
                0 if self.pending.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.pending.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The next frame that is no presence hint of v1.
    pub fn message(&mut self) -> Got {
        loop {
            match self.next() {
                Got::Binary(body) if is_hint(&body) => {}
                got => return got,
            }
        }
    }

    /// The message of the next body that is no presence hint.
    pub fn payload(&mut self) -> Vec<u8> {
        match self.message() {
            Got::Binary(body) => Message::decode(&body).unwrap().message.to_vec(),
            got => panic!("no body: {got:?}"),
        }
    }

    /// Asserts that nothing but presence hints comes for a while.
    pub fn assert_silent(&mut self) {
        loop {
            match self.try_next(SILENCE) {
                Ok(Some(Got::Binary(body))) if is_hint(&body) => {}
                Err(error) if is_timeout(&error) => return,
                other => panic!("got {other:?}"),
            }
        }
    }

    /// Asserts that the broker closes with `code`, and that then the stream ends in order. Returns the
    /// reason.
    pub fn assert_closed(&mut self, code: u16) -> String {
        match self.message() {
            Got::Close(got, reason) => {
                assert_eq!(got, code, "{reason}");
                self.assert_end();
                reason
            }
            got => panic!("{got:?} instead of a close with {code}"),
        }
    }

    /// Asserts that the stream ends here, and not with a reset.
    pub fn assert_end(&mut self) {
        let end = self.try_next(PATIENCE).unwrap();
        assert_eq!(end, None, "something behind the close frame");
    }
}

fn is_hint(body: &[u8]) -> bool {
    Message::decode(body).is_ok_and(|message| message.message.is_empty())
}

/// Takes a whole frame of the broker off the front. It must be what we promise: whole messages,
/// no mask, no reserved bits, the shortest length.
pub fn take_frame(pending: &mut Vec<u8>) -> Option<Got> {
    let (&first, &second) = (pending.first()?, pending.get(1)?);
    let (head, len) = match second {
        126 => (
            4,
            u16::from_be_bytes(*pending.get(2..)?.first_chunk()?).into(),
        ),
        127 => (10, u64::from_be_bytes(*pending.get(2..)?.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    assert!(second < 0x80, "a masked frame");
    let least = [(2, 0), (4, 126), (10, 0x1_0000)];
    assert!(least.contains(&(head, len)) || least.iter().any(|&(h, l)| h == head && len > l));
    let len = usize::try_from(len).unwrap();
    if pending.len() < head + len {
        return None;
    }
    let payload: Vec<u8> = pending.drain(..head + len).skip(head).collect();
    Some(match first {
        TEXT => Got::Text(String::from_utf8(payload).unwrap()),
        BINARY => Got::Binary(payload),
        PING => Got::Ping(payload),
        PONG => Got::Pong(payload),
        CLOSE => match payload.split_first_chunk() {
            Some((&code, reason)) => {
                let reason = String::from_utf8(reason.to_vec()).unwrap();
                Got::Close(u16::from_be_bytes(code), reason)
            }
            None => Got::Close(1005, String::new()),
        },
        _ => panic!("a frame that begins with {first:#x}"),
    })
}
