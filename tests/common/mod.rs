//! Helpers of all tests: a broker on a port of its own, and a client that speaks raw bytes.

#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::protocol::{
    Cid, FrameHeader, HEADER_LEN, Key, Keyring, Message, encode_frame, frame_len,
};
use mles::{Broker, Settings};
use socket2::{Domain, Socket, Type};

/// The longest wait for what must come: only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The wait for what must not come.
pub const SILENCE: Duration = Duration::from_millis(150);
/// A deadline that no test reaches.
pub const LONG: Duration = Duration::from_secs(3600);

pub mod asker;
pub mod bystanders;
pub mod events;
pub mod http;
pub mod load;
pub mod nats;
pub mod slow;
pub mod tls_proxy;
pub mod token;
pub mod transports;
pub mod websocket;

/// Where a broker listens, whether it runs in this process or in another.
pub trait Server {
    fn address(&self) -> SocketAddr;
}

impl Server for Broker {
    fn address(&self) -> SocketAddr {
        self.local_addrs()[0]
    }
}

impl Server for SocketAddr {
    fn address(&self) -> SocketAddr {
        *self
    }
}

/// Settings for tests: a port of the system's choice, two shards wherever the test runs, and no
/// deadline but the drain's. On a busy machine, a deadline that a test is not about would come before
/// what the test is about.
pub fn settings() -> Settings {
    let mut settings = Settings {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        shards: Some(2),
        pin: false,
        drain_deadline: Duration::from_secs(2),
        ..Settings::default()
    };
    settings.limits.join_deadline = LONG;
    settings.limits.tcp_timeout = LONG;
    settings.channels.default.write_deadline = LONG;
    settings.websocket.ping_interval = LONG;
    settings.websocket.ping_timeout = LONG;
    settings
}

/// Returns an address that nobody listens on until the test does.
///
/// Its port stays bound, without listening, for as long as the test program runs, so that the system
/// chooses it for nobody else. A listener of the test gets it all the same, as both sockets allow reuse.
pub fn free_address() -> SocketAddr {
    static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    HELD.lock().unwrap().push(socket);
    address
}

/// Starts a broker.
pub fn start(settings: Settings) -> Broker {
    Broker::start(settings).unwrap()
}

/// A frame, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub cid: Cid,
    pub uid: String,
    pub channel: String,
    pub message: Vec<u8>,
    /// The whole frame as it came.
    pub raw: Vec<u8>,
}

/// A session, blocking, with nothing between the test and the bytes.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    pub uid: String,
    pub channel: String,
    pub key: Key,
    pub cid: Cid,
    pending: Vec<u8>,
}

