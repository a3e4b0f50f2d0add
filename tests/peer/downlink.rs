//! Links from servers below: how they come and go, what passes over them, and who is told why not.

use std::io::Write as _;

use bytes::Bytes;
use mles::protocol::{Cid, Keyring, LinkNotice, LinkRefusal, NestedFrame};
use mles::{Broker, NameCheck, Settings};

use crate::common::{Client, Received, assert_closes, settings, start, wait_until};
use crate::downstream::{Below, frame, notice, open};

/// Joins, and reads the welcome: how much is replayed, and who is above.
fn welcomed(below: Below) -> (Client, u64, Vec<u64>) {
    let mut client = below.join();
    match notice(&mut client) {
        LinkNotice::Welcome { replay, path, .. } => (client, replay, path),
        other => panic!("{other:?} instead of a welcome"),
    }
}

/// A server whose links all have this connection id.
fn with_cid(broker: &Broker, cid: u32) -> Below {
    let mut below = open(broker, "below").says(0);
    below.client.cid = Cid(cid);
    below
}

fn refusal(below: Below) -> LinkRefusal {
    let mut client = below.join();
    let refusal = match notice(&mut client) {
        LinkNotice::Refused(refusal) => refusal,
        other => panic!("{other:?} instead of a refusal"),
    };
    assert_closes(&mut client.stream);
    refusal
}

fn texts(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.text()).collect()
}

#[test]
fn a_link_that_ends_leaves_nothing_behind() {
    let broker = start(settings());
    for round in 1..=20 {
        // With nothing left to read, closing is no reset.
        let (mut below, ..) = welcomed(with_cid(&broker, 7));
        below.finish();
        wait_until("its end is seen", || broker.stats().left == round);
    }
    wait_until("its connections are closed", || {
        broker.stats().connections == 0
    });
}

/// The network failed, and nothing tells the broker that the session before is over.
#[test]
fn a_link_that_comes_again_takes_the_place_of_its_session_before() {
    for cids in [[7, 7, 7], [7, 8, 9]] {
        let broker = start(settings());
        let mut member = Client::join_and_wait(&broker, "member", "room");
        let mut before: Option<Client> = None;
        for (round, cid) in (1..).zip(cids) {
            let mut below = with_cid(&broker, cid).says(round);
            below = below.has(&[("from below", Some(round))]);
            let (below, replay, _) = welcomed(below);
            assert_eq!(replay, 0, "all of the history is its own");
            assert_eq!(member.text(), "from below");
            if let Some(mut before) = before.replace(below) {
                before.assert_closed();
            }
        }
        assert_eq!((broker.stats().replaced, broker.stats().refused), (2, 0));
        member.send(b"to below");
        let mut last = before.unwrap();
        assert_eq!(last.text(), "to below");
        member.assert_silent();
        wait_until("only they are left", || broker.stats().connections == 2);
    }
}

/// What a session has sent may come later than its successor, over a network that loses packets.
#[test]
fn a_session_that_comes_after_its_successor_changes_nothing() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let history = [("a", Some(1)), ("b", Some(2))];
    let (mut later, ..) = welcomed(with_cid(&broker, 7).says(2).has(&history));
    let mut earlier = with_cid(&broker, 8).says(1).has(&history[..1]).join();
    assert_closes(&mut earlier.stream);
    wait_until("it is counted", || broker.stats().refused == 1);
    later.send(b"c");
    assert_eq!(texts(&mut member, 3), ["a", "b", "c"]);
    member.send(b"down");
    assert_eq!(later.text(), "down");
}

/// The successor has brought what followed the earlier session's first frame, and is over as well.
#[test]
fn a_session_that_comes_after_its_successor_has_ended_changes_nothing() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let history = [("a", Some(1)), ("b", Some(2))];
    let (mut later, ..) = welcomed(with_cid(&broker, 7).says(2).has(&history));
    later.finish();
    wait_until("its end is seen", || broker.stats().left == 1);
    let earlier = with_cid(&broker, 8).says(1).has(&history[..1]);
    let mut stream = earlier.client.stream.try_clone().unwrap();
    let all = [
        &earlier.resync(earlier.client.key)[..],
        &frame("somebody", "room", "b"),
    ];
    stream.write_all(&all.concat()).unwrap();
    wait_until("it is refused", || broker.stats().refused == 1);
    assert_eq!(texts(&mut member, 2), ["a", "b"]);
    member.assert_silent();
}

