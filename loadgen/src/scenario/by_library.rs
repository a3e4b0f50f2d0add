//! The same loads over brokers' client libraries.
//!
//! Libraries bring their own sockets, tasks and some even threads, so [`super::cast`] cannot serve
//! them. The load is the same window, the check the same verifier; what differs is who waits: a task
//! for each subscriber, and one future for each publisher of a phase. All of ours run on one thread.

mod closed_loop;
mod open_loop;
mod sender;

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use super::cast::{HEAR_DEADLINE, PROBE_EVERY, STALL, Shape, run_name, session_number};
use super::{ScenarioError, Target};
use crate::adapter::WireError;
use crate::broker::Broker;
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::library::{ClientSession, Job, Library, Publisher, Subscriber};
use crate::mark::Mark;
use crate::verify::Tally;
use sender::{Room, Sender};

/// How often the user's wish to stop, and the lack of deliveries, are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Does `job` through the client library of `broker`.
fn through_library<T, J>(broker: Broker, job: J) -> Result<T, ScenarioError>
where
    J: Job<Output = Result<T, ScenarioError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FleetError::Io)?;
    // Libraries say goodbye in tasks of their own when their connections are dropped.
    let _within = runtime.enter();
    let done = LocalSet::new().block_on(&runtime, broker.through_library(job));
    done.ok_or(ScenarioError::NoLibrary(broker))?
}

/// Everyone who takes part, connected.
struct Run<'a, L: Library> {
    shape: Shape,
    interrupt: &'a Interrupt,
    rooms: Vec<Rc<Room>>,
    /// Channel by channel.
    senders: Vec<Sender<L::Publisher>>,
    /// What ended a subscriber's task.
    failures: UnboundedReceiver<ScenarioError>,
}

impl<'a, L: Library> Run<'a, L> {
    /// Connects everyone and waits until all subscribers hear their channel. Each message that one of
    /// them gets is handed to `delivered`.
    async fn assemble<M: Mark + 'static>(
        shape: Shape,
        target: &Target,
        interrupt: &'a Interrupt,
        delivered: impl Fn(M) + Clone + 'static,
    ) -> Result<Self, ScenarioError> {
        let name = run_name();
        let (failed, failures) = unbounded_channel();
        let mut run = Self {
            shape,
            interrupt,
            rooms: Vec::new(),
            senders: Vec::new(),
            failures,
        };
        for channel in 0..shape.channels {
            let channel = format!("lg-{name}-{channel}");
            let session = || ClientSession {
                broker: target.addr,
                channel: &channel,
                number: session_number(),
                payload: shape.payload,
                keyring: &target.keyring,
            };
            let room = Rc::new(Room::new(&shape));
            for seat in 0..shape.subscribers {
                let subscriber = L::subscriber(session()).await?;
                let seat = (Rc::clone(&room), seat);
                let listening = listen(subscriber, seat, shape.payload, delivered.clone());
                spawn_local(report(listening, failed.clone()));
            }
            for index in 0..shape.publishers {
                run.senders.push(Sender {
                    publisher: L::publisher(session()).await?,
                    room: Rc::clone(&room),
                    index,
                    sent: 0,
                    payload: shape.payload,
                });
            }
            run.rooms.push(room);
            run.check_interrupt()?;
        }
        run.probe::<M>().await?;
        Ok(run)
    }

    /// The first publisher of each channel asks until all subscribers have heard it.
    async fn probe<M: Mark>(&mut self) -> Result<(), ScenarioError> {
        let start = Instant::now();
        loop {
            let deaf = self.rooms.iter().map(|room| room.deaf()).sum();
            if deaf == 0 {
                return Ok(());
            }
            if start.elapsed() > HEAR_DEADLINE {
                return Err(ScenarioError::Deaf {
                    deaf,
                    all: self.shape.subscribers * self.shape.channels,
                    seconds: HEAR_DEADLINE.as_secs(),
                });
            }
            let firsts = self.senders.iter_mut().filter(|sender| sender.index == 0);
            for sender in firsts.filter(|sender| sender.room.deaf() > 0) {
                let probe = sender.message(M::probe());
                sender.publisher.publish(vec![probe]).await?;
            }
            self.check_interrupt()?;
            tokio::select! {
                Some(failure) = self.failures.recv() => return Err(failure),
                () = tokio::time::sleep(PROBE_EVERY) => {}
            }
        }
    }

    /// Messages of all publishers so far.
    fn sent(&self) -> u64 {
        self.senders.iter().map(|sender| sender.sent).sum()
    }

    fn tally(&self) -> Tally {
        let mut all = Tally::default();
        let senders = self.senders.chunks(self.shape.publishers.into());
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
async fn listen<S: Subscriber, M: Mark>(
    mut subscriber: S,
    (room, seat): (Rc<Room>, usize),
    payload_len: usize,
    delivered: impl Fn(M),
) -> Result<Infallible, ScenarioError> {
    loop {
        let mark = subscriber.next(|payload| mark::<M>(payload, payload_len));
        let mark = mark.await?.map_err(FleetError::Wire)?;
        room.verifiers[seat].borrow_mut().check(mark.stamp());
        delivered(mark);
        room.last_delivery.set(Instant::now());
        room.delivery.notify_waiters();
    }
}

/// The mark of a payload that is one of ours.
fn mark<M: Mark>(payload: &[u8], payload_len: usize) -> Result<M, WireError> {
    match M::read(payload) {
        Some(mark) if payload.len() == payload_len => Ok(mark),
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
