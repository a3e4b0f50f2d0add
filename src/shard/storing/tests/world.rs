//! A broker of one shard, and the other end of its store.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::disk::{Disk, texts};
use crate::access::Rights;
use crate::channel::{FrameRun, HistoryStorage, MessagePage, PublisherId, Receipt, SessionId};
use crate::protocol::{
    Cid, Epoch, FrameHeader, HEADER_LEN, Key, Message, Position, ResumeRequest, encode_frame,
    frames,
};
use crate::settings::{Settings, StoreSync};
use crate::shard::ask::{Idempotency, Publication, Reading};
use crate::shard::labels::Transport;
use crate::shard::message::{Arrival, Early, Identity, Introduced, Socket};
use crate::shard::refusal::Refusal;
use crate::shard::stats::ShardStats;
use crate::shard::storing::OpenStore;
use crate::shard::thread::{Seed, seeds};
use crate::shard::{BrokerPhase, Common, Shard};
use crate::store::{Batch, Change, LoadedChannel, StoreError, TestWriter};

/// The longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait for what must not come.
const SILENCE: Duration = Duration::from_millis(150);

type Work = Box<dyn FnOnce(Rc<Shard>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Settings with which each message is handed over at once.
pub(super) fn settings() -> Settings {
    let mut settings = Settings {
        pin: false,
        ..Settings::default()
    };
    settings.channels.default.history = HistoryStorage::Disk;
    settings.store.sync = StoreSync::Interval(Duration::from_millis(1));
    settings
}

/// One shard that runs.
pub(super) struct World {
    common: Arc<Common>,
    work: UnboundedSender<Work>,
    thread: JoinHandle<io::Result<()>>,
    writer: TestWriter,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        Self::restored(settings, Vec::new())
    }

    /// Begins with these channels.
    pub(super) fn restored(settings: Settings, channels: Vec<LoadedChannel>) -> Self {
        let (mut store, writer) = OpenStore::for_tests();
        // Keys of channels are never used again.
        let used = channels.iter().map(|channel| channel.state.key.0).max();
        while store.handle.next_key().0 <= used.unwrap_or(0) {}
        store.loaded.channels = channels;
        let (common, seeds) = seeds(settings, None, 1, Some(store), None);
        let [seed]: [Seed; 1] = seeds.try_into().ok().unwrap();
        let (work, mut works) = unbounded_channel::<Work>();
        let thread = thread::spawn(move || {
            seed.run(|shard| {
                let shard = shard.clone();
                shard.clone().spawn(async move {
                    while let Some(work) = works.recv().await {
                        work(shard.clone()).await;
                    }
                });
                Ok(())
            })
        });
        Self {
            common,
            work,
            thread,
            writer,
        }
    }

    /// Has the shard do something, and waits for it.
    fn run<T, F>(&self, work: impl FnOnce(Rc<Shard>) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (done, answer) = std::sync::mpsc::channel();
        let work: Work = Box::new(move |shard| {
            let work = work(shard);
            Box::pin(async move { _ = done.send(work.await) })
        });
        self.work.send(work).unwrap();
        answer.recv_timeout(PATIENCE).unwrap()
    }

    /// Publishes messages, one after the other.
    pub(super) fn publish(&self, channel: &str, texts: &[&str]) {
        for text in texts {
            self.publish_by(None, channel, text);
        }
    }

    /// Publishes a message with an idempotency key.
    pub(super) fn publish_as(&self, publisher: u64, channel: &str, text: &str) -> Receipt {
        self.publish_by(Some(publisher), channel, text)
    }

    fn publish_by(&self, idempotency: Option<u64>, channel: &str, text: &str) -> Receipt {
        let publication = publication(idempotency, channel, text);
        self.run(|shard| async move { shard.publish_confirmed(publication).await.unwrap() })
    }

    /// Begins to publish a message.
    pub(super) fn begin(&self, idempotency: Option<u64>, channel: &str, text: &str) -> Publishing {
        self.begin_with(publication(idempotency, channel, text))
    }

    /// Begins to publish a message whose latency is sampled.
    pub(super) fn begin_sampled(&self, channel: &str, text: &str) -> Publishing {
        let sampled = Some(Instant::now());
        self.begin_with(Publication {
            sampled,
            ..publication(None, channel, text)
        })
    }

    fn begin_with(&self, publication: Publication) -> Publishing {
        let (done, answer) = std::sync::mpsc::channel();
        let work: Work = Box::new(move |shard| {
            let publishing = shard.clone();
            shard.spawn(async move {
                // The test may not want to know.
                let _ = done.send(publishing.publish_confirmed(publication).await);
            });
            Box::pin(async {})
        });
        self.work.send(work).unwrap();
        Publishing(answer)
    }

    /// Waits until so many bytes or more are held until they are on disk.
    pub(super) fn wait_until_held(&self, bytes: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.held_bytes() < bytes {
            assert!(Instant::now() < deadline, "nothing is held");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the publishers of a channel may go on, or may not.
    pub(super) fn wait_until_paused(&self, channel: &'static str, is_paused: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(move |shard| async move { pauses(&shard, channel) }) != is_paused {
            assert!(Instant::now() < deadline, "paused: {}", !is_paused);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the channel is closed.
    pub(super) fn wait_until_closed(&self, channel: &'static str) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_open(channel) {
            assert!(Instant::now() < deadline, "it stays open");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns `true` if the channel is open.
    pub(super) fn is_open(&self, channel: &'static str) -> bool {
        self.run(move |shard| async move { shard.registry.borrow().find(channel).is_some() })
    }

    /// Has a session of another shard publish.
    pub(super) fn relay(&self, channel: &'static str, text: &'static str) {
        self.run(move |shard| async move {
            let mut registry = shard.registry.borrow_mut();
            let at = registry.find(channel).unwrap();
            let id = registry.room(at).unwrap().id;
            drop(registry);
            shard.propose_relayed(id, SessionId(1), run(channel, text));
        });
    }

    /// Has a client of another shard join with a message.
    pub(super) fn join_with(&self, channel: &'static str, text: &'static str) {
        self.seat(move |shard| Arrival {
            is_silent: false,
            join: run(channel, text).bytes().clone(),
            ..arrival(shard, channel, 9)
        });
    }

    /// Has a client join whose message follows the join frame at once. Returns its connection.
    pub(super) fn join_and_send(&self, channel: &'static str, text: &'static str) -> TcpStream {
        self.join_send_and(channel, text, |_| {})
    }

    /// Like [`Self::join_and_send`], and ends the session before its task has run.
    pub(super) fn join_send_and_end(&self, channel: &'static str, text: &'static str) -> TcpStream {
        self.join_send_and(channel, text, |shard| _ = shard.end_all())
    }

    fn join_send_and(
        &self,
        channel: &'static str,
        text: &'static str,
        then: impl FnOnce(&Rc<Shard>) + Send + 'static,
    ) -> TcpStream {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        self.run(move |shard| async move {
            shard.seat(Arrival {
                socket: Socket::Here(server.try_into().unwrap()),
                early: Early {
                    run: Some(run(channel, text)),
                    ..Early::default()
                },
                ..arrival(&shard, channel, 9)
            });
            then(&shard);
        });
        client
    }

    /// Has a client of another shard join as a publisher that goes on from the position `since`.
    pub(super) fn join_as(
        &self,
        publisher: u64,
        channel: &'static str,
        session: u64,
        since: Position,
    ) {
        self.seat(move |shard| Arrival {
            resume: Some(Box::new(ResumeRequest {
                since: Some(since),
                publisher: Some(publisher),
                members: None,
            })),
            ..arrival(shard, channel, session)
        });
    }

    fn seat(&self, arrival: impl FnOnce(&Shard) -> Arrival<Socket> + Send + 'static) {
        self.run(move |shard| async move { shard.seat(arrival(&shard)) });
    }

    /// Waits until so many sessions or more have joined.
    pub(super) fn wait_until_joined(&self, sessions: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.stats().joined.get() < sessions {
            assert!(Instant::now() < deadline, "nobody joins");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until so many frames or more of sessions that have ended were dropped.
    pub(super) fn wait_until_orphaned(&self, frames: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.stats().orphaned_frames.get() < frames {
            assert!(Instant::now() < deadline, "nothing is dropped");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the memory of all runs that are held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.run(|shard| async move { held_bytes(&shard) })
    }

    /// Returns what is counted on the shard.
    pub(super) fn stats(&self) -> &ShardStats {
        &self.common.stats[0]
    }

    /// Returns the number of messages that were put back at the start.
    pub(super) fn restored_messages(&self) -> u64 {
        self.run(|_| async {});
        let info = self.common.store.as_ref().unwrap();
        info.messages.load(Ordering::Relaxed)
    }

    /// Reads what follows a position. Returns the epoch, the texts, and whether nothing is missing.
    pub(super) fn read(
        &self,
        channel: &str,
        since: Option<(Epoch, u64)>,
    ) -> (Epoch, Vec<String>, bool) {
        let page = self.read_page(channel, since);
        let runs = page.runs.iter().flat_map(|(_, run)| frames(run));
        let texts = runs.map(|frame| {
            let message = Message::decode(&frame[HEADER_LEN..]).unwrap().message;
            String::from_utf8(message.to_vec()).unwrap()
        });
        (page.epoch, texts.collect(), page.is_recovered)
    }

    /// Reads the session keys in a channel's history.
    pub(super) fn read_keys(&self, channel: &str) -> Vec<Key> {
        let page = self.read_page(channel, None);
        let runs = page.runs.iter().flat_map(|(_, run)| frames(run));
        runs.map(|frame| FrameHeader::decode(frame).unwrap().unwrap().key)
            .collect()
    }

    fn read_page(&self, channel: &str, since: Option<(Epoch, u64)>) -> MessagePage {
        let reading = Reading {
            channel: channel.into(),
            since: since.map(|(epoch, offset)| Position { epoch, offset }),
            limit: 1000,
            peer: ([127, 0, 0, 1], 9).into(),
        };
        self.run(|shard| async move { shard.read_messages(reading).await.unwrap() })
    }

    /// Clears the history of a channel.
    pub(super) fn clear(&self, channel: &'static str) {
        let cleared = self.run(move |shard| async move { shard.clear_history(channel).await });
        assert!(cleared.is_some());
    }

    /// Puts other settings in force.
    pub(super) fn reload(&self, settings: Settings) {
        self.common.replace_settings(settings);
        self.run(|shard| async move { shard.apply_live().await });
    }

    /// Clears the session keys that are in histories.
    pub(super) fn hide_keys(&self) {
        self.run(|shard| async move { shard.hide_keys().await });
    }

    /// Waits for the next batch.
    pub(super) fn next(&self) -> Batch {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(batch) = self.writer.next() {
                return batch;
            }
            assert!(Instant::now() < deadline, "no batch comes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes the next batch. Returns what it has new of each channel, as `name first: text text`.
    pub(super) fn write(&self, disk: &mut Disk) -> Vec<String> {
        let batch = self.next();
        let described = describe(&batch);
        disk.write(batch);
        described
    }

    /// Writes batches until the disk is as wanted.
    pub(super) fn write_all(&self, disk: &mut Disk, is_wanted: impl Fn(&Disk) -> bool) {
        while !is_wanted(disk) {
            self.write(disk);
        }
    }

    /// Returns the next batch, if it has come.
    pub(super) fn poll(&self) -> Option<Batch> {
        thread::sleep(Duration::from_millis(1));
        self.writer.next()
    }

    /// Writes batches until the shard has ended.
    pub(super) fn write_until_end(&self, disk: &mut Disk) {
        while !self.thread.is_finished() {
            if let Some(batch) = self.poll() {
                disk.write(batch);
            }
        }
    }

    /// Refuses the next batch. Returns what it had.
    pub(super) fn refuse(&self) -> Vec<String> {
        Self::refuse_batch(self.next())
    }

    /// Refuses a batch. Returns what it had.
    pub(super) fn refuse_batch(batch: Batch) -> Vec<String> {
        let described = describe(&batch);
        let _ = batch.done.send(Err(StoreError::Failed("full".into())));
        described
    }

    /// Refuses all batches until the shard has ended.
    pub(super) fn refuse_all(&self) {
        while !self.thread.is_finished() {
            if let Some(batch) = self.writer.next() {
                let _ = batch.done.send(Err(StoreError::Failed("full".into())));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns `true` if no batch comes for a while.
    pub(super) fn is_silent(&self) -> bool {
        thread::sleep(SILENCE);
        self.writer.next().is_none()
    }

    /// Returns the age of the oldest change that is not written.
    pub(super) fn lag(&self) -> Duration {
        self.common.store_lag()
    }

    /// Waits until everything is written, as far as the lag tells.
    pub(super) fn wait_until_written(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.lag().is_zero() {
            assert!(Instant::now() < deadline, "the store is behind");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Begins to stop.
    pub(super) fn drain(&self) {
        self.common.begin_drain();
    }

    /// Waits for the end. Returns `true` if everything was handed over.
    pub(super) fn ends_saved(self) -> bool {
        self.thread.join().unwrap().unwrap();
        self.common.has_saved_all()
    }

    /// Stops at once.
    pub(super) fn kill(self) {
        self.common.advance(BrokerPhase::Stopped);
        self.thread.join().unwrap().unwrap();
        assert!(!self.common.has_saved_all());
    }
}

/// A publication that is under way.
pub(super) struct Publishing(std::sync::mpsc::Receiver<Result<Receipt, Refusal>>);

impl Publishing {
    /// Returns the receipt, or why there is none, when it comes.
    pub(super) fn answer(&self) -> Result<Receipt, Refusal> {
        self.0.recv_timeout(PATIENCE).unwrap()
    }

    /// Returns the answer, if it has come.
    pub(super) fn poll(&self) -> Option<Result<Receipt, Refusal>> {
        self.0.try_recv().ok()
    }

    /// Returns the offset of the message, when it is confirmed.
    pub(super) fn offset(&self) -> u64 {
        self.answer().unwrap().first
    }
}

fn held_bytes(shard: &Shard) -> usize {
    shard.held.bytes()
}

fn pauses(shard: &Shard, channel: &str) -> bool {
    let mut registry = shard.registry.borrow_mut();
    let at = registry.find(channel).unwrap();
    registry.room(at).unwrap().pause.is_on()
}

/// Returns a client that would join without a message.
fn arrival(shard: &Shard, channel: &str, session: u64) -> Arrival<Socket> {
    Arrival {
        socket: Socket::Elsewhere,
        origin: shard.id,
        identity: Identity {
            session: SessionId(session),
            cid: Cid(9),
            peer: ([127, 0, 0, 1], 9).into(),
            uid: "alice".into(),
            rights: Rights::CLIENT,
            permit: None,
            transport: Transport::Tcp,
        },
        channel: channel.into(),
        join: run(channel, "").bytes().clone(),
        is_silent: true,
        resync: None,
        resume: None,
        introduced: Introduced::No,
        gateway: None,
        early: Early::default(),
    }
}

fn publication(idempotency: Option<u64>, channel: &str, text: &str) -> Publication {
    Publication {
        channel: channel.into(),
        run: run(channel, text),
        peer: ([127, 0, 0, 1], 9).into(),
        idempotency: idempotency.map(|publisher| Idempotency {
            publisher: PublisherId(publisher),
            content: text.bytes().map(u64::from).sum(),
        }),
        sampled: None,
    }
}

fn run(channel: &str, text: &str) -> FrameRun {
    let message = Message {
        uid: "alice",
        channel,
        message: text.as_bytes(),
    };
    let frame: Bytes = encode_frame(Cid(1), Key(1), &message).unwrap();
    FrameRun::exact(frame, 1)
}

fn describe(batch: &Batch) -> Vec<String> {
    let changes = batch.changes.iter().map(|change| match change {
        Change::Forget(_) => "forget".to_owned(),
        Change::Save(saved) => {
            let texts = saved.runs.iter().flat_map(texts);
            let texts: String = texts.map(|text| format!(" {text}")).collect();
            let first = saved.runs.first();
            let first = first.map_or(0, |run| run.end + 1 - u64::from(run.messages));
            format!("{} {first}:{texts}", saved.state.name)
        }
    });
    changes.collect()
}
