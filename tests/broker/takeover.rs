//! A client that comes back before its old session has ended gets its place, and nobody else does.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mles::channel::SlowPolicy;
use mles::protocol::{Cid, Keyring};
use mles::{Broker, Settings};

use crate::common::{Client, PATIENCE, SILENCE, Server, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

fn spreading(spread_threshold: usize) -> Broker {
    start(Settings {
        spread_threshold,
        ..settings()
    })
}

/// Lets a client join once more, on a connection that the broker has accepted.
fn again(broker: &Broker, client: &Client) -> Client {
    let accepted = broker.stats().accepted;
    let (uid, channel, cid) = (&client.uid, &client.channel, Some(client.cid));
    let client = Client::join_with(broker, &Keyring::default(), uid, channel, b"", cid);
    wait_until("it is accepted", || broker.stats().accepted > accepted);
    client
}

#[test]
fn a_client_that_is_back_before_its_old_session_ends_gets_its_place() {
    let ends: [fn(Client); 3] = [
        Client::reset,
        drop,
        // The kernel answers for a client that reads nothing, until it closes.
        |mut client| {
            std::thread::sleep(Duration::from_millis(100));
            client.finish();
        },
    ];
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        for (round, end) in ends.into_iter().cycle().take(12).enumerate() {
            let joined = broker.stats().joined;
            let new = again(&broker, &bob);
            end(std::mem::replace(&mut bob, new));
            wait_until("it has its place", || broker.stats().joined > joined);
            alice.send(format!("{round}").as_bytes());
            while bob.text() != format!("{round}") {}
        }
        assert_eq!(broker.stats().refused, 0);
        wait_until("the old ones are gone", || broker.stats().connections == 2);
    }
}

#[test]
fn a_client_that_is_there_keeps_its_place() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut clients: Vec<_> = (0..50)
            .map(|i| Client::join_and_wait(&broker, "bob", &format!("room {i}")))
            .collect();
        let mut rivals: Vec<_> = clients.iter().map(|bob| again(&broker, bob)).collect();
        rivals.iter_mut().for_each(Client::assert_closed);
        for bob in &mut clients {
            let mut alice = Client::join(&broker, "alice", &bob.channel);
            alice.send(b"still there?");
            assert_eq!(bob.text(), "still there?");
            alice.reset();
        }
        let stats = broker.stats();
        assert_eq!((stats.refused_duplicate, stats.replaced), (50, 0));
        // That it was tested is no stain on how it ends.
        clients.into_iter().for_each(Client::reset);
        wait_until("all are gone", || broker.stats().connections == 0);
        assert_eq!(broker.stats().replaced, 0);
    }
}

/// It takes nothing either way, so nothing that is sent gets an answer; but its kernel answers.
#[test]
fn a_slow_client_keeps_its_place() {
    let mut settings = settings();
    settings.channels.default.queue_bytes = 64 << 20;
    let broker = start(settings);
    let bob = Client::join_and_wait(&broker, "bob", "room");
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    for _ in 0..16 {
        alice.send(&vec![b'x'; 1 << 20]);
    }
    wait_until("all is queued", || broker.stats().deliveries >= 16);
    let mut rival = again(&broker, &bob);
    rival.assert_closed();
    assert_eq!(broker.stats().replaced, 0);
    drop(bob);
}

#[test]
fn another_uid_or_key_takes_no_place() {
    for spread_threshold in SPREAD {
        let keyring = Keyring::new(Some("secret".into()), None);
        let broker = start(Settings {
            keyring: keyring.clone(),
            spread_threshold,
            ..settings()
        });
        let join = |keyring: &Keyring, uid| {
            Client::join_with(&broker, keyring, uid, "room", b"", Some(Cid(7)))
        };
        let bob = join(&keyring, "bob");
        wait_until("he has joined", || broker.stats().joined == 1);
        let wrong = Keyring::new(Some("guessed".into()), None);
        join(&keyring, "mallory").assert_closed();
        join(&wrong, "bob").assert_closed();
        bob.reset();
        wait_until("he is gone", || broker.stats().connections == 0);
        assert_eq!((broker.stats().joined, broker.stats().refused), (1, 2));
    }
}

