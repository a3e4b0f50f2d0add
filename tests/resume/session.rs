//! A member that asks for positions, over any transport, and publishes on the same session if it is to.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use mles::protocol::Cid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::common::Rng;
use crate::counter::Counter;
use crate::log::Event;
use crate::notice::{Close, Notice};
use crate::payload::Body;
use crate::proxy::Proxy;
use crate::publisher::Publisher;
use crate::scenario::Transport;
use crate::shared::Shared;
use crate::wire::{Ask, Input, Resume, Wire, uid_of};

/// Largest number of bytes that a slow reader takes at once.
const SIP: usize = 16 << 10;

/// A member, over all of its connections.
pub struct Session {
    pub shared: Rc<Shared>,
    pub actor: usize,
    pub transport: Transport,
    pub proxy: Proxy,
    pub rng: Rng,
    pub publisher: Option<Publisher>,
    /// Set if its connection id is the same after a reconnect, so that its old session is in the way.
    pub has_fixed_cid: bool,
    /// It rests so long between two reads.
    pub slowness: Duration,
    pub members: Option<u64>,
    pub counter: Counter,
}

/// One connection.
struct Connection {
    wire: Box<dyn Wire>,
    input: Vec<u8>,
    output: Vec<u8>,
    is_welcome: bool,
    /// Something has come that says that the connection works.
    is_useful: bool,
}

impl Session {
    /// Lives until it has seen all that there is to be seen, and what it publishes has its place.
    pub async fn run(mut self) {
        let mut failures = 0;
        while !self.is_done() {
            let (why, is_useful) = self.connect(failures).await;
            failures = if is_useful { 0 } else { failures + 1 };
            self.log(Event::End(why));
            let rest = 1 + self.rng.below(8) as u64;
            sleep(Duration::from_millis(rest)).await;
        }
    }

    fn is_done(&self) -> bool {
        let is_finished = self.publisher.as_ref().is_none_or(Publisher::is_finished);
        is_finished && self.shared.is_goal(self.counter.position())
    }

    fn is_waiting(&self) -> bool {
        self.publisher.as_ref().is_some_and(Publisher::is_waiting)
    }

    fn log(&self, event: Event) {
        self.shared.log(self.actor, event);
    }

    /// Returns why the connection has ended, and whether it was of use.
    async fn connect(&mut self, failures: u32) -> (String, bool) {
        let stream = match TcpStream::connect(self.proxy.address).await {
            Ok(stream) => stream,
            Err(error) => return (error.to_string(), false),
        };
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection {
            wire: self.transport.wire(),
            input: Vec::new(),
            output: Vec::new(),
            is_welcome: false,
            is_useful: false,
        };
        // A busy machine must not keep it from ever getting anywhere.
        let patience = Duration::from_millis(100 + self.rng.below(100) as u64);
        let patience = patience * 2_u32.pow(failures.min(7));
        let end = if self.transport.is_tls() {
            match timeout(patience, self.shared.tls.connect(stream)).await {
                Ok(Ok(stream)) => self.serve(&mut connection, stream, patience).await,
                Ok(Err(error)) => Err(format!("TLS: {error}")),
                Err(_) => Err("TLS: given up".to_owned()),
            }
        } else {
            self.serve(&mut connection, stream, patience).await
        };
        let why = end.err().unwrap_or_else(|| "done".to_owned());
        (why, connection.is_useful)
    }

