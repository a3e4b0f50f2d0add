//! Frames, byte for byte: announcements, history, CIDs and half-closed sessions.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Secrets, Server, ServerKind, ServerSpec, Session};

on_each_server!(
    frames_arrive_as_they_were_sent,
    an_empty_join_is_announced,
    joining_amid_traffic_misses_and_doubles_nothing,
    history_holds_the_newest_frames,
    without_history_a_joiner_gets_live_frames_only,
    silent_joiners_and_the_history,
    a_cid_in_use_is_refused,
    one_uid_may_join_with_several_cids,
    a_cid_is_free_again_after_leaving,
    a_half_closed_session,
);

const CHANNEL: &str = "frames";

/// Between two tries of something that may have to wait for the server to notice a leaver.
const RETRY: Duration = Duration::from_millis(20);

fn join(server: &Server, uid: &str) -> Session {
    Session::join(server.address(), Secrets::NONE, uid, CHANNEL)
}

fn join_as(server: &Server, uid: &str, cid: u32) -> Session {
    Session::join_as(server.address(), Secrets::NONE, uid, CHANNEL, cid)
}

/// The first member of the channel to stay, and surely admitted: it has received a message that
/// reached it live or as history, whichever of the two joins came first.
fn first_member(server: &Server, uid: &str) -> Session {
    let mut seeder = Session::connect(server.address(), Secrets::NONE, "seeder", CHANNEL);
    seeder.send("seed");
    let mut member = join(server, uid);
    assert_eq!(member.receive_message().text(), "seed");
    member
}

/// A member whose admission `witness`, itself admitted, has seen announced.
fn next_member(server: &Server, uid: &str, witness: &mut Session) -> Session {
    let member = join(server, uid);
    assert_eq!(witness.receive().unwrap().uid, uid);
    member
}

fn frames_arrive_as_they_were_sent(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut receiver = first_member(&server, "receiver");
    let mut sender = Session::connect(server.address(), Secrets::NONE, "sender", CHANNEL);
    let mut sent = vec![sender.send("the join")];
    sent.push(sender.send(""));
    // Key and CID mean nothing after the join.
    sender.set_cid(0xDEAD_BEEF);
    sent.push(sender.send("with another CID"));
    sent.extend((0..100).map(|n| sender.send(&"x".repeat(n * n))));
    for frame in &sent {
        assert_eq!(receiver.receive().unwrap().bytes, *frame);
    }
}

fn an_empty_join_is_announced(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut first = first_member(&server, "first");
    let second = join(&server, "second");
    let announced = first.receive().unwrap();
    assert_eq!(
        (announced.uid.as_str(), announced.cid),
        ("second", second.cid())
    );
    assert!(announced.message.is_empty());
}

fn joining_amid_traffic_misses_and_doubles_nothing(kind: ServerKind) {
    const FRAMES: usize = 5000;
    const JOINERS: usize = 8;
    let server = ServerSpec::new(kind).history_limit(2 * FRAMES).start();
    let sent: Vec<String> = (0..FRAMES).map(|n| format!("frame {n}")).collect();
    thread::scope(|scope| {
        for n in 0..JOINERS {
            let (server, sent) = (&server, &sent);
            scope.spawn(move || {
                let mut joiner = join(server, &format!("joiner {n}"));
                let mut texts = joiner.texts_until(&sent[FRAMES - 1]);
                // The announcements of other joiners come in between.
                texts.retain(|text| !text.is_empty());
                assert!(
                    texts == *sent,
                    "joiner {n} got {} of {FRAMES} frames",
                    texts.len()
                );
            });
        }
        let mut sender = join(&server, "sender");
        for text in &sent {
            sender.send(text);
        }
        // The end of the sender's session is not under test: it outlasts the joiners' work.
        sender
    });
}

fn history_holds_the_newest_frames(kind: ServerKind) {
    let server = ServerSpec::new(kind).history_limit(5).start();
    let mut observer = first_member(&server, "observer");
    let mut sender = next_member(&server, "sender", &mut observer);
    for n in 0..8 {
        sender.send(&n.to_string());
    }
    observer.texts_until("7");
    let mut late = join(&server, "late");
    assert_eq!(late.texts_until("7"), ["3", "4", "5", "6", "7"]);
}

