//! Many non-blocking connections to one broker, served by one thread.
//!
//! The load shares its machine with the broker, so this does little: one `epoll`, one read buffer
//! for all connections, no work for a connection that is not ready. What arrives goes through
//! [`Scanner`] to the caller's closure as headers; what is to be sent waits in the connection's
//! outbox until the socket takes it.

mod arrival;
mod link;
mod stream;
mod tls;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use thiserror::Error;

use crate::adapter::{
    Adapter, MAX_CARRY, PositionCount, Publication, Role, Scanner, Session, WireError,
};
use crate::alarm::Alarm;
use crate::interrupt::Interrupt;
use crate::payload::PayloadHeader;
use link::{Link, connect_narrow};
use stream::Stream;
use tls::Connector;

/// How long the kernel may take to connect to a broker that listens.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes read at once: several reads of a full socket, few enough to stay in the cache.
const READ_LEN: usize = 256 << 10;
/// Bytes read at once under TLS: with a record from before, less than [`READ_LEN`] when they are opened.
const SEALED_LEN: usize = 128 << 10;
/// Ready connections fetched at once.
const EVENTS: usize = 1024;

/// Why the connections to a broker are of no more use.
#[derive(Debug, Error)]
pub(crate) enum FleetError {
    /// The connection could not be made.
    #[error("cannot connect to the broker at {addr}: {source}")]
    Connect { addr: SocketAddr, source: io::Error },
    /// The broker let go of a connection that was still in use.
    #[error("the broker closed the connection of a {0:?}")]
    Closed(Role),
    /// A socket or the poll failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// Received bytes make no sense, or the broker says no.
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
    /// Other nodes of the broker, to which [`Fleet::open`] connects subscribers too, in turn.
    others: Vec<SocketAddr>,
    adapter: &'a dyn Adapter,
    payload_len: usize,
    interrupt: &'a Interrupt,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    links: Vec<Link<M>>,
    /// Connections that failed while the others went on; `None` while the first failure ends the run.
    failures: Option<Vec<(LinkId, FleetError)>>,
    /// Makes TLS connections; `None` for protocols over plain TCP.
    connector: Option<Connector>,
    scratch: Scratch,
}

/// Buffers for received bytes, shared by all connections.
struct Scratch {
    /// Room for a carried head, then [`READ_LEN`] bytes.
    bytes: Box<[u8]>,
    /// [`SEALED_LEN`] bytes as they come under TLS; none without.
    sealed: Box<[u8]>,
}

impl<'a, M: PayloadHeader> Fleet<'a, M> {
    /// Returns a fleet without connections.
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
            others: Vec::new(),
            adapter,
            payload_len,
            interrupt,
            alarm: Alarm::new(poll.registry())?,
            poll,
            events: Events::with_capacity(EVENTS),
            links: Vec::new(),
            failures: None,
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

    /// Lets [`Fleet::open`] connect those who subscribe to these nodes of the broker too, in turn.
    pub(crate) fn spread(&mut self, others: &[SocketAddr]) {
        self.others = others.to_vec();
    }

    /// Returns the node for the next connection.
    fn node(&self, role: Role) -> SocketAddr {
        let place = self.links.len() % (self.others.len() + 1);
        match (role, place.checked_sub(1)) {
            (Role::Subscriber | Role::Member, Some(other)) => self.others[other],
            _ => self.broker,
        }
    }

    /// Lets connections from now on go to another broker, which speaks the same; those that are there stay.
    pub(crate) fn redirect(&mut self, broker: SocketAddr) {
        self.broker = broker;
    }

    /// Lets connections fail from now on: one that does is closed and told by [`Fleet::take_failures`], and the
    /// others go on.
    pub(crate) fn survive_failures(&mut self) {
        self.failures.get_or_insert_default();
    }

    /// Returns the connections that failed since the last call.
    pub(crate) fn take_failures(&mut self) -> Vec<(LinkId, FleetError)> {
        self.failures
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
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
        let addr = self.node(role);
        let stream = TcpStream::connect_timeout(&addr, CONNECT_DEADLINE);
        let stream = stream.map_err(|source| FleetError::Connect { addr, source })?;
        stream.set_nonblocking(true)?;
        self.adopt(mio::net::TcpStream::from_std(stream), role, number, channel)
    }

    /// Like [`Fleet::open`], but does not wait for the connection; if it does not come about, a later turn fails.
    ///
    /// # Errors
    /// As [`Fleet::open`].
    pub(crate) fn open_at_once(
        &mut self,
        role: Role,
        number: u32,
        channel: &str,
    ) -> Result<(LinkId, SocketAddr), FleetError> {
        let stream = mio::net::TcpStream::connect(self.broker);
        let stream = stream.map_err(|source| self.no_connection(source))?;
        self.adopt(stream, role, number, channel)
    }

    /// Like [`Fleet::open`], with a receive buffer of about so many bytes.
    ///
    /// # Errors
    /// As [`Fleet::open`].
    pub(crate) fn open_narrow(
        &mut self,
        role: Role,
        number: u32,
        channel: &str,
        receive_buffer: usize,
    ) -> Result<(LinkId, SocketAddr), FleetError> {
        let stream = connect_narrow(&self.broker, receive_buffer);
        let stream = stream.map_err(|source| self.no_connection(source))?;
        self.adopt(mio::net::TcpStream::from_std(stream), role, number, channel)
    }

