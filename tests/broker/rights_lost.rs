//! What becomes of sessions that lose a right in a reload, or get it back: each right, over all transports.

use mles::protocol::{Notice, ResumeRequest};
use mles::{DeniedPublish, Permissions};

use crate::common::Client;
use crate::common::asker::{Asker, Event};
use crate::common::events::Events;
use crate::common::transports::Transport;
use crate::rights_session::{
    EVERYTHING, HISTORY, NO_PUBLISH, PRESENCE, PUBLISH, ROOT, SUBSCRIBE, World, asker, keyring,
    secret, since, world,
};

const NOTHING_LEFT: &str = "no publish or subscribe right in this channel";

/// Publishes as root, and waits until the other member has it, and with that everybody.
fn say((root, other): &mut (Client, Client), text: &str) {
    root.send(text.as_bytes());
    assert_eq!(other.text(), text);
}

#[test]
fn a_session_stays_without_a_right_as_long_as_another_is_of_use() {
    for shards in [1, 2] {
        for lost in [PUBLISH, SUBSCRIBE, HISTORY, PRESENCE] {
            let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
            let mut rooms = Transport::ALL.map(|transport| {
                let channel = format!("{transport:?}");
                let mut root = world.channel(&channel);
                let mut member = world.join(transport, &channel);
                assert_eq!(member.texts(1), ["old"]);
                say(&mut root, "before");
                assert_eq!(member.texts(1), ["before"]);
                (root, member)
            });
            assert_eq!(world.allow(EVERYTHING.without(lost)), 0);
            for (transport, (root, member)) in Transport::ALL.into_iter().zip(&mut rooms) {
                eprintln!("{shards} {lost} {transport:?}");
                say(root, "after");
                if lost == SUBSCRIBE {
                    member.assert_silent();
                } else {
                    assert_eq!(member.texts(1), ["after"]);
                }
                member.publish("mine");
                if lost == PUBLISH {
                    member.assert_ended(NO_PUBLISH);
                } else {
                    assert_eq!(
                        (root.0.text(), root.1.text()),
                        ("mine".into(), "mine".into())
                    );
                }
            }
            assert_eq!(world.broker.stats().rights_lost, 0);
            if lost != SUBSCRIBE {
                continue;
            }
            // It is given back: what was published meanwhile is missing, what comes is not.
            assert_eq!(world.allow(EVERYTHING), 0);
            for (root, member) in &mut rooms {
                say(root, "again");
                assert_eq!(member.texts(1), ["again"]);
            }
        }
    }
}

#[test]
fn a_session_that_may_do_nothing_any_more_ends() {
    for shards in [1, 2] {
        let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
        let mut members = Transport::ALL.map(|transport| {
            let channel = format!("{transport:?}");
            (world.channel(&channel), world.join(transport, &channel))
        });
        let left = HISTORY.with(PRESENCE);
        assert_eq!(world.allow(left), members.len() as u64);
        for (root, member) in &mut members {
            assert_eq!(member.texts(1), ["old"]);
            member.assert_ended(NOTHING_LEFT);
            say(root, "after");
        }
        assert_eq!(world.broker.stats().rights_lost, members.len() as u64);
    }
}

#[test]
fn who_reads_notices_is_told_what_it_may_do_and_counts_on() {
    for shards in [1, 2] {
        let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
        let channels = ["a", "b", "c", "d"];
        let mut rooms = channels.map(|channel| {
            let mut root = world.channel(channel);
            let mut member = asker(&world, "tried", channel, since(None));
            assert_eq!(member.message().1, "old");
            say(&mut root, "one");
            assert_eq!(member.message(), (2, "one".to_owned()));
            (root, member)
        });
        assert_eq!(world.allow(PUBLISH), 0);
        for (root, member) in &mut rooms {
            assert_eq!(member.rights(), "publish");
            say(root, "two");
            say(root, "three");
            member.send(b"mine");
            assert_eq!(
                (root.0.text(), root.1.text()),
                ("mine".into(), "mine".into())
            );
            assert_eq!(member.left_out_before_receipt(1), 2);
            assert_eq!(member.position.offset, 5);
            say(root, "six");
        }
        assert_eq!(world.allow(SUBSCRIBE), 0);
        for (root, member) in &mut rooms {
            let missed = Event::Gap {
                missed: 1,
                members: false,
            };
            assert_eq!(member.next(), missed);
            assert_eq!(member.rights(), "subscribe");
            say(root, "seven");
            assert_eq!(member.message(), (7, "seven".to_owned()));
            // It was told that it must not.
            member.send(b"denied");
            assert_eq!(member.next(), Event::Close(4403, NO_PUBLISH.to_owned()));
            member.client.assert_closed();
        }
    }
}

