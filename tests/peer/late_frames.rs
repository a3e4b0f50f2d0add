//! Frames of a server whose link is not known go up at little cost, are compared above, and are nowhere
//! doubled or lost.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mles::Broker;
use mles::protocol::{Cid, Keyring, LinkNotice, NestedFrame};

use crate::common::{Client, PATIENCE, Server as _, settings, start, wait_until};
use crate::downstream::{Below, frame, notice, open};
use crate::linked_servers::proxy::{Mode, Proxy};
use crate::linked_servers::{
    CHANNEL, Recorder, count, expect_history, link, peer_settings, wait_for_link,
};

/// A server below that was never here, with these messages in its history.
fn stranger(server: &Broker, number: u32, messages: &[&str]) -> Below {
    let sent = u64::try_from(messages.len()).unwrap();
    let numbered: Vec<_> = (1..)
        .zip(messages)
        .map(|(n, &text)| (text, Some(n)))
        .collect();
    let mut below = open(server, &format!("server {number}"));
    below.client.cid = Cid(5000 + number);
    below.says(sent).on_link(link_id(number)).has(&numbered)
}

/// Not the key that its frames have.
fn link_id(number: u32) -> u64 {
    0xABCD_0000 + u64::from(number)
}

/// Joins, and waits until it is let in.
fn welcomed(below: Below) -> Client {
    let mut client = below.join();
    assert!(matches!(notice(&mut client), LinkNotice::Welcome { .. }));
    client
}

fn texts(recorder: &Recorder, count: usize) -> Vec<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while recorder.got().len() < count {
        let got = recorder.got();
        let now = std::time::Instant::now();
        assert!(now < deadline, "only {} came: {got:?}", got.len());
        std::thread::sleep(Duration::from_millis(2));
    }
    recorder.got()
}

/// Fills the history of a server with more than any number of strangers brings.
fn fill(server: &Broker) {
    let mut publisher = Client::join_and_wait(server, "filler", CHANNEL);
    let before = server.stats().frames_in;
    for n in 0..300 {
        publisher.send(format!("{n} {}", "x".repeat(10_000)).as_bytes());
    }
    wait_until("all is published", || {
        server.stats().frames_in == before + 300
    });
}

/// Forty servers with a frame each must not make a peer send its whole history up forty times.
#[test]
fn what_strangers_bring_goes_up_alone() {
    let root = start(peer_settings(&[]));
    let peer = start(peer_settings(root.local_addrs()));
    let above = Recorder::join(&root, "above", 1);
    let _member = Client::join_and_wait(&peer, "member", CHANNEL);
    wait_for_link(&peer);
    fill(&peer);
    texts(&above, 300);
    let before = link(&peer).unwrap().counts;
    let mut came_in = 0;
    let mut links = Vec::new();
    for number in 0..40 {
        let below = stranger(&peer, number, &[&format!("of {number}")]);
        came_in += below.resync(below.client.key).len();
        links.push(welcomed(below));
    }
    texts(&above, 340);
    let after = link(&peer).unwrap().counts;
    assert_eq!(after.connects, before.connects, "the link stayed up");
    let went_up = usize::try_from(after.bytes_up - before.bytes_up).unwrap();
    assert!(
        went_up <= 3 * came_in,
        "{came_in} bytes came in, {went_up} went up"
    );
    let mut expected: Vec<_> = (0..40).map(|number| format!("of {number}")).collect();
    let mut brought = texts(&above, 340).split_off(300);
    expected.sort();
    brought.sort();
    assert_eq!(brought, expected);
}

