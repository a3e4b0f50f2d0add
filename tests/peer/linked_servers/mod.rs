//! Servers with links between them, members that write down what they get, and publishers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mles::protocol::{Cid, Keyring};
use mles::{Broker, LinkState, LinkStatus, Settings};

use crate::common::{Client, PATIENCE, SILENCE, Server, is_timeout, settings, wait_until};

pub mod proxy;
pub mod world;

/// The one channel of these tests.
pub const CHANNEL: &str = "room";

/// The number of times that each message came or was sent.
pub type Counts = BTreeMap<String, usize>;

/// Settings for a server whose upstreams are at these addresses.
pub fn peer_settings(upstreams: &[SocketAddr]) -> Settings {
    let mut settings = settings();
    // Behind a proxy a server sees another address than the one that the key is made of.
    settings.allow_anonymous = true;
    settings.channels.default.history_frames = 100_000;
    settings.peer.upstreams = upstreams
        .iter()
        .map(|a| a.to_string().parse().unwrap())
        .collect();
    settings.peer.backoff = Duration::from_millis(20);
    settings.peer.backoff_max = Duration::from_millis(200);
    settings
}

/// Starts a server on an address of its own, which it can be started on again.
pub fn start_at(address: SocketAddr, settings: Settings) -> Broker {
    let settings = Settings {
        listen: vec![address],
        ..settings
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Broker::start(settings.clone()) {
            Ok(broker) => return broker,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The link of the channel, if there is one.
pub fn link(broker: &Broker) -> Option<LinkStatus> {
    broker
        .links()
        .into_iter()
        .find(|link| link.channel == CHANNEL)
}

pub fn state(broker: &Broker) -> Option<LinkState> {
    link(broker).map(|link| link.state)
}

pub fn wait_for_link(broker: &Broker) {
    wait_until("the link is up", || state(broker) == Some(LinkState::Up));
}

/// A member that writes down what it gets, on a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    got: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    name: String,
}

impl Recorder {
    /// Joins with a connection id made from `number`, different for each member of all servers, and waits
    /// until the server counts the session.
    pub fn join(server: &Broker, name: &str, number: u32) -> Self {
        let keyring = Keyring::default();
        let cid = Some(Cid(number));
        let before = server.stats().joined;
        let mut client = Client::join_with(server, &keyring, name, CHANNEL, b"", cid);
        wait_until("it has joined", || server.stats().joined > before);
        let (got, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (got, stop): (Arc<Mutex<Vec<String>>>, _) = (got.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    match client.try_receive(Duration::from_millis(20)) {
                        Ok(Some(frame)) if frame.message.is_empty() => {}
                        Ok(Some(frame)) => {
                            let text = String::from_utf8(frame.message).unwrap();
                            got.lock().unwrap().push(summary(&text));
                        }
                        Ok(None) => return,
                        Err(error) if is_timeout(&error) => {}
                        Err(_) => return,
                    }
                }
            })
        };
        Self {
            got,
            stop,
            thread: Some(thread),
            name: name.to_owned(),
        }
    }

    /// Returns the messages that it has got, in order.
    pub fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    pub fn counts(&self) -> Counts {
        count(&self.got())
    }

    /// Waits until it has got everything `expected`, and asserts that nothing came more often.
    pub fn expect(&self, expected: &Counts) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_all(expected) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(SILENCE);
        let got = self.counts();
        let differing = |counts: &Counts, others: &Counts| -> Vec<_> {
            let more = |(text, n): &(&String, &usize)| others.get(*text) != Some(n);
            counts
                .iter()
                .filter(more)
                .map(|(t, n)| (t.clone(), *n))
                .take(10)
                .collect()
        };
        assert!(
            got == *expected,
            "{}: got {:?} where {:?} was expected",
            self.name,
            differing(&got, expected),
            differing(expected, &got),
        );
    }

    /// Returns `true` if each of these has come, at least as often.
    pub fn has_all(&self, expected: &Counts) -> bool {
        let got = self.counts();
        expected.iter().all(|(text, n)| got.get(text) >= Some(n))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let joined = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            joined.unwrap().unwrap();
        }
    }
}

/// A message without the dots at its end, but with their number.
fn summary(text: &str) -> String {
    let label = text.trim_end_matches('.');
    match text.len() - label.len() {
        0 => label.to_owned(),
        dots => format!("{label} +{dots}"),
    }
}

pub fn count(texts: &[String]) -> Counts {
    let mut counts = Counts::new();
    for text in texts {
        *counts.entry(text.clone()).or_default() += 1;
    }
    counts
}

/// A member that publishes messages with numbers, some of them long, and now and then the very same
/// one.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    name: String,
    sent: Vec<String>,
}

impl Publisher {
    pub fn join(server: &impl Server, name: &str, number: u32) -> Self {
        let keyring = Keyring::default();
        let cid = Some(Cid(number));
        let client = Client::join_with(server, &keyring, name, CHANNEL, b"", cid);
        Self {
            client,
            name: name.to_owned(),
            sent: Vec::new(),
        }
    }

    /// Joins another server, or the same once more.
    pub fn rejoin(&mut self, server: &impl Server, number: u32) {
        let sent = std::mem::take(&mut self.sent);
        *self = Self {
            sent,
            ..Self::join(server, &self.name, number)
        };
    }

    pub fn publish(&mut self) {
        let n = self.sent.len();
        let mut text = if n % 7 == 3 {
            format!("{} again", self.name)
        } else {
            format!("{} {n}", self.name)
        };
        // Longer than one read of a server, sometimes.
        match n % 41 {
            40 => text.extend(std::iter::repeat_n('.', 70_000)),
            rest if rest % 5 == 0 => text.extend(std::iter::repeat_n('.', 30 * rest)),
            _ => {}
        }
        self.client.send(text.as_bytes());
        self.sent.push(summary(&text));
    }

    /// Returns the messages that it has sent, in order.
    pub fn sent(&self) -> &[String] {
        &self.sent
    }
}

/// Counts what all these have sent.
pub fn all_sent<'a>(publishers: impl IntoIterator<Item = &'a Publisher>) -> Counts {
    let sent = publishers.into_iter().flat_map(|p| p.sent.clone());
    count(&sent.collect::<Vec<_>>())
}

/// Asserts that a member that joins now gets exactly `expected` from the history.
pub fn expect_history(server: &Broker, number: u32, expected: &Counts) {
    Recorder::join(server, "late joiner", number).expect(expected);
}
