//! A relay that only copies: what is left of a measurement when the broker does next to nothing.
//!
//! It speaks Mles v1 as far as it must: the channel is taken from a session's join frame, and from
//! then on whole frames go as they came to every other member of the channel. Keys, names, sizes and
//! connection ids are not checked, joins are not announced, and nothing is remembered.
//!
//! # Invariant
//! While a member has not taken what it was sent, nothing is read for its channel. So no outbox holds
//! more than what one read has brought, and one stopped subscriber stops its channel.

mod member;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use mles::protocol::{BodyCheck, HEADER_LEN, MAX_BODY_LEN, Message, Stop, frames, scan};
use rustix::net::sockopt::set_tcp_congestion;
use slab::Slab;

use crate::interrupt::Interrupt;
use member::Member;

/// Bytes read at once.
const READ_LEN: usize = 256 << 10;
/// The listener's token; members have the others.
const LISTENER: Token = Token(usize::MAX);
/// The congestion control that every Linux has.
pub(crate) const CONGESTION: &str = "reno";
/// Between two looks at the interrupt, should the signal have come between look and wait.
const LOOK: Duration = Duration::from_millis(500);

/// The relay: one thread, one `epoll`.
pub(crate) struct NullRelay {
    poll: Poll,
    listener: TcpListener,
    members: Slab<Member>,
    channels: Vec<Channel>,
    /// Places in `channels`; a name keeps its place.
    names: HashMap<String, usize>,
    /// Channels that may be read for again.
    unblocked: Vec<usize>,
    scratch: Box<[u8]>,
}

#[derive(Default)]
struct Channel {
    /// Places in `members`.
    members: Vec<usize>,
    /// Number of members with something in their outbox.
    blocked: usize,
}

impl NullRelay {
    /// Returns a relay that listens on `addr`, with this congestion control.
    ///
    /// # Errors
    /// The address is not to be had.
    pub(crate) fn bind(addr: SocketAddr, congestion: &str) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(addr)?;
        // Inherited by the connections. Pacing, as BBR does it, costs more on loopback than the
        // copying does. Where there is no other algorithm to be had, the default has to do.
        let _ = set_tcp_congestion(&listener, congestion);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            members: Slab::new(),
            channels: Vec::new(),
            names: HashMap::new(),
            unblocked: Vec::new(),
            scratch: vec![0; READ_LEN].into_boxed_slice(),
        })
    }

    /// Relays until the user asks to stop.
    ///
    /// # Errors
    /// The poll or the listener fails. A member's failure is the end of that member only.
    pub(crate) fn run(&mut self, interrupt: &Interrupt) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !interrupt.is_set() {
            match self.poll.poll(&mut events, Some(LOOK)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let Token(place) = event.token();
                if event.is_writable() {
                    self.flush(place);
                }
                if event.is_readable()
                    && let Some(member) = self.members.get_mut(place)
                {
                    member.readable = true;
                    self.read(place);
                }
            }
            self.resume();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let entry = self.members.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(entry.key()), interest)?;
        entry.insert(Member::new(stream));
        Ok(())
    }

    /// Reads and passes on what has come from a member, until there is no more or its channel is
    /// blocked.
    fn read(&mut self, place: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while self.may_read(place) && self.read_once(place, &mut scratch).is_continue() {}
        self.scratch = scratch;
    }

    fn may_read(&self, place: usize) -> bool {
        let member = self.members.get(place);
        let channel = member.and_then(|member| member.channel);
        channel.is_none_or(|channel| self.channels[channel].blocked == 0)
    }

    /// Reads once; `Break` when there is no more to be had from this member for now.
    fn read_once(&mut self, place: usize, scratch: &mut [u8]) -> ControlFlow<()> {
        let Some(member) = self.members.get_mut(place) else {
            return ControlFlow::Break(());
        };
        let Some(received) = member.receive(scratch) else {
            if !member.readable {
                return ControlFlow::Break(());
            }
            return self.dismiss(place);
        };
        let mut partial = std::mem::take(&mut member.partial);
        let input = if partial.is_empty() {
            received
        } else {
            partial.extend_from_slice(received);
            &partial
        };
        let found = scan(input, MAX_BODY_LEN, &BodyCheck::Off);
        let (run, rest) = input.split_at(found.run.len);
        if matches!(found.stop, Stop::Bad(_)) || self.pass_on(place, run).is_none() {
            return self.dismiss(place);
        }
        let rest = rest.to_vec();
        if let Some(member) = self.members.get_mut(place) {
            member.partial = rest;
        }
        ControlFlow::Continue(())
    }

    /// Sends whole frames from a member to the others of its channel; `None` if they begin with a
    /// join that makes no sense.
    fn pass_on(&mut self, from: usize, run: &[u8]) -> Option<()> {
        if run.is_empty() {
            return Some(());
        }
        let (channel, run) = match self.members.get(from)?.channel {
            Some(channel) => (channel, run),
            None => self.join(from, run)?,
        };
        let Channel { members, blocked } = &mut self.channels[channel];
        let mut gone = Vec::new();
        for &place in members.iter().filter(|&&place| place != from) {
            let member = &mut self.members[place];
            let was_blocked = member.is_blocked();
            match member.send(run) {
                Ok(()) => *blocked += usize::from(member.is_blocked() && !was_blocked),
                Err(_) => gone.push(place),
            }
        }
        for place in gone {
            let _ = self.dismiss(place);
        }
        Some(())
    }

    /// Seats a member in the channel of its first frame, and returns that with what is to be passed
    /// on.
    fn join<'a>(&mut self, place: usize, run: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let frame = frames(run).next()?;
        let join = Message::decode(&frame[HEADER_LEN..]).ok()?;
        let channel = match self.names.get(join.channel) {
            Some(&channel) => channel,
            None => {
                let channel = self.channels.len();
                self.channels.push(Channel::default());
                self.names.insert(join.channel.to_owned(), channel);
                channel
            }
        };
        self.channels[channel].members.push(place);
        self.members.get_mut(place)?.channel = Some(channel);
        let announces_only = join.message.is_empty();
        Some((
            channel,
            &run[if announces_only { frame.len() } else { 0 }..],
        ))
    }

    /// Sends a member what it has not taken yet.
    fn flush(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place).filter(|it| it.is_blocked()) else {
            return;
        };
        let channel = member.channel;
        match member.flush() {
            Ok(()) if member.is_blocked() => {}
            Ok(()) => self.unblock(channel),
            Err(_) => {
                let _ = self.dismiss(place);
            }
        }
    }

    /// Lets a member go: it is gone, or makes no sense.
    fn dismiss(&mut self, place: usize) -> ControlFlow<()> {
        let member = self.members.remove(place);
        if let Some(channel) = member.channel {
            self.channels[channel].members.retain(|&it| it != place);
            if member.is_blocked() {
                self.unblock(member.channel);
            }
        }
        ControlFlow::Break(())
    }

    /// Counts one member less of `channel` with something in its outbox.
    fn unblock(&mut self, channel: Option<usize>) {
        if let Some(channel) = channel {
            self.channels[channel].blocked -= 1;
            if self.channels[channel].blocked == 0 {
                self.unblocked.push(channel);
            }
        }
    }

    /// Reads what was left unread while channels were blocked.
    fn resume(&mut self) {
        while let Some(channel) = self.unblocked.pop() {
            for place in self.channels[channel].members.clone() {
                if self.members.get(place).is_some_and(|it| it.readable) {
                    self.read(place);
                }
            }
        }
    }
}
