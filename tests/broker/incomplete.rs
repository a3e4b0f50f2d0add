//! Frames of which only a part has come: who gives way when their memory is used up, and what
//! happens to those that do not go on.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mles::channel::SlowPolicy;
use mles::protocol::{Cid, HEADER_LEN, Keyring};
use mles::{Broker, Settings};

use crate::common::{Client, assert_closes, settings, start, wait_until};

/// Memory for 4 MiB of incomplete frames of members, and as much for those of joins.
fn tight() -> Settings {
    let mut settings = settings();
    settings.shards = Some(1);
    settings.limits.max_frame = 1 << 20;
    settings.limits.partial_bytes = 8 << 20;
    settings.limits.join_deadline = Duration::from_secs(3600);
    settings.limits.frame_deadline = Duration::from_secs(3600);
    settings.channels.default.announce_joins = false;
    settings
}

/// A join frame of 100 KiB, on a connection of its own.
fn large_join(broker: &Broker, i: usize) -> (Client, Vec<u8>) {
    let (stream, uid) = (Client::connect(broker), format!("joiner {i}"));
    let cid = Cid(u32::try_from(i).unwrap() + 1000);
    let client = Client::on(stream, &Keyring::default(), &uid, "other", Some(cid));
    let frame = client.frame(&[b'x'; 100 << 10]).to_vec();
    (client, frame)
}

/// Waits until the broker has read all that was written to `stream`, as the kernel tells; not at all if it has
/// closed the connection. What it has read when is what decides who gives way.
fn wait_until_read(stream: &TcpStream) {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            let ip = u32::from_ne_bytes(v4.ip().octets());
            format!("{ip:08X}:{:04X}", v4.port())
        }
        SocketAddr::V6(v6) => panic!("not an IPv4 address: {v6}"),
    };
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let (ours, theirs) = (hex(stream.local_addr().unwrap()), hex(peer));
    wait_until("the broker has read all of it", || {
        let connections = fs::read_to_string("/proc/net/tcp").unwrap();
        let queues = connections.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (sent, received) = fields.get(4)?.split_once(':')?;
            if fields[1..3] == [&ours, &theirs] {
                Some(sent == "00000000")
            } else if fields[1..3] == [&theirs, &ours] {
                Some(received == "00000000")
            } else {
                None
            }
        });
        queues.into_iter().all(|is_empty| is_empty)
    });
}

/// Half frames of every size, as many as take the memory several times over. Of those that come while hers is
/// on its way there are fewer than fill it: else she would be the one that has stood still for longest.
#[test]
fn half_frames_never_close_an_innocent_member() {
    for (half, memory) in [(5_000, 1 << 20), (50_000, 4 << 20), (500_000, 8 << 20)] {
        let mut settings = tight();
        // Small halves take a small memory: the crowd that fills it is as large as it has to be.
        settings.limits.partial_bytes = memory;
        settings.limits.max_frame = (2 * half + 1000).max(128 << 10);
        let broker = start(settings);
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut hostile = Vec::new();
        let frame = alice.frame(&vec![b'y'; 100 << 10]);
        let (first, rest) = frame.split_at(frame.len() / 2);
        let mut n = 0;
        while broker.stats().partials_evicted < 20 {
            alice.stream.write_all(first).unwrap();
            wait_until_read(&alice.stream);
            for _ in 0..(1_000_000 / half).clamp(1, 5) {
                let uid = format!("hostile {n}");
                let cid = Some(Cid(n + 1000));
                let keyring = Keyring::default();
                let mut client = Client::join_with(&broker, &keyring, &uid, "room", b"", cid);
                let frame = client.frame(&vec![b'x'; 2 * half]);
                client.stream.write_all(&frame[..half]).unwrap();
                wait_until_read(&client.stream);
                hostile.push(client);
                n += 1;
            }
            alice.stream.write_all(rest).unwrap();
            assert_eq!(bob.receive().message.len(), 100 << 10);
        }
        let stats = broker.stats();
        assert_eq!((stats.protocol_errors, stats.refused), (0, 0), "{stats}");
    }
}

#[test]
fn half_join_frames_never_close_an_innocent_joiner() {
    let broker = start(tight());
    let mut hostile = Vec::new();
    let mut n = 0;
    for i in 0..40 {
        let (mut alice, frame) = large_join(&broker, i);
        let (first, rest) = frame.split_at(frame.len() / 2);
        alice.stream.write_all(first).unwrap();
        for _ in 0..5 {
            let (mut client, frame) = large_join(&broker, 1000 + n);
            // It fails when it has given way.
            let _ = client.stream.write_all(&frame[..60_000]);
            hostile.push(client);
            n += 1;
        }
        let joined = broker.stats().joined;
        alice.stream.write_all(rest).unwrap();
        wait_until("she has joined", || broker.stats().joined > joined);
    }
    wait_until("others gave way", || broker.stats().partials_evicted > 0);
    assert_eq!(broker.stats().refused, 0);
}

