//! Servers that are linked in a ring: each frame reaches each member once, nothing goes round, and
//! the servers say what is wrong.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use mles::protocol::{Cid, FrameHeader, HEADER_LEN, Keyring, resync_link};
use mles::{Broker, LinkState};

use crate::common::{Client, PATIENCE, SILENCE, free_address, wait_until};
use crate::linked_servers::{
    CHANNEL, Counts, Publisher, Recorder, all_sent, expect_history, link, peer_settings, start_at,
    state, wait_for_link,
};

/// Servers each of which has the next as its upstream, and the last the first.
fn ring(count: usize, cid: Option<Cid>) -> Vec<Broker> {
    let addresses: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
    let server = |at: usize| {
        let mut settings = peer_settings(&[addresses[(at + 1) % count]]);
        settings.peer.cid = cid;
        start_at(addresses[at], settings)
    };
    (0..count).map(server).collect()
}

/// All links but one are up, and that one is left out.
fn is_settled(servers: &[Broker]) -> bool {
    let states: Vec<_> = servers.iter().filter_map(state).collect();
    let is = |wanted: LinkState| states.iter().filter(|state| **state == wanted).count();
    states.len() == servers.len()
        && is(LinkState::Up) == servers.len() - 1
        && is(LinkState::Loop) == 1
}