#[test]
fn another_link_does_not_take_its_place() {
    let broker = start(settings());
    let (mut one, ..) = welcomed(with_cid(&broker, 7));
    let two = with_cid(&broker, 7).on_link(5);
    assert_eq!(refusal(two), LinkRefusal::Cid);
    // It was asked whether it is there.
    assert!(matches!(notice(&mut one), LinkNotice::Path(_)));
    let (mut three, ..) = welcomed(with_cid(&broker, 8).on_link(6));
    three.send(b"hello");
    assert_eq!(one.text(), "hello");
}

/// The server below was killed and has forgotten the link, and another member has come first.
#[test]
fn a_server_that_was_restarted_is_not_refused_for_its_old_link() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut below = welcomed(with_cid(&broker, 7)).0;
    for (round, uid) in (1..).zip(["below", "somebody", "below"]) {
        let accepted = broker.stats().accepted;
        let mut new = open(&broker, uid).says(0).on_link(round);
        new.client.cid = Cid(7);
        let mut new = new.join();
        wait_until("it is accepted", || broker.stats().accepted > accepted);
        below.reset();
        assert!(matches!(notice(&mut new), LinkNotice::Welcome { .. }));
        new.send(b"from below");
        assert_eq!(member.text(), "from below");
        below = new;
    }
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn two_links_bring_what_both_have_once() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let both = [("a", Some(1)), ("b", Some(2)), ("a", Some(3))];
    let (mut one, replay, _) = welcomed(with_cid(&broker, 1).says(3).has(&both));
    assert_eq!(replay, 0);
    let two = with_cid(&broker, 2).says(4).on_link(5).has(&both);
    let (mut two, replay, _) = welcomed(two.has(&[("c", Some(4))]));
    assert_eq!(replay, 0);
    assert_eq!(texts(&mut member, 4), ["a", "b", "a", "c"]);
    assert_eq!(one.text(), "c");
    let mut late = Client::join(&broker, "late", "room");
    assert_eq!(texts(&mut late, 4), ["a", "b", "a", "c"]);
    member.assert_silent();
    two.assert_silent();
}

#[test]
fn a_server_that_is_above_itself_is_refused_before_anything_is_merged() {
    let broker = start(settings());
    let (_witness, _, path) = welcomed(with_cid(&broker, 1));
    let mut ring = with_cid(&broker, 2).says(1).on_link(5);
    ring = ring.has(&[("round and round", Some(1))]);
    ring.hello.as_mut().unwrap().server = path[0];
    assert_eq!(refusal(ring), LinkRefusal::Loop);
    assert_eq!(broker.stats().resync_frames, 0);
    Client::join(&broker, "late", "room").assert_silent();
}

#[test]
fn a_server_is_told_which_limit_it_has_hit() {
    let mut settings = settings();
    settings.limits.max_channels = 1;
    settings.limits.max_uid = 16;
    let broker = start(settings);
    let mut holder = Client::join_and_wait(&broker, "holder", "elsewhere");
    assert_eq!(refusal(with_cid(&broker, 1)), LinkRefusal::Limit);

    let mut long = with_cid(&broker, 1);
    long.nested.push(NestedFrame {
        frame: frame(&"x".repeat(17), "room", "text"),
        seq: None,
    });
    assert_eq!(refusal(long), LinkRefusal::Limit);
    holder.assert_silent();
    assert_eq!(broker.stats().refused, 2);
}

/// Where every sender is checked nobody gets around that by claiming to be a server: not with a resync
/// of v1, and not with the hello of a link.
#[test]
fn no_server_is_let_in_below_one_that_checks_senders() {
    let mut settings = settings();
    settings.limits.check_names = NameCheck::Sender;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let link = with_cid(&broker, 1).says(1).has(&[("forged", Some(1))]);
    assert_eq!(refusal(link), LinkRefusal::Sender);
    let mut plain = open(&broker, "below").has(&[("forged", None)]).join();
    assert_closes(&mut plain.stream);
    assert_eq!(broker.stats().refused, 2);
    assert_eq!(broker.stats().resyncs, 0);
    // A server that sends a plain join is a client, and held to its own name.
    let mut server = Client::join_and_wait(&broker, "server", "room");
    server
        .stream
        .write_all(&frame("x", "room", "of x"))
        .unwrap();
    server.assert_closed();
    member.assert_silent();
}

/// A wrong key is told before anything else: strangers do not learn how a server is set.
#[test]
fn the_key_comes_before_the_check_of_senders() {
    let mut settings = settings();
    settings.limits.check_names = NameCheck::Sender;
    settings.keyring = Keyring::new(Some("secret".into()), None);
    let broker = start(settings);
    assert_eq!(refusal(with_cid(&broker, 1)), LinkRefusal::Key);
}