fn without_history_a_joiner_gets_live_frames_only(kind: ServerKind) {
    let server = ServerSpec::new(kind).history_limit(0).start();
    let mut sender = join(&server, "sender");
    let mut observer = join(&server, "observer");
    assert_eq!(
        send_until_heard(&mut sender, "before", &mut observer),
        "before"
    );
    sender.send("the last before");
    observer.texts_until("the last before");
    let mut late = join(&server, "late");
    assert_eq!(send_until_heard(&mut sender, "after", &mut late), "after");
}

/// Sends `text` again and again until `receiver`, admitted at some time meanwhile, has received a
/// message, and returns that.
fn send_until_heard(sender: &mut Session, text: &str, receiver: &mut Session) -> String {
    thread::scope(|scope| {
        let heard = scope.spawn(|| receiver.receive_message().text().to_owned());
        while !heard.is_finished() {
            sender.send(text);
            thread::sleep(RETRY);
        }
        heard.join().unwrap()
    })
}

/// The reference stores empty join frames, so that silent joiners flush its history.
fn silent_joiners_and_the_history(kind: ServerKind) {
    let server = ServerSpec::new(kind).history_limit(5).start();
    let mut observer = first_member(&server, "observer");
    for n in 0..5 {
        next_member(&server, &format!("silent {n}"), &mut observer);
    }
    let mut late = next_member(&server, "late", &mut observer);
    observer.send("live");
    let expected: &[&str] = match kind {
        ServerKind::Ours => &["seed", "live"],
        ServerKind::Reference => &["", "", "", "", "", "live"],
    };
    assert_eq!(late.texts_until("live"), expected);
}

fn a_cid_in_use_is_refused(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut observer = first_member(&server, "observer");
    let mut double = join_as(&server, "double", observer.cid());
    assert!(double.receive().is_none());
    // The member that has the CID keeps its session, and was told nothing.
    let mut member = next_member(&server, "member", &mut observer);
    member.send("still there");
    assert_eq!(observer.receive().unwrap().text(), "still there");

    // A CID is taken in its own channel only.
    let elsewhere = "another channel";
    let mut listener = Session::join(server.address(), Secrets::NONE, "listener", elsewhere);
    let mut same = Session::join_as(
        server.address(),
        Secrets::NONE,
        "double",
        elsewhere,
        observer.cid(),
    );
    same.send("let in");
    assert_eq!(listener.receive_message().text(), "let in");
}

fn one_uid_may_join_with_several_cids(kind: ServerKind) {
    let server = ServerSpec::new(kind).secrets(Secrets::SHARED).start();
    let join_as = |cid| Session::join_as(server.address(), Secrets::SHARED, "anna", CHANNEL, cid);
    let mut phone = join_as(1);
    let mut laptop = join_as(2);
    phone.send("from the phone");
    assert_eq!(laptop.receive_message().text(), "from the phone");
    laptop.send("from the laptop");
    assert_eq!(phone.receive_message().text(), "from the laptop");
}

fn a_cid_is_free_again_after_leaving(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut observer = join(&server, "observer");
    let join_again = || {
        Session::join_as(
            server.address(),
            Secrets::NONE,
            "anna",
            CHANNEL,
            0x0BAD_CAFE,
        )
    };
    let mut before = join_again();
    before.send("left this");
    observer.texts_until("left this");
    drop(before);
    let end = Instant::now() + DEADLINE;
    // A refused session ends before its first frame, an admitted one begins with history.
    while join_as(&server, "anna", 0x0BAD_CAFE).receive().is_none() {
        assert!(
            Instant::now() < end,
            "the CID of a session that ended stays taken"
        );
        thread::sleep(RETRY);
    }
}

/// The reference ends a session when the client ends its sending half; ours must not cut off
/// what the client is still to receive.
fn a_half_closed_session(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut sender = first_member(&server, "sender");
    let mut listener = next_member(&server, "listener", &mut sender);
    listener.send("last words");
    listener.stop_sending();
    assert_eq!(sender.receive().unwrap().text(), "last words");
    match kind {
        ServerKind::Ours => {
            sender.send("still heard");
            assert_eq!(listener.texts_until("still heard"), ["seed", "still heard"]);
        }
        ServerKind::Reference => while listener.receive().is_some() {},
    }
}