/// To a v1 server they are frames like any others. While it is not known what is above, they wait.
#[test]
fn what_strangers_bring_goes_up_alone_to_a_v1_server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream = listener.local_addr().unwrap();
    let peer = start(peer_settings(&[upstream]));
    fill(&peer);
    let (stream, _) = listener.accept().unwrap();
    let mut above = Client::on(stream, &Keyring::default(), "above", CHANNEL, None);
    let _opening = above.try_receive_raw(PATIENCE).unwrap().unwrap();
    let mut links = Vec::new();
    let mut came_in = 0;
    for number in 0..40 {
        let below = stranger(&peer, number, &[&format!("of {number}")]);
        came_in += below.resync(below.client.key).len();
        links.push(below.join());
    }
    let mut brought = Vec::new();
    let mut went_up = 0;
    while brought.len() < 40 {
        // A second session would have a connection of its own.
        let received = above.receive();
        let text = String::from_utf8(received.message).unwrap();
        if text.starts_with("of ") {
            went_up += received.raw.len();
            brought.push(text);
        }
    }
    assert!(went_up <= 3 * came_in);
    brought.sort();
    brought.dedup();
    assert_eq!(brought.len(), 40);
    assert_eq!(link(&peer).unwrap().counts.failures, 0);
}

/// The root had it from a server that the stranger was linked to before. It has left the root's history,
/// and the peer has never had it.
#[test]
fn what_is_remembered_above_alone_is_not_doubled_there() {
    let mut short = peer_settings(&[]);
    short.channels.default.history_frames = 3;
    let root = start(short.clone());
    let above = Recorder::join(&root, "above", 1);
    // The root remembers from its first link on.
    let mut elsewhere = welcomed(stranger(&root, 1, &[]));
    elsewhere.stream.write_all(&somebody("old")).unwrap();
    elsewhere
        .stream
        .write_all(&somebody("older than the peer"))
        .unwrap();
    for n in 0..5 {
        elsewhere.send(n.to_string().as_bytes());
    }
    texts(&above, 7);
    let middle = start(peer_settings(root.local_addrs()));
    let _member = Client::join_and_wait(&middle, "member", CHANNEL);
    wait_for_link(&middle);
    let lowest = start(peer_settings(middle.local_addrs()));
    let below = Recorder::join(&lowest, "below", 2);
    wait_for_link(&lowest);
    texts(&below, 3);
    // Two servers lie between the stranger and the one that remembers.
    let new = ["old", "new", "older than the peer"];
    let _stranger = welcomed(stranger(&lowest, 9, &new));
    assert_eq!(texts(&below, 6)[3..], new);
    let got = texts(&above, 8);
    assert_eq!(got[7..], ["new"]);
    above.expect(&count(&got));
}

/// Two equal frames that were sent on purpose are two, wherever one of them is known already.
#[test]
fn what_was_sent_twice_stays_twice() {
    let root = start(peer_settings(&[]));
    let peer = start(peer_settings(root.local_addrs()));
    let above = Recorder::join(&root, "above", 1);
    let below = Recorder::join(&peer, "below", 2);
    wait_for_link(&peer);
    let mut first = welcomed(stranger(&peer, 1, &["again"]));
    first.stream.write_all(&somebody("again")).unwrap();
    texts(&above, 2);
    // It has come twice; this server has it once more.
    let _second = welcomed(stranger(&peer, 2, &["again", "again", "again"]));
    let thrice = count(&vec!["again".to_owned(); 3]);
    above.expect(&thrice);
    below.expect(&thrice);
    // What a third brings is known.
    let _third = welcomed(stranger(&peer, 3, &["again", "again", "again"]));
    above.expect(&thrice);
    below.expect(&thrice);
    expect_history(&root, 90, &thrice);
    expect_history(&peer, 91, &thrice);
}

fn somebody(text: &str) -> Bytes {
    frame("somebody", CHANNEL, text)
}