/// A client that is cut off again while it waits has no use for its first attempt.
#[test]
fn of_several_attempts_one_waits() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let bob = Client::join_and_wait(&broker, "bob", "room");
        let mut attempts = [again(&broker, &bob), again(&broker, &bob)];
        wait_until("one is left", || broker.stats().refused == 1);
        bob.reset();
        wait_until("it is in", || broker.stats().joined == 2);
        let mut alice = Client::join(&broker, "alice", "room");
        alice.send(b"hello");
        let got = attempts
            .each_mut()
            .map(|attempt| match attempt.try_receive(PATIENCE) {
                Ok(Some(got)) if got.message.is_empty() => attempt.try_receive(PATIENCE),
                other => other,
            });
        let hellos = got.into_iter().filter_map(Result::ok).flatten();
        assert_eq!(hellos.count(), 1);
        assert_eq!(broker.stats().refused_duplicate, 0);
    }
}

/// The old session has ended, but its publishing is held back: what it has sent comes first.
#[test]
fn what_the_old_session_has_sent_is_not_lost() {
    let mut settings = settings();
    settings.channels.default.slow_policy = SlowPolicy::Backpressure;
    settings.channels.default.announce_joins = false;
    settings.channels.default.queue_bytes = 4 << 20;
    settings.channels.default.history_frames = 1;
    let broker = start(settings);
    let mut slow = Client::join_and_wait(&broker, "slow", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    // Until the broker reads no more of bob.
    let mut sent = 0;
    let is_read = |sent| {
        let deadline = Instant::now() + SILENCE;
        while broker.stats().frames_in < sent && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        broker.stats().frames_in == sent
    };
    while is_read(sent) {
        bob.send(&vec![b'x'; 100_000]);
        sent += 1;
    }
    bob.send(b"last words");
    bob.finish();
    let mut new = again(&broker, &bob);
    for _ in 0..sent {
        assert_eq!(slow.receive().message.len(), 100_000);
    }
    assert_eq!(slow.text(), "last words");
    assert_eq!(new.text(), "last words");
    assert_eq!(broker.stats().refused, 0);
}

const CLIENT_OF: &str = "MLES_TEST_CLIENT_OF";

#[test]
#[ignore = "no test: the client process that is killed"]
fn client_process() {
    let Ok(address) = std::env::var(CLIENT_OF) else {
        return;
    };
    let address: std::net::SocketAddr = address.parse().unwrap();
    // A process with memory takes its time to die, and its sockets go last.
    let memory = vec![1_u8; 64 << 20];
    let _client = join_as_bob(&address);
    loop {
        std::thread::park();
        std::hint::black_box(&memory);
    }
}

fn join_as_bob(server: &impl Server) -> Client {
    let keyring = Keyring::default();
    Client::join_with(server, &keyring, "bob", "room", b"", Some(Cid(7)))
}

fn start_client(broker: &Broker) -> Child {
    let joined = broker.stats().joined;
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "takeover::client_process", "--ignored"])
        .env(CLIENT_OF, broker.address().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it has joined", || broker.stats().joined > joined);
    client
}

/// The broker grants a process that is being killed 750 ms, as the kernel answers for it until its sockets
/// are closed. On a busy machine that can take longer, and then a refusal is right.
const QUICK_DEATH: Duration = Duration::from_millis(500);

/// Without reading what it was sent, and with its successor not waiting until it is dead.
#[test]
fn a_client_that_was_killed_is_never_refused() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        for _ in 0..10 {
            let mut process = start_client(&broker);
            alice.send(&[b'x'; 1000]);
            let before = broker.stats();
            let killed = Instant::now();
            process.kill().unwrap();
            let back = join_as_bob(&broker);
            process.wait().unwrap();
            let dying = killed.elapsed();
            wait_until("it is back or refused", || {
                let now = broker.stats();
                now.joined > before.joined || now.refused > before.refused
            });
            let is_refused = broker.stats().refused > before.refused;
            assert!(
                !is_refused || dying > QUICK_DEATH,
                "refused although the process was dead after {dying:?}"
            );
            drop(back);
        }
    }
}
