//! The same fan-out over brokers' client libraries.
//!
//! Libraries bring their own sockets, tasks and some even threads, so [`super::cast`] cannot serve
//! them. The load is the same window, the check the same verifier; what differs is who waits: a task
//! for each subscriber, and one future for each publisher of a phase. All of ours run on one thread.

mod sender;

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use super::cast::{HEAR_DEADLINE, LINGER, PROBE_EVERY, STALL, run_name, session_number};
use super::fanout::{Amount, Fanout, Outcome, Timing};
use super::meter::Meter;
use super::{ScenarioError, Target};
use crate::adapter::{Broker, WireError};
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::library::{Amqp, Library, Mles, Mqtt, Nats, Publisher, Redis, Session, Subscriber};
use crate::verify::{Stamp, Tally};
use sender::{Room, Sender};

/// How often the user's wish to stop, and the lack of deliveries, are looked at.
const LOOK: Duration = Duration::from_millis(50);

impl Fanout {
    /// Loads `broker` at `target` through its client library.
    ///
    /// # Errors
    /// As [`Fanout::run`].
    pub(super) fn run_by_library(
        &self,
        broker: Broker,
        target: Target,
        timing: Timing,
        interrupt: &Interrupt,
    ) -> Result<Outcome, ScenarioError> {
        match broker {
            Broker::Mles | Broker::Reference | Broker::Null => {
                self.run_by::<Mles>(target, timing, interrupt)
            }
            Broker::Nats => self.run_by::<Nats>(target, timing, interrupt),
            Broker::Redis => self.run_by::<Redis>(target, timing, interrupt),
            Broker::Mosquitto | Broker::RabbitmqMqtt => {
                self.run_by::<Mqtt>(target, timing, interrupt)
            }
            Broker::Rabbitmq => self.run_by::<Amqp>(target, timing, interrupt),
            Broker::MlesWs
            | Broker::MlesV2
            | Broker::MlesTls
            | Broker::MlesWss
            | Broker::ReferenceV2 => Err(ScenarioError::NoLibrary(broker)),
        }
    }

    fn run_by<L: Library>(
        &self,
        target: Target,
        timing: Timing,
        interrupt: &Interrupt,
    ) -> Result<Outcome, ScenarioError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FleetError::Io)?;
        // Libraries say goodbye in tasks of their own when their connections are dropped.
        let _within = runtime.enter();
        LocalSet::new().block_on(&runtime, async {
            let mut run = Run::<L>::assemble(self, target, interrupt).await?;
            run.measure(target, timing).await
        })
    }
}

struct Run<'a, L: Library> {
    load: &'a Fanout,
    interrupt: &'a Interrupt,
    rooms: Vec<Rc<Room>>,
    /// Channel by channel.
    senders: Vec<Sender<L::Publisher>>,
    /// What ended a subscriber's task.
    failures: UnboundedReceiver<ScenarioError>,
}

impl<'a, L: Library> Run<'a, L> {
    /// Connects everyone and waits until all subscribers hear their channel.
    async fn assemble(
        load: &'a Fanout,
        target: Target,
        interrupt: &'a Interrupt,
    ) -> Result<Self, ScenarioError> {
        let name = run_name();
        let (failed, failures) = unbounded_channel();
        let mut run = Self {
            load,
            interrupt,
            rooms: Vec::new(),
            senders: Vec::new(),
            failures,
        };
        for channel in 0..load.channels {
            let channel = format!("lg-{name}-{channel}");
            let session = || Session {
                broker: target.addr,
                channel: &channel,
                number: session_number(),
                payload: load.payload,
            };
            let room = Rc::new(Room::new(load));
            for seat in 0..load.subscribers {
                let subscriber = L::subscriber(session()).await?;
                let listening = listen(subscriber, Rc::clone(&room), seat, load.payload);
                spawn_local(report(listening, failed.clone()));
            }
            for index in 0..load.publishers {
                run.senders.push(Sender {
                    publisher: L::publisher(session()).await?,
                    room: Rc::clone(&room),
                    index,
                    sent: 0,
                    payload: load.payload,
                });
            }
            run.rooms.push(room);
            run.check_interrupt()?;
        }
        run.probe().await?;
        Ok(run)
    }