#[test]
fn a_server_is_told_that_its_resync_is_bad() {
    let broker = start(settings());
    let forgeries = [
        frame("x", "elsewhere", "of another channel"),
        Bytes::from_static(b"no frame"),
        Bytes::new(),
    ];
    for forged in forgeries {
        let mut below = with_cid(&broker, 1).has(&[("good", None)]);
        below.nested.push(NestedFrame {
            frame: forged,
            seq: None,
        });
        assert_eq!(refusal(below), LinkRefusal::Resync);
    }
    let numbered = with_cid(&broker, 1).has(&[("more than was sent", Some(1))]);
    assert_eq!(refusal(numbered), LinkRefusal::Resync);
    assert_eq!(broker.stats().channels, 0);
}

/// All members live on other shards than the channel, but for the link.
#[test]
fn members_on_every_shard_get_what_is_new_once() {
    let broker = start(Settings {
        shards: Some(3),
        spread_threshold: 0,
        ..settings()
    });
    let mut members: Vec<_> = (0..12)
        .map(|i| Client::join_and_wait(&broker, &format!("member {i}"), "room"))
        .collect();
    let history = [("a", Some(1)), ("a", Some(2)), ("b", Some(3))];
    let (mut below, ..) = welcomed(with_cid(&broker, 1).says(3).has(&history));
    below.send(b"live");
    for member in &mut members {
        assert_eq!(texts(member, 4), ["a", "a", "b", "live"]);
    }
    members[0].send(b"down");
    assert_eq!(below.text(), "down", "and nothing of its own before");
    for member in &mut members[1..] {
        assert_eq!(member.text(), "down");
        member.assert_silent();
    }
}

#[test]
fn frames_behind_the_resync_follow_it() {
    for shards in [1, 2] {
        let broker = start(Settings {
            shards: Some(shards),
            ..settings()
        });
        let mut member = Client::join_and_wait(&broker, "member", "room");
        let below = with_cid(&broker, 1).says(1).has(&[("first", Some(1))]);
        let (second, third) = (below.client.frame(b"second"), below.client.frame(b"third"));
        let mut all = below.resync(below.client.key);
        all.extend([&second[..], &third].concat());
        let (last, cut) = (all.split_off(all.len() - 5), all);
        let mut stream = below.client.stream.try_clone().unwrap();
        stream.write_all(&cut).unwrap();
        assert_eq!(texts(&mut member, 2), ["first", "second"]);
        stream.write_all(&last).unwrap();
        assert_eq!(member.text(), "third");
        // They were counted: the next number is the fourth.
        let again = [
            ("first", Some(1)),
            ("second", Some(2)),
            ("third", Some(3)),
            ("fourth", Some(4)),
        ];
        let (_below, ..) = welcomed(with_cid(&broker, 1).says(4).has(&again));
        assert_eq!(member.text(), "fourth");
        member.assert_silent();
    }
}

#[test]
fn a_large_history_comes_whole_and_in_order() {
    let mut settings = settings();
    settings.channels.default.history_frames = 10_000;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let payloads: Vec<_> = (0..2000)
        .map(|n| {
            format!(
                "{n} {}",
                "x".repeat(if n % 500 == 7 { 200_000 } else { n % 100 })
            )
        })
        .collect();
    let history: Vec<_> = payloads.iter().map(|text| (&text[..], None)).collect();
    let (mut below, ..) = welcomed(with_cid(&broker, 1).has(&history));
    assert_eq!(texts(&mut member, payloads.len()), payloads);
    let mut late = Client::join(&broker, "late", "room");
    assert_eq!(texts(&mut late, payloads.len()), payloads);
    member.assert_silent();
    below.assert_silent();
}

#[test]
fn a_link_may_speak_for_many_users_but_for_one_channel_only() {
    let mut settings = settings();
    settings.limits.check_names = NameCheck::Channel;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let (mut below, ..) = welcomed(with_cid(&broker, 1));
    let frames = [frame("x", "room", "of x"), frame("y", "room", "of y")];
    below.stream.write_all(&frames.concat()).unwrap();
    let next = |member: &mut Client| {
        let Received { uid, message, .. } = member.receive_message();
        (uid, String::from_utf8(message).unwrap())
    };
    assert_eq!(next(&mut member), ("x".into(), "of x".into()));
    assert_eq!(next(&mut member), ("y".into(), "of y".into()));
    let elsewhere = frame("x", "elsewhere", "forged");
    below.stream.write_all(&elsewhere).unwrap();
    below.assert_closed();
    member.assert_silent();
    assert_eq!(broker.stats().protocol_errors, 1);
}