fn settle(servers: &[Broker]) {
    let deadline = Instant::now() + PATIENCE;
    while !is_settled(servers) {
        let links: Vec<_> = servers.iter().flat_map(Broker::links).collect();
        assert!(
            Instant::now() < deadline,
            "one link is left out: {links:#?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn frames_in(servers: &[Broker]) -> u64 {
    servers.iter().map(|server| server.stats().frames_in).sum()
}

fn check_ring(count: usize, cid: Option<Cid>) {
    let servers = ring(count, cid);
    let numbered = || servers.iter().zip((10..).step_by(10));
    let recorders = numbered().map(|(s, n)| Recorder::join(s, &format!("r{n}"), n));
    let recorders: Vec<_> = recorders.collect();
    let publishers = numbered().map(|(s, n)| Publisher::join(s, &format!("p{n}"), n + 1));
    let mut publishers: Vec<_> = publishers.collect();
    settle(&servers);
    for _ in 0..20 {
        publishers.iter_mut().for_each(Publisher::publish);
    }
    let sent = all_sent(&publishers);
    recorders.iter().for_each(|recorder| recorder.expect(&sent));
    for (number, server) in (90..).zip(&servers) {
        expect_history(server, number, &sent);
    }
    // What goes round never comes to rest.
    wait_until("nothing goes round", || {
        let before = frames_in(&servers);
        std::thread::sleep(2 * SILENCE);
        frames_in(&servers) == before
    });
    let failure = servers
        .iter()
        .filter_map(link)
        .find_map(|link| link.last_failure);
    let failure = failure.unwrap();
    assert!(
        failure.contains("ring") || failure.contains("loop"),
        "{failure}"
    );
}

/// A v1 server above, played by the test: it says nothing by itself.
struct Above {
    peer: Broker,
    _first: Client,
    /// The peer's link.
    link: Client,
    /// Names the link; a secret of the two servers.
    id: u64,
}

impl Above {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut settings = peer_settings(&[listener.local_addr().unwrap()]);
        settings.peer.linger = PATIENCE;
        let peer = start_at(free_address(), settings);
        let first = Client::join_and_wait(&peer, "first", CHANNEL);
        let (stream, _) = listener.accept().unwrap();
        let mut link = Client::on(stream, &Keyring::default(), "above", CHANNEL, None);
        let opening = link.try_receive_raw(PATIENCE).unwrap().unwrap();
        let id = resync_link(&opening[HEADER_LEN..]).unwrap().id;
        wait_for_link(&peer);
        Self {
            peer,
            _first: first,
            link,
            id,
        }
    }

    /// The next frame that the peer sends up with an empty message.
    fn hint(&mut self) -> Vec<u8> {
        loop {
            let received = self.link.receive();
            if received.message.is_empty() {
                return received.raw;
            }
        }
    }

    /// Has the peer suspect a ring: what it has sent up comes down. Returns the probe it sends.
    fn suspected(&mut self, member: &mut Client) -> Vec<u8> {
        let _joined = self.hint();
        member.send(b"echo");
        let echo = self.link.receive_message().raw;
        self.link.stream.write_all(&echo).unwrap();
        self.hint()
    }
}

fn key_of(frame: &[u8]) -> u64 {
    FrameHeader::decode(frame).unwrap().unwrap().key.0
}

/// Members see all that is passed on, so a probe must show nothing that is good for anything else, and
/// nobody on one server alone can bring it back.
#[test]
fn one_frame_does_not_cut_a_link() {
    let mut above = Above::new();
    let mut witness = Client::join_and_wait(&above.peer, "witness", CHANNEL);
    let _joined = above.hint();
    let mut member = Client::join_and_wait(&above.peer, "member", CHANNEL);
    let probe = above.suspected(&mut member);
    assert_ne!(key_of(&probe), above.id, "the secret stays a secret");

    // From above it has no effect, and members are not shown what they could bring back.
    above.link.stream.write_all(&probe).unwrap();
    // Known, but not in time; or never sent; or the secret itself.
    let forged = |key: u64| {
        let mut frame = probe.clone();
        frame[8..16].copy_from_slice(&key.to_be_bytes());
        frame
    };
    member.stream.write_all(&forged(above.id)).unwrap();
    member.stream.write_all(&forged(1)).unwrap();
    // Who is on both servers can bring it back. Once is not enough, and the same again is nothing.
    for _ in 0..10 {
        member.stream.write_all(&probe).unwrap();
    }
    let second = loop {
        let hint = above.hint();
        if ![above.id, 1].contains(&key_of(&hint)) {
            break hint;
        }
    };
    assert_ne!(
        key_of(&second),
        key_of(&probe),
        "each probe has a token of its own"
    );
    member.send(b"still linked");
    assert_eq!(above.link.text(), "still linked");
    assert_eq!(state(&above.peer), Some(LinkState::Up));
    let seen = std::iter::from_fn(|| {
        let frame = witness.receive();
        (frame.message != b"still linked").then_some(frame.raw)
    });
    let seen: Vec<_> = seen.collect();
    assert!(!seen.contains(&probe) && !seen.contains(&second));
}

/// What goes up comes back from below, whatever it is.
#[test]
fn a_true_ring_is_cut() {
    let mut above = Above::new();
    let mut member = Client::join_and_wait(&above.peer, "member", CHANNEL);
    let mut below = Client::join_and_wait(&above.peer, "v1 server", CHANNEL);
    let _joined = above.hint();
    let probe = above.suspected(&mut member);
    below.stream.write_all(&probe).unwrap();
    while let Ok(Some(frame)) = above.link.try_receive_raw(PATIENCE) {
        below.stream.write_all(&frame).unwrap();
    }
    wait_until("the link is given up", || {
        state(&above.peer) == Some(LinkState::Loop)
    });
}

#[test]
fn a_server_that_is_its_own_upstream() {
    check_ring(1, None);
    check_ring(1, Some(Cid(7)));
}

#[test]
fn two_servers_that_have_each_other_as_upstream() {
    check_ring(2, None);
    check_ring(2, Some(Cid(7)));
}

#[test]
fn three_servers_in_a_ring() {
    check_ring(3, None);
    check_ring(3, Some(Cid(7)));
}

#[test]
fn a_long_ring() {
    check_ring(6, None);
}

/// The ring is cut at one place. When a server is lost elsewhere, the rest links up again.
#[test]
fn a_ring_stays_connected_when_a_server_is_lost() {
    let mut servers = ring(4, None);
    let _members: Vec<_> = (1..)
        .zip(&servers)
        .map(|(n, s)| Recorder::join(s, "m", n))
        .collect();
    settle(&servers);
    let cut = servers
        .iter()
        .position(|s| state(s) == Some(LinkState::Loop))
        .unwrap();
    // Not one whose own link is the one left out, nor the one which that link would go to.
    let lost = (cut + 2) % 4;
    drop(servers.remove(lost));
    let first = lost % 3;
    wait_until("the other three are in one line", || {
        let up = servers.iter().filter(|s| state(s) == Some(LinkState::Up));
        up.count() == 2
    });
    let last = (first + 2) % 3;
    let recorder = Recorder::join(&servers[last], "end", 70);
    let mut publisher = Publisher::join(&servers[first], "start", 71);
    publisher.publish();
    let sent: Counts = all_sent([&publisher]);
    recorder.expect(&sent);
}

/// Of a group with one static id only one server links up for a channel; the other stands by, and
/// takes over when the first is gone.
#[test]
fn a_group_with_one_static_id_has_one_link_for_each_channel() {
    let root = start_at(free_address(), peer_settings(&[]));
    let mut settings = peer_settings(root.local_addrs());
    settings.peer.cid = Some(Cid(7));
    let servers = [0, 1].map(|_| start_at(free_address(), settings.clone()));
    let _members = [1, 2].map(|n| Recorder::join(&servers[n as usize - 1], "m", n));
    wait_until("one is linked and one is refused", || {
        let states: Vec<_> = servers.iter().filter_map(state).collect();
        states.contains(&LinkState::Up) && states.contains(&LinkState::Refused)
    });
    let [first, second] = servers;
    let (linked, standby) = if state(&first) == Some(LinkState::Up) {
        (first, second)
    } else {
        (second, first)
    };
    let failure = link(&standby).unwrap().last_failure.unwrap();
    assert!(failure.contains("connection id"), "{failure}");
    drop(linked);
    wait_until("the other takes over", || {
        state(&standby) == Some(LinkState::Up)
    });
}
