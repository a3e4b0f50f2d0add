//! Memory and file descriptors are bounded by the settings, not by the clients. The broker runs in
//! a process of its own here.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use mles::Settings;
use mles::protocol::Keyring;

use crate::broker_process::{BrokerProcess, be_the_broker, join_stopped, send_large};
use crate::common::bystanders::Bystanders;
use crate::common::{Client, settings, wait_until};

const MIB: usize = 1 << 20;
/// Bytes that the broker holds for each member that has stopped reading.
const QUEUE: usize = 32 * MIB;

#[test]
#[ignore = "no test: the broker process that the others start"]
fn broker_process() {
    be_the_broker(|role| {
        let mut settings = settings();
        let channel = &mut settings.channels.default;
        channel.history_frames = 0;
        channel.announce_joins = false;
        channel.queue_bytes = QUEUE;
        Settings {
            spread_threshold: if role == "spread" { 100 } else { 100_000 },
            drain_deadline: Duration::from_millis(100),
            ..settings
        }
    });
}

fn start(role: &str) -> BrokerProcess {
    BrokerProcess::start(module_path!(), role)
}

/// Ten bytes of a frame that is announced with the largest length there is.
const GREEDY: &[u8] = b"M\xFF\xFF\xFF\0\0\0\x01\0\0";

#[test]
fn announced_lengths_cost_nothing_before_the_join() {
    let mut broker = start("");
    let good = Bystanders::start(&broker);
    let before = broker.resident();
    let greedy: Vec<TcpStream> = (0..4000)
        .map(|_| {
            let mut stream = Client::connect(&broker);
            stream.write_all(GREEDY).unwrap();
            stream
        })
        .collect();
    wait_until("all are there", || broker.stat("connections") == 4004);
    good.wait_for_rounds(10);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 20 * MIB, "grown by {grown} bytes");
    drop(greedy);
    wait_until("all are gone", || broker.stat("connections") == 4);
    good.finish();
}

#[test]
fn announced_lengths_cost_nothing_after_the_join() {
    let mut broker = start("");
    let good = Bystanders::start(&broker);
    let mut members: Vec<_> = (0..2000)
        .map(|i| Client::join(&broker, &format!("member {i}"), &format!("room {}", i % 20)))
        .collect();
    wait_until("all have joined", || broker.stat("joined") == 2004);
    let before = broker.resident();
    for member in &mut members {
        member.stream.write_all(GREEDY).unwrap();
    }
    good.wait_for_rounds(100);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 20 * MIB, "grown by {grown} bytes");
    assert_eq!(broker.stat("protocol_errors"), 0);
    good.finish();
}

/// A queue of shared buffers: a thousand members that do not read cost little more than one, until
/// they are over the limit and go.
#[test]
fn a_thousand_members_that_stop_reading_cost_little_more_than_one() {
    const STOPPED: u64 = 1000;
    for role in ["", "spread"] {
        let mut broker = start(role);
        let good = Bystanders::start(&broker);
        let mut alice = Client::join(&broker, "alice", "room");
        let mut reader = Client::join(&broker, "reader", "room");
        let stopped = join_stopped(&broker, STOPPED);
        wait_until("all have joined", || broker.stat("joined") == STOPPED + 6);
        let before = broker.resident();
        send_large(QUEUE / 2, &mut alice, &mut reader);
        let grown = broker.resident().saturating_sub(before);
        assert!(grown < 3 * QUEUE, "{role}: grown by {grown} bytes");
        assert_eq!(broker.stat("slow_disconnects"), 0);
        send_large(2 * QUEUE, &mut alice, &mut reader);
        wait_until("they are disconnected", || {
            broker.stat("slow_disconnects") == STOPPED
        });
        let grown = broker.resident().saturating_sub(before);
        assert!(grown < 3 * QUEUE, "{role}: grown by {grown} bytes");
        drop(stopped);
        good.finish();
    }
}

/// Out of file descriptors: those who are served do not notice, and it goes on when there are some
/// again.
#[test]
fn without_file_descriptors_members_are_served_and_accepting_resumes() {
    rlimit::increase_nofile_limit(16_384).unwrap();
    let mut broker = BrokerProcess::start_after("ulimit -n 64", module_path!(), "");
    let good = Bystanders::start(&broker);
    let crowd: Vec<_> = (0..200).map(|_| Client::connect(&broker)).collect();
    wait_until("it runs out", || broker.stat("accept_errors") > 0);
    good.wait_for_rounds(100);
    drop(crowd);
    let mut alice = Client::join(&broker, "alice", "room");
    wait_until("it accepts again", || broker.stat("joined") == 5);
    let _bob = Client::join_with(&broker, &Keyring::default(), "bob", "room", b"hi", None);
    assert_eq!(alice.text(), "hi");
    good.finish();
}

/// Sessions whose client has closed its sending side keep their file descriptors from nobody, nor do
/// connections that never join.
#[test]
fn without_file_descriptors_half_closed_sessions_and_silent_connections_make_room() {
    rlimit::increase_nofile_limit(16_384).unwrap();
    for is_joined in [true, false] {
        let mut broker = BrokerProcess::start_after("ulimit -n 64", module_path!(), "");
        let good = Bystanders::start(&broker);
        let mut crowd = Vec::new();
        for i in 0..100 {
            let (stream, uid) = (Client::connect(&broker), format!("ended {i}"));
            let mut client = Client::on(stream, &Keyring::default(), &uid, "crowd", None);
            if is_joined {
                client.send(b"");
                client.finish();
            }
            crowd.push(client);
        }
        let newcomers: Vec<_> = (0..20)
            .map(|i| Client::join(&broker, &format!("newcomer {i}"), "room"))
            .collect();
        let joined = 4 + 20 + if is_joined { 100 } else { 0 };
        wait_until("all have joined", || broker.stat("joined") == joined);
        assert_eq!(broker.stat("turned_away"), 0);
        good.finish();
        drop((crowd, newcomers));
    }
}
