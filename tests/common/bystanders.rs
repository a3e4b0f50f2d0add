//! Good clients that run alongside hostile ones and must not miss anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use mles::protocol::Keyring;

use super::{Client, SILENCE, Server, is_timeout, wait_until};

/// The message by which a member shows that it is one.
const KNOCK: &[u8] = b"knock";

/// A publisher and its subscribers, each message of which has to reach all of them before the next
/// is sent.
#[derive(Debug)]
pub struct Bystanders {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Bystanders {
    /// They begin at once and have been served when this returns.
    pub fn start(server: &impl Server) -> Self {
        Self::start_in(server, "bystanders", &Keyring::default())
    }

    /// In a channel of the test's choice.
    pub fn start_in(server: &impl Server, channel: &str, keyring: &Keyring) -> Self {
        let address = server.address();
        let (stop, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (until, count) = (stop.clone(), rounds.clone());
        let mut clients = join_all(address, channel, keyring);
        let run = move || {
            while !until.load(Ordering::Relaxed) {
                talk(&mut clients, count.fetch_add(1, Ordering::Relaxed));
            }
        };
        let bystanders = Self {
            rounds,
            stop,
            thread: std::thread::spawn(run),
        };
        bystanders.wait_for_rounds(2);
        bystanders
    }

    /// Waits until they have been served `n` times more.
    pub fn wait_for_rounds(&self, n: u64) {
        let goal = self.rounds.load(Ordering::Relaxed) + n;
        wait_until("the good clients are served", || {
            self.thread.is_finished() || self.rounds.load(Ordering::Relaxed) > goal
        });
    }

    /// Sees them served once more, then fails if any of them had missed anything.
    pub fn finish(self) {
        self.wait_for_rounds(2);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a good client missed something");
    }
}

/// A publisher and three subscribers, all of them members when this returns.
fn join_all(address: SocketAddr, channel: &str, keyring: &Keyring) -> Vec<Client> {
    let join = |uid: &str| Client::join_with(&address, keyring, uid, channel, b"", None);
    let mut clients = vec![join("publisher")];
    for i in 0..3 {
        let mut client = join(&format!("subscriber {i}"));
        // A broker says nothing to who has joined: knock until the publisher hears it.
        loop {
            client.send(KNOCK);
            match clients[0].try_receive(SILENCE) {
                Ok(Some(frame)) if frame.uid == client.uid && frame.message == KNOCK => break,
                Ok(frame) => assert!(frame.is_some(), "not let in"),
                Err(error) => assert!(is_timeout(&error), "{error}"),
            }
        }
        clients.push(client);
    }
    clients
}

fn talk(clients: &mut [Client], round: u64) {
    let text = format!("round {round}").into_bytes();
    let (publisher, subscribers) = clients.split_first_mut().unwrap();
    publisher.send(&text);
    for subscriber in subscribers {
        let mut got = subscriber.receive_message().message;
        while got == KNOCK {
            got = subscriber.receive_message().message;
        }
        assert_eq!(got, text, "{}", subscriber.uid);
    }
}