    /// Warms up, measures, and waits for what comes late.
    async fn measure(&mut self, target: Target, timing: Timing) -> Result<Outcome, ScenarioError> {
        self.send(Amount::Seconds(timing.warm_up_seconds)).await?;
        let before = self.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = Meter::start(target)?;
        let seconds = self.send(timing.measured).await?.as_secs_f64();
        let cost = meter.stop(self.tally().since(&before).delivered)?;
        tokio::time::sleep(LINGER).await;
        let tally = self.tally().since(&before);
        Ok(Outcome {
            messages: tally.expected / self.load.subscribers as u64,
            seconds,
            tally,
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }

    /// The first publisher of each channel asks until all subscribers have heard it.
    async fn probe(&mut self) -> Result<(), ScenarioError> {
        let start = Instant::now();
        loop {
            let deaf = self.rooms.iter().map(|room| room.deaf()).sum();
            if deaf == 0 {
                return Ok(());
            }
            if start.elapsed() > HEAR_DEADLINE {
                return Err(ScenarioError::Deaf {
                    deaf,
                    all: self.load.subscribers * self.load.channels,
                    seconds: HEAR_DEADLINE.as_secs(),
                });
            }
            let firsts = self.senders.iter_mut().filter(|sender| sender.index == 0);
            for sender in firsts.filter(|sender| sender.room.deaf() > 0) {
                let probe = sender.message(Stamp::probe());
                sender.publisher.publish(vec![probe]).await?;
            }
            self.check_interrupt()?;
            tokio::select! {
                Some(failure) = self.failures.recv() => return Err(failure),
                () = tokio::time::sleep(PROBE_EVERY) => {}
            }
        }
    }

    /// Sends `amount`, waits until it is delivered, and says how long that took. Deliveries that
    /// do not come within [`STALL`] are given up.
    async fn send(&mut self, amount: Amount) -> Result<Duration, ScenarioError> {
        let start = Instant::now();
        for room in &self.rooms {
            room.last_delivery.set(start);
        }
        let window = self.load.window_messages();
        let sending = self.senders.iter_mut().map(|sender| {
            let (limit, end) = match amount {
                Amount::Seconds(seconds) => {
                    (u64::MAX, Some(start + Duration::from_secs_f64(seconds)))
                }
                Amount::Messages(messages) => (sender.sent.saturating_add(messages), None),
            };
            sender.send(limit, end, window)
        });
        tokio::select! {
            sent = try_join_all(sending) => { sent?; }
            Some(failure) = self.failures.recv() => return Err(failure),
            given_up = give_up(&self.rooms, self.interrupt) => given_up?,
        }
        Ok(last_delivery(&self.rooms) - start)
    }

    fn tally(&self) -> Tally {
        let mut all = Tally::default();
        let senders = self.senders.chunks(self.load.publishers.into());
        for (room, senders) in self.rooms.iter().zip(senders) {
            for verifier in &room.verifiers {
                let sent = senders.iter().map(|sender| sender.sent);
                all.add(&verifier.borrow().tally(sent));
            }
        }
        all
    }

    fn check_interrupt(&self) -> Result<(), ScenarioError> {
        if self.interrupt.is_set() {
            Err(FleetError::Interrupted.into())
        } else {
            Ok(())
        }
    }
}

/// Takes in what a subscriber gets, until its connection ends.
async fn listen<S: Subscriber>(
    mut subscriber: S,
    room: Rc<Room>,
    seat: usize,
    payload_len: usize,
) -> Result<Infallible, ScenarioError> {
    loop {
        let stamp = subscriber.next(|payload| stamp(payload, payload_len));
        let stamp = stamp.await?.map_err(FleetError::Wire)?;
        room.verifiers[seat].borrow_mut().check(stamp);
        room.last_delivery.set(Instant::now());
        room.delivery.notify_waiters();
    }
}

/// The stamp of a payload that is one of ours.
fn stamp(payload: &[u8], payload_len: usize) -> Result<Stamp, WireError> {
    match payload.first_chunk() {
        Some(stamp) if payload.len() == payload_len => Ok(Stamp::from_bytes(*stamp)),
        _ => Err(WireError::unexpected(payload)),
    }
}

/// Tells what a subscriber's task ended with.
async fn report(
    listening: impl Future<Output = Result<Infallible, ScenarioError>>,
    failed: UnboundedSender<ScenarioError>,
) {
    let Err(failure) = listening.await;
    // Nobody is there to be told when the run is over.
    let _ = failed.send(failure);
}

/// Returns when nothing was delivered for [`STALL`].
async fn give_up(rooms: &[Rc<Room>], interrupt: &Interrupt) -> Result<(), ScenarioError> {
    while last_delivery(rooms).elapsed() <= STALL {
        tokio::time::sleep(LOOK).await;
        if interrupt.is_set() {
            return Err(FleetError::Interrupted.into());
        }
    }
    Ok(())
}

fn last_delivery(rooms: &[Rc<Room>]) -> Instant {
    let all = rooms.iter().map(|room| room.last_delivery.get());
    all.max().unwrap_or_else(Instant::now)
}
