//! Stopping: every member gets what was queued for it, whole, and then the end; and it is over in
//! time whoever does not read.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::thread::JoinHandle;
use std::time::Duration;

use mles::channel::SlowPolicy;
use mles::protocol::ResumeRequest;
use mles::{Broker, BrokerError, Settings, Stats};

use crate::common::asker::{Asker, Event};
use crate::common::{
    Client, LONG, PATIENCE, SILENCE, Server as _, is_timeout, settings, start, wait_until,
};

fn draining_for(drain_deadline: Duration, spread_threshold: usize) -> Broker {
    start(Settings {
        drain_deadline,
        spread_threshold,
        ..settings()
    })
}

fn members(broker: &Broker, n: usize) -> Vec<Client> {
    (0..n)
        .map(|i| Client::join_and_wait(broker, &format!("member {i}"), "room"))
        .collect()
}

/// Publishes `count` frames of `size` bytes without anyone reading them, and waits until the
/// broker has queued them for all but the publisher.
fn publish_unread(broker: &Broker, members: &mut [Client], count: usize, size: usize) {
    let before = broker.stats().deliveries;
    for i in 0..count {
        let mut payload = format!("{i} ").into_bytes();
        payload.resize(size, b'.');
        members[0].send(&payload);
    }
    let goal = before + ((members.len() - 1) * count) as u64;
    wait_until("all is queued", || broker.stats().deliveries >= goal);
}

/// Reads the frames with these numbers.
fn assert_gets(member: &mut Client, numbers: Range<usize>) {
    for i in numbers {
        let received = member.receive_message();
        let number = format!("{i} ");
        assert!(received.message.starts_with(number.as_bytes()), "{i}");
    }
}

/// Reads `count` frames in order, and then the end.
fn assert_gets_all(member: &mut Client, count: usize) {
    assert_gets(member, 0..count);
    assert_end(member);
}

/// The end of the stream, not a reset and not a timeout; announcements aside.
fn assert_end(member: &mut Client) {
    while let Some(received) = member.try_receive(PATIENCE).unwrap() {
        assert!(received.message.is_empty());
    }
}

fn stop(broker: Broker) -> JoinHandle<Result<Stats, BrokerError>> {
    std::thread::spawn(|| broker.stop())
}

#[test]
fn everybody_gets_what_was_queued_and_then_the_end() {
    for spread_threshold in [100, 0] {
        let broker = draining_for(LONG, spread_threshold);
        let mut members = members(&broker, 6);
        // More than the sockets hold, so that the broker's own queues are in use.
        publish_unread(&broker, &mut members, 200, 100_000);
        let stopping = stop(broker);
        for member in &mut members[1..] {
            assert_gets_all(member, 200);
        }
        assert_end(&mut members[0]);
        let stats = stopping.join().unwrap().unwrap();
        assert_eq!(stats.dropped_frames, 0);
        assert_eq!(stats.slow_disconnects, 0);
    }
}

#[test]
fn a_publisher_that_does_not_stop_does_not_hold_it_up() {
    for spread_threshold in [100, 0] {
        let mut settings = Settings {
            drain_deadline: LONG,
            spread_threshold,
            ..settings()
        };
        // It is faster than a reader that checks every frame, who must not be let go for that.
        settings.channels.default.slow_policy = SlowPolicy::Backpressure;
        let broker = start(settings);
        let mut members = members(&broker, 4);
        let mut publisher = members.remove(0);
        let publishing = std::thread::spawn(move || {
            let frame = publisher.frame(&[b'.'; 1000]);
            // Until the broker closes the connection.
            while publisher.stream.write_all(&frame).is_ok() {}
        });
        let reading: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                // Fails on a frame that is cut in half.
                std::thread::spawn(
                    move || {
                        while member.try_receive(PATIENCE).unwrap().is_some() {}
                    },
                )
            })
            .collect();
        wait_until("frames flow", || broker.stats().deliveries > 1000);
        broker.stop().unwrap();
        publishing.join().unwrap();
        for member in reading {
            member.join().unwrap();
        }
    }
}

/// The publisher's shard has taken the frames; with a threshold of 0 they go over the owner to members
/// on every shard.
#[test]
fn what_is_on_its_way_between_shards_still_arrives() {
    for _ in 0..30 {
        let broker = draining_for(LONG, 0);
        let mut members = members(&broker, 6);
        for i in 0..20 {
            members[0].send(format!("{i} ").as_bytes());
        }
        let handle = broker.stop_handle();
        // Without a pause: what is looked for lasts for microseconds.
        while handle.stats().frames_in < 20 {
            std::thread::yield_now();
        }
        handle.drain();
        let stopping = std::thread::spawn(|| broker.wait());
        for member in &mut members[1..] {
            assert_gets_all(member, 20);
        }
        drop(members);
        assert_eq!(stopping.join().unwrap().unwrap().dropped_frames, 0);
    }
}