#[test]
fn a_join_that_is_refused_is_told_why_to_who_reads_notices() {
    for shards in [1, 2] {
        let world = world(shards, SUBSCRIBE, DeniedPublish::Disconnect);
        let refused = |name: &str, channel: &str, message: &[u8]| {
            let stream = Client::connect(&world.broker);
            let keyring = keyring(name);
            let client = Client::on(stream, &keyring, "tried", channel, None);
            Asker::refused(client, message, since(None))
        };
        for i in 0..4 {
            let channel = format!("c{i}");
            let (code, reason) = refused("tried", &channel, b"hello");
            assert_eq!((code, &*reason), (4403, NO_PUBLISH));
            let (code, reason) = refused("unknown", &channel, b"");
            let wrong = format!("wrong key for uid tried and channel {channel}");
            assert_eq!((code, reason), (4401, wrong));
        }
        world.allow(HISTORY);
        let (code, reason) = refused("tried", "room", b"");
        assert_eq!((code, &*reason), (4403, NOTHING_LEFT));
    }
}

const WATCHING: ResumeRequest = ResumeRequest {
    since: None,
    publisher: None,
    members: Some(10),
};

/// A session that watches who is there, and has the list.
fn watcher(world: &World, channel: &str) -> Asker {
    has_list(asker(world, "tried", channel, WATCHING))
}

/// Like [`watcher`], with all rights.
fn root_watcher(world: &World, channel: &str) -> Asker {
    let stream = Client::connect(&world.broker);
    let client = Client::on(stream, &keyring(ROOT), "watches", channel, None);
    has_list(Asker::on(client, b"", WATCHING))
}

fn has_list(mut watcher: Asker) -> Asker {
    assert_eq!(watcher.message().1, "old");
    let event = watcher.next();
    assert!(
        matches!(event, Event::Members(Notice::Members { .. })),
        "{event:?}"
    );
    watcher
}

#[test]
fn who_watches_is_told_nothing_more_without_the_right() {
    for shards in [1, 2] {
        let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
        let mut rooms = ["a", "b", "c", "d"].map(|channel| {
            let root = world.channel(channel);
            let watcher = watcher(&world, channel);
            (channel, root, watcher)
        });
        assert_eq!(world.allow(EVERYTHING.without(PRESENCE)), 0);
        for (channel, root, watcher) in &mut rooms {
            assert_eq!(watcher.rights(), "publish subscribe history");
            // Whoever watches with the right is told first that a member has come, and then that it has left.
            let mut witness = root_watcher(&world, channel);
            let comes = world.root("comes", channel);
            let is_comes = |uids: &[Box<str>]| uids.iter().any(|uid| **uid == *"comes");
            wait_for_change(&mut witness, |joined, _| is_comes(joined));
            say(root, "live");
            assert_eq!(watcher.message(), (2, "live".to_owned()));
            drop(comes);
            wait_for_change(&mut witness, |_, left| is_comes(left));
            say(root, "still");
            assert_eq!(watcher.message(), (3, "still".to_owned()));
        }
        // Who may do nothing but watch is of use as well.
        let mut only = world_of_watchers(shards);
        assert_eq!(only.0.allow(PRESENCE), 0);
        assert_eq!(only.1.rights(), "presence");
        let _comes = only.0.root("comes", "room");
        loop {
            if let Event::Members(Notice::Changes { joined, .. }) = only.1.next() {
                assert_eq!(joined, ["comes".into()]);
                break;
            }
        }
        assert_eq!(only.0.allow(HISTORY), 1);
        let reason = NOTHING_LEFT.to_owned();
        assert_eq!(only.1.next(), Event::Close(4403, reason));
    }
}

/// Waits until a watcher is told of such uids that have joined and left.
fn wait_for_change(watcher: &mut Asker, is_wanted: impl Fn(&[Box<str>], &[Box<str>]) -> bool) {
    loop {
        if let Event::Members(Notice::Changes { joined, left, .. }) = watcher.next()
            && is_wanted(&joined, &left)
        {
            return;
        }
    }
}

fn world_of_watchers(shards: usize) -> (World, Asker, (Client, Client)) {
    let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
    let root = world.channel("room");
    let watcher = watcher(&world, "room");
    (world, watcher, root)
}

#[test]
fn event_streams_end_without_the_right_to_subscribe_and_keep_to_the_others() {
    for shards in [1, 2] {
        let world = world(shards, EVERYTHING, DeniedPublish::Disconnect);
        let mut root = world.channel("room");
        let bearer = format!("Authorization: Bearer {}\r\n", secret("tried"));
        let mut events = Events::open(world.web(), "/channels/room/events?members=9", &bearer);
        events.data("welcome");
        assert_eq!(events.text(), "old");
        events.data("members");
        assert_eq!(world.allow(EVERYTHING.without(PRESENCE)), 0);
        let allowed = &events.data("rights")["allowed"];
        assert_eq!(
            *allowed,
            serde_json::json!(["publish", "subscribe", "history"])
        );
        say(&mut root, "live");
        assert_eq!(events.text(), "live");
        assert_eq!(world.allow(Permissions::NONE.with(PUBLISH)), 1);
        let reason = &events.data("close")["reason"];
        assert_eq!(reason, "no subscribe right in this channel");
        events.assert_end();
    }
}