    fn no_connection(&self, source: io::Error) -> FleetError {
        FleetError::Connect {
            addr: self.broker,
            source,
        }
    }

    /// Takes a connection in, and sends its hello.
    fn adopt(
        &mut self,
        stream: mio::net::TcpStream,
        role: Role,
        number: u32,
        channel: &str,
    ) -> Result<(LinkId, SocketAddr), FleetError> {
        let id = LinkId(self.links.len());
        let local = stream.local_addr()?;
        let session = Session {
            local,
            role,
            number,
            channel,
            since: None,
        };
        let link = self.begin(stream, id, &session)?;
        self.links.push(link);
        self.flush(id)?;
        Ok((id, local))
    }

    /// Connects again where a connection was closed, and asks for what follows the position that it had come
    /// to, where the protocol can do that. Does not wait for the connection; if it does not come about, a later
    /// turn fails. `number` is that of the session before.
    ///
    /// # Errors
    /// As [`Fleet::open`].
    pub(crate) fn reconnect(
        &mut self,
        id: LinkId,
        number: u32,
        channel: &str,
    ) -> Result<(), FleetError> {
        let stream = mio::net::TcpStream::connect(self.broker);
        let stream = stream.map_err(|source| self.no_connection(source))?;
        let session = Session {
            local: stream.local_addr()?,
            role: self.links[id.0].role,
            number,
            channel,
            since: self.positions(id).at(),
        };
        self.links[id.0] = self.begin(stream, id, &session)?;
        self.flush(id)?;
        Ok(())
    }

    /// Returns a connection whose hello is to be sent.
    fn begin(
        &self,
        stream: mio::net::TcpStream,
        id: LinkId,
        session: &Session<'_>,
    ) -> Result<Link<M>, FleetError> {
        stream.set_nodelay(true)?;
        let outbox = self.adapter.hello(session)?;
        let mut stream = match &self.connector {
            None => Stream::Plain(stream),
            Some(connector) => Stream::Tls(Box::new(connector.connect(stream)?)),
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(id.0), interest)?;
        Ok(Link {
            stream: Some(stream),
            role: session.role,
            scanner: Scanner::default(),
            outbox,
            written: 0,
        })
    }

    /// Returns how many of the messages sent on a connection the broker has confirmed.
    pub(crate) fn confirmed(&self, id: LinkId) -> u64 {
        self.links[id.0].scanner.confirmed()
    }

    /// Returns `true` if those who receive ask for positions.
    pub(crate) fn counts_positions(&self) -> bool {
        self.adapter.counts_positions()
    }

    /// Returns a connection's count of positions.
    pub(crate) fn positions(&self, id: LinkId) -> &PositionCount {
        self.links[id.0].scanner.positions()
    }

    /// Returns the message that `session`, opened here, publishes.
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

    /// Returns `true` if what came on a connection ends inside a message or a notice.
    pub(crate) fn is_cut(&self, id: LinkId) -> bool {
        !self.links[id.0].scanner.carry().is_empty()
    }

    /// Returns `true` if one connection can both publish and subscribe.
    pub(crate) fn is_duplex(&self) -> bool {
        self.adapter.is_duplex()
    }

    /// Closes a connection; its id stays taken.
    pub(crate) fn close(&mut self, id: LinkId) {
        if let Some(mut stream) = self.links[id.0].stream.take() {
            // A socket that is about to be dropped leaves the poll with it.
            let _ = self.poll.registry().deregister(&mut stream);
        }
    }

    /// Stops reading from a connection for good, and leaves it open.
    ///
    /// # Errors
    /// The poll fails.
    pub(crate) fn ignore(&mut self, id: LinkId) -> Result<(), FleetError> {
        if let Some(stream) = &mut self.links[id.0].stream {
            self.poll.registry().deregister(stream)?;
        }
        Ok(())
    }

    /// Bytes to send, behind those that wait; [`Fleet::flush`] sends them.
    pub(crate) fn outbox(&mut self, id: LinkId) -> &mut Vec<u8> {
        &mut self.links[id.0].outbox
    }

    /// Returns `true` if nothing waits to be sent.
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
    /// answers pings, hands each message's header to `deliver`.
    ///
    /// # Errors
    /// A connection is gone or received nonsense, unless [`Fleet::survive_failures`]; or the user
    /// asked to stop.
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
            let mut served = Ok(());
            if event.is_readable() {
                served = link.receive(
                    self.adapter,
                    self.payload_len,
                    &mut self.scratch,
                    event.is_read_closed(),
                    |header| {
                        deliver(id, header);
                    },
                );
            }
            // Pongs, or what the socket did not take before.
            if let Err(error) = served.and_then(|()| link.flush()) {
                let Some(failures) = &mut self.failures else {
                    return Err(error);
                };
                failures.push((id, error));
                link.stream = None;
            }
        }
        Ok(())
    }
}
