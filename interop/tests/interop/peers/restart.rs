//! Servers that are killed and start again, empty: those below give them the history back, and no
//! member of one of our servers that stayed gets anything twice.

use mles_utils::Msg;

use super::{CHANNEL, Chain, Ours, Reference, at_once, join, messages_until, tell_all};
use crate::support::{Secrets, Server, ServerKind, ServerSpec, Session, large_text};

/// Members tell one another `rounds` messages in turn; returns them.
fn talk(members: &mut [Session], rounds: usize, about: &str) -> Vec<String> {
    let texts: Vec<_> = (0..rounds).map(|n| format!("{about} {n}")).collect();
    for (n, text) in texts.iter().enumerate() {
        tell_all(members, n % members.len(), text);
    }
    texts
}

/// Waits until the root, which has been started again, has its history back from the server below,
/// whose link was up `links` times by then.
fn wait_for_resync(root: &Server, below: &Server, links: usize) {
    match root.kind() {
        // It would not store what comes after somebody has joined.
        Reference => root.wait_for_first_join(),
        Ours => below.wait_for_links(links),
    }
}

#[test]
fn a_root_gets_its_history_from_our_peer() {
    let secrets = [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS];
    let with = |root| secrets.map(|secrets| (root, secrets));
    at_once(
        &[with(Ours), with(Reference)].concat(),
        |(root, secrets)| {
            let mut chain = Chain::start(&[root, Ours], secrets);
            let mut members = chain.members("hello");
            let mut sent = vec!["hello".to_owned()];
            sent.extend(talk(&mut members, 20, "with a link"));

            chain.root().kill();
            let mut members = [members.remove(1), join(&chain.0[1], "beside")];
            // Local members get the history as ever.
            assert_eq!(messages_until(&mut members[1], sent.last().unwrap()), sent);
            sent.extend(talk(&mut members, 10, "without"));

            chain.root().start_again();
            let [root, peer] = &chain.0[..] else {
                unreachable!()
            };
            wait_for_resync(root, peer, 2);
            let mut late = join(root, "late");
            assert_eq!(messages_until(&mut late, "without 9"), sent);
            // These got nothing since, or it would come first.
            let mut members: Vec<_> = members.into_iter().chain([late]).collect();
            sent.extend(talk(&mut members, 10, "with a link again"));
            for (level, server) in chain.0.iter().enumerate() {
                let mut later = join(server, &format!("later {level}"));
                assert_eq!(messages_until(&mut later, sent.last().unwrap()), sent);
            }
        },
    );
}

/// Unless names are checked, a member can send what no server of ours takes in a resync.
#[test]
fn frames_that_are_no_messages_of_the_channel_hold_nothing_up() {
    at_once(&[Ours, Reference], |root| {
        let mut chain = Chain::start(&[root, Ours], Secrets::SHARED);
        let mut members = chain.members("hello");
        let other = |uid: &str, channel: &str| {
            let message = b"in the way".to_vec();
            Msg::new(uid.to_owned(), channel.to_owned(), message).encode()
        };
        members[1].send_body(b"\xff no message".to_vec());
        members[1].send_body(other("member 1", "another channel"));
        members[1].send_body(other(&"x".repeat(1000), CHANNEL));
        members[1].send("after");
        members[0].texts_until("after");
        chain.root().restart();
        wait_for_resync(&chain.0[0], &chain.0[1], 2);
        let mut late = join(&chain.0[0], "late");
        let mut messages = messages_until(&mut late, "after");
        messages.retain(|text| text != "in the way");
        assert_eq!(messages, ["hello", "after"]);
    });
}

/// The server in the middle hands down nothing that is known below.
#[test]
fn a_root_of_two_levels_gets_its_history() {
    let mixes = [
        [Ours, Ours, Ours],
        [Ours, Ours, Reference],
        [Reference, Ours, Ours],
        [Reference, Ours, Reference],
    ];
    at_once(&mixes, |mix| {
        let mut chain = Chain::start(&mix, Secrets::SHARED);
        let mut members = chain.members("hello");
        let mut sent = vec!["hello".to_owned()];
        sent.extend(talk(&mut members, 20, "with a link"));
        chain.root().kill();
        members.remove(0);
        sent.extend(talk(&mut members, 10, "without"));
        chain.root().start_again();
        wait_for_resync(&chain.0[0], &chain.0[1], 2);
        let mut late = join(&chain.0[0], "late");
        assert_eq!(messages_until(&mut late, "without 9"), sent);
        members.push(late);
        talk(&mut members, 10, "with a link again");
    });
}

/// What the server in the middle had comes back from both sides, and goes to neither again. A
/// reference root sends it to its members all the same.
#[test]
fn a_server_in_the_middle_gets_its_history() {
    let mixes = [
        [Ours, Ours, Ours],
        [Ours, Reference, Ours],
        [Reference, Ours, Ours],
        [Reference, Reference, Ours],
    ];
    at_once(&mixes, |mix| {
        let mut chain = Chain::start(&mix, Secrets::SHARED);
        let mut members = chain.members("hello");
        let mut sent = vec!["hello".to_owned()];
        sent.extend(talk(&mut members, 20, "before"));
        members.remove(1);
        chain.0[1].restart();
        chain.0[2].wait_for_links(2);
        let [above, below] = &mut members[..] else {
            unreachable!()
        };
        above.send("all links are up");
        sent.push("all links are up".to_owned());
        assert_eq!(below.receive_message().text(), "all links are up");
        below.send("both ways");
        sent.push("both ways".to_owned());
        let above_got = messages_until(above, "both ways");
        if mix[0] == Ours {
            assert_eq!(above_got, ["both ways"]);
        }
        let mut late = join(&chain.0[1], "late");
        assert_eq!(messages_until(&mut late, "both ways"), sent);
        members.push(late);
        talk(&mut members, 10, "after");
    });
}

