//! Many non-blocking connections to one broker, served by one thread.
//!
//! The load shares its machine with the broker, so this does little: one `epoll`, one read buffer
//! for all connections, no work for a connection that is not ready. What arrives goes through
//! [`Scanner`] to the caller's closure as marks; what is to be sent waits in the connection's
//! outbox until the socket takes it.

mod stream;
mod tls;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use thiserror::Error;

use crate::adapter::{Adapter, MAX_CARRY, Publication, Role, Scanner, Session, WireError};
use crate::alarm::Alarm;
use crate::interrupt::Interrupt;
use crate::mark::Mark;
use stream::{Arrival, Stream};
use tls::Connector;

/// How long the kernel may take to connect to a broker that listens.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes read at once: several reads of a full socket, few enough to stay in the cache.
const READ_LEN: usize = 256 << 10;
/// The same under TLS: with a record from before, less than [`READ_LEN`] when it is opened.
const SEALED_LEN: usize = 128 << 10;
/// Ready connections fetched at once.
const EVENTS: usize = 1024;

/// Why the connections to a broker are of no more use.
#[derive(Debug, Error)]
pub(crate) enum FleetError {
    /// No connection.
    #[error("cannot connect to the broker at {addr}: {source}")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The broker let go of a connection that was still in use.
    #[error("the broker closed the connection of a {0:?}")]
    Closed(Role),
    /// A socket or the poll failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// What came makes no sense.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A connection's place in its fleet, counted from 0 in the order they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) usize);

/// The connections; every payload on them begins with an `M`.
pub(crate) struct Fleet<'a, M> {
    broker: SocketAddr,
    adapter: &'a dyn Adapter,
    payload_len: usize,
    interrupt: &'a Interrupt,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    links: Vec<Link<M>>,
    /// What makes connections, where the protocol is over TLS.
    connector: Option<Connector>,
    scratch: Scratch,
}

/// Where bytes are while they are looked at, for all connections.
struct Scratch {
    /// Room for a carried head, then [`READ_LEN`] bytes.
    bytes: Box<[u8]>,
    /// [`SEALED_LEN`] bytes as they come under TLS; none without.
    sealed: Box<[u8]>,
}

struct Link<M> {
    /// `None` once it was closed by us.
    stream: Option<Stream>,
    role: Role,
    scanner: Scanner<M>,
    outbox: Vec<u8>,
    /// How much of the outbox is out.
    written: usize,
}

impl<'a, M: Mark> Fleet<'a, M> {
    /// No connections yet.
    ///
    /// # Errors
    /// The system has no `epoll` instance or timer left.
    pub(crate) fn new(
        broker: SocketAddr,
        adapter: &'a dyn Adapter,
        payload_len: usize,
        interrupt: &'a Interrupt,
    ) -> Result<Self, FleetError> {
        let poll = Poll::new()?;
        let connector = adapter.is_over_tls().then(Connector::new).transpose()?;
        let sealed = connector.as_ref().map_or(0, |_| SEALED_LEN);
        Ok(Self {
            broker,
            adapter,
            payload_len,
            interrupt,
            alarm: Alarm::new(poll.registry())?,
            poll,
            events: Events::with_capacity(EVENTS),
            links: Vec::new(),
            connector,
            scratch: Scratch {
                bytes: vec![0; MAX_CARRY + READ_LEN].into_boxed_slice(),
                sealed: vec![0; sealed].into_boxed_slice(),
            },
        })
    }

    /// Serves at most `connections` in each turn, so that a turn with work for all of them does not
    /// keep the caller from something more urgent.
    pub(crate) fn limit_turns(&mut self, connections: usize) {
        self.events = Events::with_capacity(connections);
    }

    /// Ends a turn that waits `after` from now, to the microsecond; a turn's own timeout counts in
    /// milliseconds.
    ///
    /// # Errors
    /// The system refuses the time.
    pub(crate) fn wake_after(&self, after: Duration) -> Result<(), FleetError> {
        Ok(self.alarm.set(after)?)
    }