/// However many there are: they are bounded by the number of connections.
#[test]
fn small_beginnings_are_free() {
    let mut settings = tight();
    settings.limits.max_frame = 64 << 10;
    settings.limits.partial_bytes = 1;
    let broker = start(settings);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut clients: Vec<_> = (0..100)
        .map(|i| Client::join_and_wait(&broker, &format!("client {i}"), "room"))
        .collect();
    let begun = |client: &Client| client.frame(&[b'x'; 8000]);
    for client in &mut clients {
        let frame = begun(client);
        client.stream.write_all(&frame[..4000]).unwrap();
    }
    for client in &mut clients {
        let frame = begun(client);
        client.stream.write_all(&frame[4000..]).unwrap();
        assert_eq!(bob.receive_message().uid, client.uid);
    }
    assert_eq!(broker.stats().partials_evicted, 0);
}

/// A byte now and then is no progress.
#[test]
fn a_frame_that_does_not_go_on_is_ended() {
    for begun in [1, 1000, 100_000] {
        let mut settings = settings();
        settings.limits.frame_deadline = Duration::from_millis(300);
        let broker = start(settings);
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        let mut slow = Client::join_and_wait(&broker, "slow", "room");
        let frame = slow.frame(&[b'x'; 500_000]);
        slow.stream.write_all(&frame[..begun]).unwrap();
        wait_until("it is ended", || {
            // It fails when it is ended.
            let _ = slow.stream.write_all(b"x");
            broker.stats().frames_overdue == 1
        });
        assert_closes(&mut slow.stream);
        // Who has nothing unfinished has all the time there is.
        let mut alice = Client::join(&broker, "alice", "room");
        alice.send(b"hello");
        assert_eq!(bob.text(), "hello");
    }
}

/// It takes longer than two others, one after the other, are waited for that stand still.
#[test]
fn a_slow_frame_that_goes_on_is_taken() {
    const LARGE: usize = 7 << 20;
    let mut settings = settings();
    settings.limits.frame_deadline = Duration::from_secs(2);
    let broker = start(settings);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut slow = Client::join_and_wait(&broker, "slow", "room");
    let frame = slow.frame(&vec![b'x'; LARGE]);
    let mut parts = frame.chunks(70_000);
    for ended in 0..2 {
        let mut still = Client::join_and_wait(&broker, "still", "elsewhere");
        let begun = &still.frame(b"never whole")[..HEADER_LEN];
        still.stream.write_all(begun).unwrap();
        while broker.stats().frames_overdue == ended {
            let part = parts.next().expect("the others are ended in time");
            slow.stream.write_all(part).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    parts.for_each(|part| slow.stream.write_all(part).unwrap());
    assert_eq!(bob.receive_message().message.len(), LARGE);
    assert_eq!(broker.stats().frames_overdue, 2);
}

/// What nobody reads cannot go on.
#[test]
fn a_publisher_that_is_held_back_is_not_overdue() {
    let mut settings = tight();
    settings.limits.max_frame = 16 << 20;
    settings.limits.frame_deadline = Duration::from_secs(4);
    settings.channels.default.slow_policy = SlowPolicy::Backpressure;
    settings.channels.default.queue_bytes = 8 << 20;
    let broker = start(settings);
    let mut slow = Client::join_and_wait(&broker, "slow", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    // The frame that fills the queue comes from somebody else, and all but its end before his begins.
    let filling = alice.frame(&vec![b'y'; 14 << 20]);
    let (most, end) = filling.split_at(filling.len() - 1);
    alice.stream.write_all(most).unwrap();
    wait_until_read(&alice.stream);
    let large = bob.frame(&vec![b'x'; 100_000]);
    let (begun, rest) = large.split_at(50_000);
    bob.stream.write_all(begun).unwrap();
    alice.stream.write_all(end).unwrap();
    wait_until("it is queued", || broker.stats().frames_in == 1);
    // A frame that has begun later, in a channel that nobody holds back, is overdue before his is.
    let mut witness = Client::join_and_wait(&broker, "witness", "elsewhere");
    let begun = &witness.frame(&[b'x'; 100_000])[..50_000];
    witness.stream.write_all(begun).unwrap();
    assert_closes(&mut witness.stream);
    assert_eq!(broker.stats().frames_overdue, 1);
    // It is read when there is room again, and no time passes until then.
    bob.stream.write_all(rest).unwrap();
    for member in [&mut slow, &mut bob] {
        assert_eq!(member.receive().message.len(), 14 << 20);
    }
    assert_eq!(slow.receive().message.len(), 100_000);
    assert_eq!(broker.stats().frames_overdue, 1);
}
