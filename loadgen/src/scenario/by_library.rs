//! Loads through brokers' client libraries instead of this program's own adapters.
//!
//! Libraries bring their own sockets, tasks and some even threads, so [`super::topology`] cannot serve
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

use super::topology::{HEAR_DEADLINE, PROBE_EVERY, STALL, Shape, run_name, session_number};
use super::{ScenarioError, Target};
use crate::adapter::WireError;
use crate::broker::Broker;
use crate::fleet::FleetError;
use crate::interrupt::Interrupt;
use crate::library::{ClientSession, Job, Library, LibraryPublisher, LibrarySubscriber};
use crate::payload::PayloadHeader;
use crate::verify::Tally;
use sender::{ChannelReceivers, LibrarySender};

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
struct LibraryTopology<'a, L: Library> {
    shape: Shape,
    interrupt: &'a Interrupt,
    channels: Vec<Rc<ChannelReceivers>>,
    /// Channel by channel.
    senders: Vec<LibrarySender<L::Publisher>>,
    /// Errors that ended subscribers' tasks.
    failures: UnboundedReceiver<ScenarioError>,
}

impl<'a, L: Library> LibraryTopology<'a, L> {
    /// Connects everyone and waits until all subscribers hear their channel. Each message that one of
    /// them gets is handed to `delivered`.
    async fn assemble<M: PayloadHeader + 'static>(
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
            channels: Vec::new(),
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
            let receivers = Rc::new(ChannelReceivers::new(&shape));
            for seat in 0..shape.subscribers {
                let subscriber = L::subscriber(session()).await?;
                let seat = (Rc::clone(&receivers), seat);
                let listening = listen(subscriber, seat, shape.payload, delivered.clone());
                spawn_local(report(listening, failed.clone()));
            }
            for index in 0..shape.publishers {
                run.senders.push(LibrarySender {
                    publisher: L::publisher(session()).await?,
                    receivers: Rc::clone(&receivers),
                    index,
                    sent: 0,
                    payload: shape.payload,
                });
            }
            run.channels.push(receivers);
            run.check_interrupt()?;
        }
        run.probe::<M>().await?;
        Ok(run)
    }

    /// Lets the first publisher of each channel ask until all subscribers have heard it.
    async fn probe<M: PayloadHeader>(&mut self) -> Result<(), ScenarioError> {
        let start = Instant::now();
        loop {
            let deaf = self.channels.iter().map(|receivers| receivers.deaf()).sum();
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
            for sender in firsts.filter(|sender| sender.receivers.deaf() > 0) {
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
        for (receivers, senders) in self.channels.iter().zip(senders) {
            for verifier in &receivers.verifiers {
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
async fn listen<S: LibrarySubscriber, M: PayloadHeader>(
    mut subscriber: S,
    (receivers, seat): (Rc<ChannelReceivers>, usize),
    payload_len: usize,
    delivered: impl Fn(M),
) -> Result<Infallible, ScenarioError> {
    loop {
        let header = subscriber.next(|payload| header::<M>(payload, payload_len));
        let header = header.await?.map_err(FleetError::Wire)?;
        receivers.verifiers[seat].borrow_mut().check(header.stamp());
        delivered(header);
        receivers.last_delivery.set(Instant::now());
        receivers.delivery.notify_waiters();
    }
}

/// Returns the header of a payload that is one of ours.
fn header<M: PayloadHeader>(payload: &[u8], payload_len: usize) -> Result<M, WireError> {
    match M::read(payload) {
        Some(header) if payload.len() == payload_len => Ok(header),
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
async fn give_up(
    channels: &[Rc<ChannelReceivers>],
    interrupt: &Interrupt,
) -> Result<(), ScenarioError> {
    while last_delivery(channels).elapsed() <= STALL {
        tokio::time::sleep(LOOK).await;
        if interrupt.is_set() {
            return Err(FleetError::Interrupted.into());
        }
    }
    Ok(())
}

fn last_delivery(channels: &[Rc<ChannelReceivers>]) -> Instant {
    let all = channels
        .iter()
        .map(|receivers| receivers.last_delivery.get());
    all.max().unwrap_or_else(Instant::now)
}