    /// Connects and sends the adapter's hello. `number` is the session's number in the whole run.
    ///
    /// # Errors
    /// [`FleetError::Connect`], or the adapter cannot speak for this session.
    pub(crate) fn open(
        &mut self,
        role: Role,
        number: u32,
        channel: &str,
    ) -> Result<(LinkId, SocketAddr), FleetError> {
        let refused = |source| FleetError::Connect {
            addr: self.broker,
            source,
        };
        let stream = TcpStream::connect_timeout(&self.broker, CONNECT_DEADLINE).map_err(refused)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let local = stream.local_addr()?;
        let outbox = self.adapter.hello(&Session {
            local,
            role,
            number,
            channel,
        })?;
        let stream = mio::net::TcpStream::from_std(stream);
        let mut stream = match &self.connector {
            None => Stream::Plain(stream),
            Some(connector) => Stream::Tls(Box::new(connector.connect(stream)?)),
        };
        let id = LinkId(self.links.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(id.0), interest)?;
        let scanner = Scanner::default();
        self.links.push(Link {
            stream: Some(stream),
            role,
            scanner,
            outbox,
            written: 0,
        });
        self.flush(id)?;
        Ok((id, local))
    }

    /// The message that `session`, opened here, publishes.
    ///
    /// # Errors
    /// The payload does not fit the protocol.
    pub(crate) fn publication(
        &self,
        session: &Session<'_>,
        payload: &[u8],
    ) -> Result<Publication, FleetError> {
        Ok(self.adapter.publication(session, payload)?)
    }

    /// Closes a connection; its id stays taken.
    pub(crate) fn close(&mut self, id: LinkId) {
        if let Some(mut stream) = self.links[id.0].stream.take() {
            // A socket that is about to be dropped leaves the poll with it.
            let _ = self.poll.registry().deregister(&mut stream);
        }
    }

    /// Bytes to send, behind those that wait; [`Fleet::flush`] sends them.
    pub(crate) fn outbox(&mut self, id: LinkId) -> &mut Vec<u8> {
        &mut self.links[id.0].outbox
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_flushed(&self, id: LinkId) -> bool {
        self.links[id.0].outbox.is_empty()
    }

    /// Sends what waits and says whether all is out. What is not goes out by itself in later turns.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self, id: LinkId) -> Result<bool, FleetError> {
        self.links[id.0].flush()
    }

    /// Waits up to `timeout` for connections that are ready and serves them: sends what waits,
    /// answers pings, hands each message's mark to `deliver`.
    ///
    /// # Errors
    /// A connection is gone or received nonsense, or the user asked to stop.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut deliver: impl FnMut(LinkId, M),
    ) -> Result<(), FleetError> {
        if self.interrupt.is_set() {
            return Err(FleetError::Interrupted);
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in self
            .events
            .iter()
            .filter(|event| event.token() != Alarm::TOKEN)
        {
            let id = LinkId(event.token().0);
            let link = &mut self.links[id.0];
            if event.is_readable() {
                link.receive(self.adapter, self.payload_len, &mut self.scratch, |mark| {
                    deliver(id, mark);
                })?;
            }
            // Pongs, or what the socket did not take before.
            link.flush()?;
        }
        Ok(())
    }
}

impl<M: Mark> Link<M> {
    /// Reads until the socket is empty.
    fn receive(
        &mut self,
        adapter: &dyn Adapter,
        payload_len: usize,
        scratch: &mut Scratch,
        mut deliver: impl FnMut(M),
    ) -> Result<(), FleetError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let Scratch { bytes, sealed } = scratch;
        loop {
            let (read, is_last) = match stream.read(&mut bytes[MAX_CARRY..], sealed) {
                Ok(Arrival::Bytes { len, is_last }) => (len, is_last),
                Ok(Arrival::End) => return Err(FleetError::Closed(self.role)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost(self.role, error)),
            };
            let start = MAX_CARRY - self.scanner.carry().len();
            bytes[start..MAX_CARRY].copy_from_slice(self.scanner.carry());
            let received = &bytes[start..MAX_CARRY + read];
            let pings = self
                .scanner
                .scan(adapter, payload_len, received, &mut deliver)?;
            for _ in 0..pings {
                self.outbox.extend_from_slice(adapter.pong());
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> Result<bool, FleetError> {
        let Some(stream) = &mut self.stream else {
            return Ok(true);
        };
        loop {
            let written = match self.outbox.get(self.written..) {
                None | Some([]) => stream.flush().map(|()| None),
                Some(rest) => stream.write(rest).map(Some),
            };
            match written {
                Ok(Some(written)) => self.written += written,
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(self.role, error)),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(true)
    }
}

/// A reset is the broker's way of closing; anything else is a failure of its own.
fn lost(role: Role, error: io::Error) -> FleetError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => FleetError::Closed(role),
        _ => FleetError::Io(error),
    }
}