/// A frame is on its way down while a stranger brings the same: it is one frame on both sides.
#[test]
fn what_is_on_its_way_down_is_not_doubled() {
    let root = start(peer_settings(&[]));
    let proxy = Proxy::to(root.address());
    let peer = start(peer_settings(&[proxy.address]));
    let above = Recorder::join(&root, "above", 1);
    let below = Recorder::join(&peer, "below", 2);
    wait_for_link(&peer);
    let mut publisher = Client::join_and_wait(&root, "publisher", CHANNEL);
    let (up, down) = (Duration::ZERO, Duration::from_secs(1));
    proxy.set(Mode::Delay { up, down });
    // The proxy may still be reading as before.
    publisher.send(b"before");
    texts(&below, 1);
    publisher.stream.write_all(&somebody("twin")).unwrap();
    texts(&above, 2);
    let _stranger = welcomed(stranger(&peer, 9, &["twin", "new"]));
    texts(&above, 3);
    assert_eq!(texts(&below, 3), ["before", "twin", "new"]);
    // Later it is another one.
    publisher.stream.write_all(&somebody("twin")).unwrap();
    proxy.set(Mode::Pass);
    let all = ["before", "twin", "new", "twin"].map(str::to_owned);
    above.expect(&count(&all));
    below.expect(&count(&all));
    expect_history(&root, 90, &count(&all));
    expect_history(&peer, 91, &count(&all));
}

/// What came while the link was down is compared when it is opened again.
#[test]
fn what_strangers_bring_without_a_link_above_goes_up_later() {
    let root = start(peer_settings(&[]));
    let proxy = Proxy::to(root.address());
    proxy.set(Mode::Refuse);
    let peer = start(peer_settings(&[proxy.address]));
    let below = Recorder::join(&peer, "below", 2);
    let _one = welcomed(stranger(&peer, 1, &["a", "b"]));
    let _two = welcomed(stranger(&peer, 2, &["b", "c"]));
    texts(&below, 3);
    proxy.set(Mode::Pass);
    wait_for_link(&peer);
    let all = count(&["a", "b", "c"].map(str::to_owned));
    expect_history(&root, 90, &all);
    below.expect(&all);
}

/// Late frames that are none end the link, and nothing of them is passed on.
#[test]
fn bad_late_frames_end_the_link() {
    let root = start(peer_settings(&[]));
    let above = Recorder::join(&root, "above", 1);
    let mut below = welcomed(stranger(&root, 7, &[]));
    let mut forged = somebody("forged").to_vec();
    forged[8..16].copy_from_slice(&link_id(7).to_be_bytes());
    below.stream.write_all(&forged).unwrap();
    below.assert_closed();
    assert!(above.got().is_empty());
    wait_until("it is counted", || root.stats().protocol_errors == 1);
}

/// However much a server brings, others on the shard have their turn while it is published.
#[test]
fn others_have_their_turn_while_a_large_history_is_merged() {
    const FRAMES: u64 = 40_000;
    let broker = start(mles::Settings {
        shards: Some(1),
        ..settings()
    });
    let mut members: Vec<_> = (0..20)
        .map(|n| Client::join_and_wait(&broker, &format!("member {n}"), "room"))
        .collect();
    let (mut ping, mut pong) = (
        Client::join_and_wait(&broker, "ping", "elsewhere"),
        Client::join_and_wait(&broker, "pong", "elsewhere"),
    );
    let mut below = open(&broker, "below");
    below.nested = (0..FRAMES)
        .map(|n| NestedFrame {
            frame: frame("somebody", "room", &format!("{n} {}", "x".repeat(100))),
            seq: None,
        })
        .collect();
    let before = broker.stats().frames_in;
    let over = AtomicBool::new(false);
    let between = std::thread::scope(|scope| {
        for member in &mut members {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let _read = member.take_raw(1);
                    while member.take_raw(1 << 16).is_some() {}
                }
            });
        }
        let below = below.join();
        let merged = |pings: u64| broker.stats().frames_in - before - pings;
        let (mut pings, mut between) = (0, 0);
        wait_until("it is merged", || {
            let is_midway = (1..FRAMES).contains(&merged(pings));
            ping.send(b"ping");
            pings += 1;
            assert_eq!(pong.text(), "ping");
            between += u64::from(is_midway && merged(pings) < FRAMES);
            merged(pings) == FRAMES
        });
        over.store(true, Ordering::Release);
        drop(below);
        between
    });
    assert!(between >= 3, "{between} messages passed meanwhile");
}