impl Client {
    /// Connects without sending anything.
    pub fn connect(server: &impl Server) -> TcpStream {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Joins with an empty message and without a secret.
    pub fn join(broker: &impl Server, uid: &str, channel: &str) -> Self {
        Self::join_with(broker, &Keyring::default(), uid, channel, b"", None)
    }

    /// Joins, and waits until the broker counts the session.
    pub fn join_and_wait(broker: &Broker, uid: &str, channel: &str) -> Self {
        let before = broker.stats().joined;
        let client = Self::join(broker, uid, channel);
        wait_until("the session has joined", || broker.stats().joined > before);
        client
    }

    /// Joins with everything chosen.
    pub fn join_with(
        broker: &impl Server,
        keyring: &Keyring,
        uid: &str,
        channel: &str,
        message: &[u8],
        cid: Option<Cid>,
    ) -> Self {
        let mut client = Self::on(Self::connect(broker), keyring, uid, channel, cid);
        client.send(message);
        client
    }

    /// A session on `stream` that has not sent its join frame.
    pub fn on(
        stream: TcpStream,
        keyring: &Keyring,
        uid: &str,
        channel: &str,
        cid: Option<Cid>,
    ) -> Self {
        let key = keyring.session_key(stream.local_addr().unwrap(), uid, channel);
        Self {
            stream,
            uid: uid.into(),
            channel: channel.into(),
            key,
            cid: cid.unwrap_or(key.cid()),
            pending: Vec::new(),
        }
    }

    /// The frame that this session would send for `message`.
    pub fn frame(&self, message: &[u8]) -> Bytes {
        let message = Message {
            uid: &self.uid,
            channel: &self.channel,
            message,
        };
        encode_frame(self.cid, self.key, &message).unwrap()
    }

    pub fn send(&mut self, message: &[u8]) {
        let frame = self.frame(message);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame, within [`PATIENCE`].
    pub fn receive(&mut self) -> Received {
        self.try_receive(PATIENCE)
            .unwrap()
            .expect("the broker closed the connection")
    }

    /// The next frame that is not an announcement of a join.
    pub fn receive_message(&mut self) -> Received {
        loop {
            let received = self.receive();
            if !received.message.is_empty() {
                return received;
            }
        }
    }

    /// The payload of the next frame that is not an announcement, as text.
    pub fn text(&mut self) -> String {
        String::from_utf8(self.receive_message().message).unwrap()
    }

    /// The next frame, `None` at the end of the stream, an error when nothing comes in time or the
    /// stream ends inside a frame.
    pub fn try_receive(&mut self, patience: Duration) -> io::Result<Option<Received>> {
        let raw = self.try_receive_raw(patience)?;
        Ok(raw.map(|raw| {
            let header = FrameHeader::decode(&raw).unwrap().unwrap();
            let message = Message::decode(&raw[HEADER_LEN..]).unwrap();
            Received {
                cid: header.cid,
                uid: message.uid.into(),
                channel: message.channel.into(),
                message: message.message.into(),
                raw,
            }
        }))
    }

    /// The next frame, as [`Self::try_receive`] returns it, whatever its body is.
    pub fn try_receive_raw(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(raw) = self.take_frame() {
                return Ok(Some(raw));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.pending.is_empty() => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.pending.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let len = frame_len(&self.pending)?;
        (self.pending.len() >= len).then(|| self.pending.drain(..len).collect())
    }

    /// The next `n` bytes that are no announcement, whatever they mean; `None` if they have not come.
    pub fn take_raw(&mut self, n: usize) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(SILENCE)).unwrap();
        let mut chunk = [0; 4096];
        if let Ok(got) = self.stream.read(&mut chunk) {
            self.pending.extend_from_slice(&chunk[..got]);
        }
        while let Some(len) = frame_len(&self.pending).filter(|&len| len <= self.pending.len()) {
            let is_announcement = Message::decode(&self.pending[HEADER_LEN..len])
                .is_ok_and(|message| message.message.is_empty());
            if !is_announcement {
                break;
            }
            self.pending.drain(..len);
        }
        (self.pending.len() >= n).then(|| self.pending.drain(..n).collect())
    }

    /// Asserts that no message (announcements aside) comes for a while.
    pub fn assert_silent(&mut self) {
        loop {
            match self.try_receive(SILENCE) {
                Ok(Some(received)) if received.message.is_empty() => {}
                Ok(other) => panic!("{} got {other:?}", self.uid),
                Err(error) => return assert!(is_timeout(&error), "{error}"),
            }
        }
    }

    /// Asserts that the broker closes the connection without sending a message first.
    pub fn assert_closed(&mut self) {
        match self.try_receive(PATIENCE) {
            Ok(None) => {}
            Ok(Some(received)) if received.message.is_empty() => self.assert_closed(),
            Ok(Some(received)) => panic!("got {received:?} instead of the end"),
            Err(error) => assert!(
                !is_timeout(&error),
                "the broker did not close the connection"
            ),
        }
    }

    /// Goes away with a reset: the broker sees an error, not an end.
    pub fn reset(self) {
        reset(self.stream);
    }

    /// Closes the sending side.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// Closes `stream` with a reset.
pub fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
}

/// Returns `true` if a read or write gave up waiting.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Asserts that the broker closes `stream`, by EOF or by a reset.
pub fn assert_closes(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 1024]) {
        Ok(0) => {}
        Ok(n) => panic!("the broker sent {n} bytes"),
        Err(error) => assert!(
            !is_timeout(&error),
            "the broker did not close the connection"
        ),
    }
}

/// Waits until `condition` holds, for at most [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Small random numbers, the same for the same seed (SplitMix64).
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(n).unwrap()).unwrap()
    }

    /// From the clock; a test prints it, and `MLES_TEST_SEED` repeats it.
    pub fn seeded() -> Self {
        let given = std::env::var("MLES_TEST_SEED").ok();
        let seed = given.map_or_else(
            || u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
            |seed| seed.parse().unwrap(),
        );
        eprintln!("repeat with MLES_TEST_SEED={seed}");
        Self(seed)
    }
}
