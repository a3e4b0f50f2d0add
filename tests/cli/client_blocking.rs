//! The blocking client against raw bytes.

use std::time::Duration;

use mles::client::{BlockingSession, Client, Error, Key};

use crate::fake_server::{FakeServer, PATIENCE, Peer, body, frame};

fn client(server: &FakeServer) -> Client {
    Client::new(server.address(), "bob").shared_key("secret")
}

#[test]
fn joins_publishes_and_iterates() {
    let server = FakeServer::start();
    let mut session = client(&server).join_blocking("news").unwrap();
    let mut peer = server.accept();
    let join = peer.read_frame();
    assert_eq!(join.key, Key::from_parts(["secret", "bob", "news"]).0);
    assert_eq!(join.body, body("bob", "news", b""));
    session.publish("hello").unwrap();
    session.publish([5; 30_000]).unwrap();
    assert_eq!(peer.read_frame().body, body("bob", "news", b"hello"));
    assert_eq!(peer.read_frame().body, body("bob", "news", &[5; 30_000]));
    session.finish().unwrap();
    peer.expect_end();
    peer.send(
        &[
            frame("eve", "news", "one"),
            frame("eve", "news", [6; 40_000]),
        ]
        .concat(),
    );
    drop(peer);
    let messages: Vec<_> = session.messages().map(Result::unwrap).collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (messages[0].uid(), messages[0].message()),
        ("eve", &b"one"[..])
    );
    assert_eq!(messages[1].message(), [6; 40_000]);
}

#[test]
fn a_read_timeout_loses_nothing() {
    let server = FakeServer::start();
    let mut session = client(&server).join_blocking("news").unwrap();
    assert_a_timeout_loses_nothing(&mut session, &mut server.accept());
}

/// Lets a session give up waiting in the middle of a message.
pub(crate) fn assert_a_timeout_loses_nothing(session: &mut BlockingSession, peer: &mut Peer) {
    let wire = frame("eve", "news", "late");
    peer.send(&wire[..20]);
    let short = Some(Duration::from_millis(20));
    session.set_read_timeout(short).unwrap();
    assert!(matches!(session.recv(), Err(Error::TimedOut)));
    peer.send(&wire[20..]);
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(session.recv().unwrap().unwrap().text(), "late");
}

#[test]
fn tells_refused_cut_and_bad_from_an_orderly_end() {
    let server = FakeServer::start();
    let mut session = client(&server).join_blocking("news").unwrap();
    server.accept().read_frame();
    assert!(matches!(session.recv(), Err(Error::Refused { .. })));
    assert!(
        session.recv().unwrap().is_none(),
        "it is over after an error"
    );

    let mut session = client(&server).join_blocking("news").unwrap();
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("eve", "news", "cut")[..30]);
    drop(peer);
    assert!(matches!(session.recv(), Err(Error::Cut)));

    let mut session = client(&server).join_blocking("news").unwrap();
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(b"SSH-2.0-");
    assert!(matches!(session.recv(), Err(Error::Received(_))));
}

#[test]
fn an_unreachable_server_is_an_error_that_names_it() {
    let error = Client::new("127.0.0.1:1", "bob")
        .join_blocking("news")
        .unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