#[test]
fn members_that_do_not_read_are_cut_off_at_the_deadline() {
    for spread_threshold in [100, 0] {
        let broker = draining_for(Duration::from_secs(3), spread_threshold);
        let mut members = members(&broker, 4);
        publish_unread(&broker, &mut members, 200, 100_000);
        let mut reader = members.remove(1);
        // Only the end is left to the time of the stop, which a busy machine may use up.
        assert_gets(&mut reader, 0..190);
        let stopping = stop(broker);
        assert_gets(&mut reader, 190..200);
        assert_end(&mut reader);
        let stats = stopping.join().unwrap().unwrap();
        assert!(stats.dropped_frames > 0, "{stats}");
        drop(members);
    }
}

#[test]
fn nobody_new_is_let_in() {
    let broker = draining_for(LONG, 100);
    let mut members = members(&broker, 2);
    let mut joining = Client::connect(&broker);
    wait_until("it is accepted", || broker.stats().connections == 3);
    publish_unread(&broker, &mut members, 200, 100_000);
    let (address, handle) = (broker.address(), broker.stop_handle());
    let stopping = stop(broker);
    wait_until("nobody listens", || match TcpStream::connect(address) {
        // It may have been completed before the listener was closed.
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    });
    // Who is connected already does not get a seat any more.
    joining.write_all(&members[0].frame(b"late")).unwrap();
    let _ = joining.read(&mut [0; 64]);
    assert_eq!(handle.stats().joined, 2);
    assert_gets_all(&mut members[1], 200);
    stopping.join().unwrap().unwrap();
}

/// Load balancers need some time to learn that the server is not ready any more.
#[test]
fn new_clients_are_let_in_during_the_grace() {
    let broker = start(Settings {
        drain_grace: LONG,
        ..settings()
    });
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let handle = broker.stop_handle();
    handle.drain();
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    bob.send(b"hello");
    assert_eq!(alice.text(), "hello");
    handle.abort();
    broker.wait().unwrap();
}

#[test]
fn when_the_grace_is_over_clients_are_let_go() {
    let broker = start(Settings {
        drain_grace: Duration::from_millis(50),
        drain_deadline: LONG,
        ..settings()
    });
    let mut members = members(&broker, 3);
    let stopping = stop(broker);
    members.iter_mut().for_each(assert_end);
    stopping.join().unwrap().unwrap();
}

/// All are on the shard of their channel, which lets the first of them go at once.
#[test]
fn who_is_not_let_go_yet_is_served() {
    let broker = start(Settings {
        drain_period: Some(LONG),
        drain_deadline: LONG,
        ..settings()
    });
    let mut members = members(&broker, 6);
    let handle = broker.stop_handle();
    handle.drain();
    wait_until("one is let go", || handle.stats().left == 1);
    members.retain_mut(|member| {
        loop {
            match member.try_receive(SILENCE) {
                Ok(None) => return false,
                Ok(Some(_)) => {}
                Err(error) => return is_timeout(&error),
            }
        }
    });
    assert_eq!(members.len(), 5);
    members[0].send(b"hello");
    for member in &mut members[1..] {
        assert_eq!(member.text(), "hello");
    }
    handle.abort();
    broker.wait().unwrap();
}

/// The time is another one for each, so that they do not come back all at once.
#[test]
fn who_asks_for_positions_is_told_when_to_come_back() {
    const ASK: ResumeRequest = ResumeRequest {
        since: None,
        publisher: None,
        members: None,
    };
    for spread_threshold in [100, 0] {
        let broker = draining_for(LONG, spread_threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut members: Vec<_> = (0..20)
            .map(|i| Asker::join(&broker, &format!("member {i}"), "room", ASK))
            .collect();
        alice.send(b"before");
        wait_until("it is queued", || broker.stats().deliveries >= 20);
        let stopping = stop(broker);
        let mut waits: Vec<_> = members
            .iter_mut()
            .map(|member| {
                assert_eq!(member.message().1, "before");
                let Event::Stopping(wait) = member.next() else {
                    panic!("it is not told");
                };
                assert_eq!(member.try_next(PATIENCE), None);
                wait
            })
            .collect();
        assert_end(&mut alice);
        stopping.join().unwrap().unwrap();
        assert!(
            waits.iter().all(|wait| (1000..5000).contains(wait)),
            "{waits:?}"
        );
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 1);
    }
}

#[test]
fn an_abort_ends_a_drain_at_once() {
    let broker = draining_for(LONG, 100);
    let mut members = members(&broker, 2);
    publish_unread(&broker, &mut members, 200, 100_000);
    let handle = broker.stop_handle();
    handle.drain();
    assert!(members[0].try_receive(PATIENCE).is_ok());
    handle.abort();
    broker.wait().unwrap();
}

#[test]
fn an_abort_needs_no_drain() {
    let broker = draining_for(LONG, 100);
    let mut members = members(&broker, 2);
    publish_unread(&broker, &mut members, 200, 100_000);
    broker.stop_handle().abort();
    broker.wait().unwrap();
}

#[test]
fn a_dropped_broker_is_gone() {
    let broker = draining_for(LONG, 100);
    let mut members = members(&broker, 2);
    let address = broker.address();
    drop(broker);
    members.iter_mut().for_each(Client::assert_closed);
    assert!(TcpStream::connect(address).is_err());
}