    async fn serve(
        &mut self,
        connection: &mut Connection,
        stream: impl AsyncRead + AsyncWrite,
        patience: Duration,
    ) -> Result<(), String> {
        let (from, to) = split(stream);
        let (mut from, mut to) = (pin!(from), pin!(to));
        let ask = self.ask();
        connection.output = connection.wire.open(&ask);
        let mut goal = self.shared.goal.subscribe();
        let mut is_flushed = true;
        let mut chunk = vec![
            0;
            if self.slowness.is_zero() {
                64 << 10
            } else {
                SIP
            }
        ];
        let mut next_publish = Instant::now();
        let mut next_read = Instant::now();
        let mut give_up = Instant::now() + patience;
        while !self.is_done() {
            let write = async {
                if !connection.output.is_empty() {
                    to.write(&connection.output).await
                } else if !is_flushed {
                    to.flush().await.map(|()| 0)
                } else {
                    pending().await
                }
            };
            let read = async {
                sleep_until(next_read).await;
                from.read(&mut chunk).await
            };
            let may_publish = connection.is_welcome && connection.output.is_empty();
            tokio::select! {
                written = write => {
                    let n = written.map_err(|error| format!("writing: {error}"))?;
                    is_flushed = n == 0;
                    connection.output.drain(..n);
                }
                read = read => {
                    let n = read.map_err(|error| format!("reading: {error}"))?;
                    if n == 0 {
                        return Err("the end of the stream".to_owned());
                    }
                    connection.input.extend_from_slice(&chunk[..n]);
                    let before = self.counter.position();
                    self.take_inputs(connection)?;
                    let is_over = self.shared.goal.borrow().is_some();
                    let slowness = if is_over { Duration::ZERO } else { self.slowness };
                    next_read = Instant::now() + slowness;
                    // News of members alone do not show that what it sends arrives.
                    if self.counter.position() != before || !self.is_waiting() {
                        give_up = Instant::now() + patience;
                    }
                }
                () = sleep_until(next_publish), if may_publish => {
                    self.publish(connection);
                    let rest = self.rng.below(10) as u64;
                    next_publish = Instant::now() + Duration::from_millis(rest);
                }
                () = sleep_until(give_up) => return Err("given up: nothing comes".to_owned()),
                _ = goal.changed() => {}
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> Ask {
        let since = self.counter.position();
        let id = self.publisher.as_ref().map(|publisher| publisher.id);
        let floor = self.shared.floor.get();
        self.log(Event::Join { since, floor });
        let random = u32::try_from(self.rng.below(1 << 31)).unwrap();
        let fixed = u32::try_from(self.actor).unwrap();
        Ask {
            uid: uid_of(self.actor),
            cid: Cid(if self.has_fixed_cid {
                fixed
            } else {
                random | 1 << 31
            }),
            resume: Some(Resume {
                since,
                publisher: id,
                members: self.members,
            }),
        }
    }

    fn publish(&mut self, connection: &mut Connection) {
        let position = self.counter.position();
        let publisher = self.publisher.as_mut();
        let Some(publisher) = publisher.filter(|publisher| publisher.may_publish(position)) else {
            return;
        };
        for _ in 0..=self.rng.below(4) {
            if let Some(tag) = publisher.next() {
                let payload = self.shared.lengths.payload(tag);
                connection
                    .output
                    .extend(connection.wire.publish(tag, &payload));
            }
        }
    }

    fn take_inputs(&mut self, connection: &mut Connection) -> Result<(), String> {
        let Connection {
            wire,
            input,
            output,
            ..
        } = connection;
        let mut inputs = Vec::new();
        loop {
            match wire.take(input, output) {
                Ok(Some(input)) => inputs.push(input),
                Ok(None) => break,
                Err(fault) => self.fail(&fault),
            }
        }
        for input in inputs {
            connection.is_useful = true;
            match input {
                Input::Closed(why) => return Err(format!("closed: {why}")),
                Input::Message { uid, payload, told } => {
                    if !connection.is_welcome {
                        self.fail("a message before the welcome");
                    }
                    let body = payload.map_or(Body::Junk, |payload| {
                        self.shared.lengths.body(&payload, uid.as_deref())
                    });
                    let position = self.counter.message();
                    self.shared.raise_floor(position);
                    self.log(Event::Message { body, told });
                }
                Input::Notice(notice) => self.take_notice(connection, notice),
            }
        }
        Ok(())
    }

    fn take_notice(&mut self, connection: &mut Connection, notice: Notice) {
        // It is stopping and takes nobody in, its disk is slow, this member is slow, or a newer session of the same
        // publisher is there. The end follows.
        if let Notice::Close(Close {
            code: 1001 | 1013 | 4408 | 4409,
            ..
        }) = notice
        {
            return;
        }
        if connection.is_welcome == matches!(notice, Notice::Welcome(_)) {
            self.fail(&format!("at the wrong time: {notice:?}"));
        }
        match notice {
            Notice::Welcome(welcome) => {
                connection.is_welcome = true;
                self.proxy.is_welcome();
                self.counter.welcome(&welcome);
                self.log(Event::Welcome(welcome));
                if let Some(publisher) = &mut self.publisher {
                    let settled = publisher.welcome(&welcome);
                    let settled =
                        settled.unwrap_or_else(|fault| self.shared.fail(self.actor, &fault));
                    self.shared
                        .count_settled(settled.placed.len() + settled.doubtful.len());
                    self.log(Event::Placed(settled.placed));
                    self.log(Event::Doubtful(settled.doubtful));
                }
            }
            Notice::Receipt(receipt) => {
                self.counter.receipt(&receipt);
                self.shared.raise_floor(Some(receipt.position));
                let publisher = self.publisher.as_mut();
                let tags = publisher.map(|publisher| publisher.receipt(receipt.count));
                let tags = tags.unwrap_or_default();
                self.shared.count_settled(tags.len());
                self.log(Event::Receipt { receipt, tags });
            }
            Notice::Gap(gap) => {
                self.counter.gap(&gap);
                self.log(Event::Gap(gap));
            }
            Notice::Members(members) => self.log(Event::Members(members)),
            Notice::Changes(changes) => self.log(Event::Changes(changes)),
            // It comes back as soon as it is let go.
            Notice::Stopping(_) => {}
            other @ (Notice::Rights(_) | Notice::Close(_)) => self.fail(&format!("{other:?}")),
        }
    }

    fn fail(&self, fault: &str) -> ! {
        self.shared.fail(self.actor, fault)
    }
}