/// One that is too large is cut down to the newest frames; a reference peer would send none.
#[test]
fn the_newest_of_a_large_history_come_back() {
    const LEN: usize = 1_600_000;
    at_once(&[Ours, Reference], |root| {
        let mut chain = Chain::start(&[root, Ours], Secrets::SHARED);
        let mut members = chain.members("hello");
        let text = |n| format!("{n}: {}", large_text(LEN));
        for n in 0..12 {
            tell_all(&mut members, 1, &text(n));
        }
        chain.root().restart();
        wait_for_resync(&chain.0[0], &chain.0[1], 2);
        let mut late = join(&chain.0[0], "late");
        // As many as fit into 0xFFFFFF bytes.
        for n in 2..12 {
            assert!(late.receive_message().text() == text(n), "not message {n}");
        }
        members[0] = late;
        talk(&mut members, 4, "after");
    });
}

/// What comes before the root is there gets there with our peer; the reference's loses it.
#[test]
fn a_peer_waits_for_its_root() {
    let mixes = [
        (Ours, Ours),
        (Ours, Reference),
        (Reference, Ours),
        (Reference, Reference),
    ];
    at_once(&mixes, |(root, peer)| {
        let root = ServerSpec::new(root)
            .secrets(Secrets::SHARED)
            .standard_port();
        let peer = ServerSpec::new(peer)
            .secrets(Secrets::SHARED)
            .peer(root.address())
            .start();
        let mut below = join(&peer, "below");
        if peer.kind() == Ours {
            below.send("without a root");
            let mut beside = join(&peer, "beside");
            assert_eq!(beside.receive_message().text(), "without a root");
        }
        let root = root.start();
        peer.wait_for_links(1);
        let mut above = join(&root, "above");
        if peer.kind() == Ours {
            assert_eq!(above.receive_message().text(), "without a root");
        }
        above.send("from above");
        assert_eq!(below.receive_message().text(), "from above");
        below.send("from below");
        assert_eq!(above.receive_message().text(), "from below");
    });
}

on_each_server!(
    a_resync_of_a_reference_peer_fills_a_new_channel,
    a_resync_of_a_reference_peer_meets_a_history,
);

/// A session that sends what a reference peer would if it ever connected again, and its history:
/// its first frame is in it twice, and has the key of the first connection.
fn resyncing(root: &Server, texts: &[String]) -> Session {
    // Not that of the frames: the session that sent them may not have ended yet.
    const CID: u32 = 0x0BAD_CAFE;
    let mut first = Session::connect(root.address(), root.secrets(), "below", CHANNEL);
    let frames: Vec<_> = texts.iter().map(|text| first.frame(text)).collect();
    first.set_cid(CID);
    let join = first.frame("");
    let history = [join.clone(), join].into_iter().chain(frames).collect();
    let mut second = Session::connect(root.address(), root.secrets(), "below", CHANNEL);
    second.set_cid(CID);
    second.send_resync(&history);
    second
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("message {n}")).collect()
}

/// The reference refuses it when keys go by the address.
fn a_resync_of_a_reference_peer_fills_a_new_channel(kind: ServerKind) {
    let secrets: &[Secrets] = match kind {
        Ours => &[Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS],
        Reference => &[Secrets::SHARED],
    };
    for &secrets in secrets {
        let root = ServerSpec::new(kind).secrets(secrets).start();
        let sent = numbered(0..50);
        let mut peer = resyncing(&root, &sent);
        if kind == Reference {
            root.wait_for_first_join();
        }
        let mut late = join(&root, "late");
        assert_eq!(messages_until(&mut late, "message 49"), sent, "{secrets:?}");
        late.send("down");
        assert_eq!(peer.receive_message().text(), "down");
        peer.send("up");
        assert_eq!(late.receive_message().text(), "up");
    }
}

/// Each side of ours gets what is new to it. With the reference the members get all again, the
/// peer gets the whole history, and what is new is not stored.
fn a_resync_of_a_reference_peer_meets_a_history(kind: ServerKind) {
    let root = ServerSpec::new(kind).secrets(Secrets::SHARED).start();
    let mut above = join(&root, "above");
    let mut before = Session::connect(root.address(), Secrets::SHARED, "below", CHANNEL);
    for text in numbered(0..10) {
        before.send(&text);
    }
    assert_eq!(messages_until(&mut above, "message 9"), numbered(0..10));
    drop(before);
    let mut peer = resyncing(&root, &numbered(0..15));
    let (above_gets, peer_gets, late_gets) = match kind {
        Ours => (numbered(10..15), numbered(0..0), numbered(0..15)),
        Reference => (numbered(0..15), numbered(0..10), numbered(0..10)),
    };
    assert_eq!(messages_until(&mut above, "message 14"), above_gets);
    above.send("end");
    let mut late = join(&root, "late");
    for (member, gets) in [(&mut peer, peer_gets), (&mut late, late_gets)] {
        let mut got = messages_until(member, "end");
        got.pop();
        assert_eq!(got, gets);
    }
}
