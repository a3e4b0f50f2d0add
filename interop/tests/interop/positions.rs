//! Members that ask for positions, beside reference programs that know nothing of them.

use crate::support::{Conn, Secrets, Server, ServerKind, ServerSpec, Session};

on_each_server!(
    others_get_the_plain_join_of_a_member_that_asks,
    msgconn_talks_with_a_member_that_asks,
    a_server_above_gets_the_plain_join,
);

const CHANNEL: &str = "positions";

/// Joins with a message and asks for positions.
fn ask(server: &Server, uid: &str, message: &str) -> Session {
    let mut asker = Session::connect(server.address(), Secrets::NONE, uid, CHANNEL);
    asker.send_asking(message);
    asker
}

/// What members of `kind` get as the join of an asker: our broker takes the wish out, the reference passes the frame on
/// as it came, and its clients skip a key that they do not know.
fn passed_on(kind: ServerKind, asker: &Session, message: &str) -> Vec<u8> {
    match kind {
        ServerKind::Ours => asker.frame(message),
        ServerKind::Reference => asker.asking_frame(message),
    }
}

fn others_get_the_plain_join_of_a_member_that_asks(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let mut seeder = Session::connect(server.address(), Secrets::NONE, "seeder", CHANNEL);
    seeder.send("seed");
    let mut early = Session::join(server.address(), Secrets::NONE, "early", CHANNEL);
    assert_eq!(early.receive_message().text(), "seed");
    let mut asker = ask(&server, "asker", "joined");
    let joined = passed_on(kind, &asker, "joined");
    assert_eq!(early.receive_message().bytes, joined);
    let said = asker.send("said");
    assert_eq!(early.receive_message().bytes, said);
    // The history has it as the others have got it.
    let mut late = Session::join(server.address(), Secrets::NONE, "late", CHANNEL);
    assert_eq!(late.receive_message().text(), "seed");
    assert_eq!(late.receive_message().bytes, joined);
    assert_eq!(late.receive_message().bytes, said);
    early.send("to the asker");
    let frames = asker.all_frames_until("to the asker");
    let notices = frames.iter().filter(|frame| frame[0] == b'N').count();
    assert_eq!(notices > 0, matches!(kind, ServerKind::Ours));
}

fn msgconn_talks_with_a_member_that_asks(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let plain = Conn::join_with(server.address(), "plain", CHANNEL, "first");
    let mut asker = ask(&server, "asker", "second");
    assert_eq!(plain.receive().unwrap(), "second");
    for n in 0..50 {
        let text = format!("message {n}");
        asker.send(&text);
        assert_eq!(plain.receive().unwrap(), text);
    }
    plain.send("answer");
    asker.all_frames_until("answer");
}

/// `kind` is that of the server above.
fn a_server_above_gets_the_plain_join(kind: ServerKind) {
    let root = ServerSpec::new(kind).start();
    let peer = ServerSpec::new(ServerKind::Ours)
        .peer(root.address())
        .start();
    let mut above = Session::join(root.address(), Secrets::NONE, "above", CHANNEL);
    above.send("first");
    let mut below = Session::join(peer.address(), Secrets::NONE, "below", CHANNEL);
    assert_eq!(below.receive_message().text(), "first");
    let mut asker = ask(&peer, "asker", "joined");
    let said = asker.send("said");
    assert_eq!(above.receive_message().bytes, asker.frame("joined"));
    assert_eq!(above.receive_message().bytes, said);
    above.send("to the asker");
    asker.all_frames_until("to the asker");
}
