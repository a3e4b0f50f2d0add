//! Sessions that ask for positions, against raw bytes: what is sent, counted, confirmed, and sent again.

use std::time::Duration;

use mles::client::{Client, Epoch, Error, Event, Position, Reconnect, Session};
use mles::protocol::{Notice, Welcome};
use tokio::time::timeout;

use crate::fake_server::{FakeServer, PATIENCE, Peer, body, frame, frame_of};

fn client(server: &FakeServer) -> Client {
    Client::new(server.address(), "alice").shared_key("secret")
}

fn reconnecting(server: &FakeServer) -> Client {
    let quick = Duration::from_millis(20);
    client(server).reconnect(Reconnect::default().initial(quick).cap(quick))
}

const fn at(offset: u64) -> Position {
    let epoch = Epoch(0xE);
    Position { epoch, offset }
}

/// A welcome of a server that has everything.
const fn welcome(offset: u64, replay: u64, published: Option<u64>) -> Welcome {
    Welcome {
        position: at(offset),
        start: None,
        replay,
        recovered: true,
        missed: Some(0),
        published,
    }
}

fn receipt(count: u64, offset: u64) -> Vec<u8> {
    let position = at(offset);
    Notice::Receipt { count, position }.encode().to_vec()
}

fn gap(missed: u64) -> Vec<u8> {
    let members = false;
    Notice::Gap { missed, members }.encode().to_vec()
}

impl Peer {
    fn welcome(&mut self, welcome: Welcome) {
        self.send(&Notice::Welcome(welcome).encode());
    }

    fn say(&mut self, messages: &[&str]) {
        for message in messages {
            self.send(&frame("bob", "news", message));
        }
    }

    fn expect(&mut self, messages: &[&str]) {
        for message in messages {
            let expected = body("alice", "news", message.as_bytes());
            assert_eq!(self.read_frame().body, expected, "{message}");
        }
    }
}

async fn event(session: &mut Session) -> Event {
    let event = timeout(PATIENCE, session.next_event()).await;
    event.unwrap().unwrap().unwrap()
}

async fn expect_message(session: &mut Session, text: &str, position: Option<Position>) {
    match event(session).await {
        Event::Message(message) => {
            assert_eq!((&*message.text(), message.position()), (text, position));
        }
        other => panic!("{other:?} instead of {text}"),
    }
}

async fn expect_gap(session: &mut Session, expected: Option<u64>) {
    match event(session).await {
        Event::Gap { missed } => assert_eq!(missed, expected),
        other => panic!("{other:?} instead of a gap"),
    }
}

async fn expect_confirmed(session: &mut Session, expected: u64, last: u64) {
    match event(session).await {
        Event::Confirmed { count, position } => {
            assert_eq!((count, position), (expected, at(last)));
        }
        other => panic!("{other:?} instead of a receipt"),
    }
}

/// Waits until the session is connected again; the server's side of the new connection.
async fn come_back(server: &FakeServer, session: &mut Session) -> Peer {
    let accepting = server.accept_later();
    while !matches!(event(session).await, Event::Reconnected) {}
    accepting.await.unwrap()
}

#[tokio::test]
async fn messages_are_counted_from_the_welcome() {
    let server = FakeServer::start();
    let asking = client(&server).positions();
    let mut session = asking.join("news").await.unwrap();
    assert_eq!(session.position(), None);
    let mut peer = server.accept();
    let (join, request) = peer.read_join();
    assert_eq!(join.body, body("alice", "news", b""));
    assert_eq!((request.since, request.publisher), (None, None));
    peer.welcome(welcome(5, 2, None));
    peer.say(&["four", "five", "", "six"]);
    expect_message(&mut session, "four", Some(at(4))).await;
    assert_eq!(session.position(), Some(at(4)));
    expect_message(&mut session, "five", Some(at(5))).await;
    expect_message(&mut session, "", None).await;
    expect_message(&mut session, "six", Some(at(6))).await;
    // A notice of a later version is no fault.
    peer.send(b"N\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\xA1\x62hi\x01");
    peer.send(&gap(3));
    peer.say(&["ten"]);
    expect_gap(&mut session, Some(3)).await;
    expect_message(&mut session, "ten", Some(at(10))).await;
    assert_eq!(session.position(), Some(at(10)));
}

#[tokio::test]
async fn who_does_not_ask_takes_no_notice() {
    let server = FakeServer::start();
    let (mut session, mut peer) = server.join(&client(&server)).await;
    peer.welcome(welcome(0, 0, None));
    let error = session.recv().await.unwrap_err();
    assert!(matches!(error, Error::Received(_)), "{error:?}");
    let failed = session.publish_confirmed("x").await;
    assert!(matches!(failed, Err(Error::NoPositions)), "{failed:?}");
}

#[tokio::test]
async fn a_session_begins_where_it_is_told() {
    let server = FakeServer::start();
    let asking = client(&server).since(at(7));
    let (mut session, mut peer) = {
        let session = asking.join("news").await.unwrap();
        (session, server.accept())
    };
    assert_eq!(peer.read_join().1.since, Some(at(7)));
    peer.welcome(Welcome {
        recovered: false,
        missed: Some(2),
        ..welcome(10, 1, None)
    });
    peer.say(&["ten"]);
    expect_gap(&mut session, Some(2)).await;
    expect_message(&mut session, "ten", Some(at(10))).await;
}

#[tokio::test]
async fn a_receipt_gives_the_position() {
    let server = FakeServer::start();
    let mut session = client(&server).positions().join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(5, 0, None));
    let serving = tokio::task::spawn_blocking(move || {
        peer.expect(&["one", "two"]);
        peer.say(&["six"]);
        peer.send(&receipt(2, 8));
        peer
    });
    session.halves().0.feed("one").await.unwrap();
    let position = timeout(PATIENCE, session.publish_confirmed("two")).await;
    assert_eq!(position.unwrap().unwrap(), at(8));
    let peer = serving.await.unwrap();
    expect_message(&mut session, "six", Some(at(6))).await;
    expect_confirmed(&mut session, 2, 8).await;
    let empty = session.publish_confirmed("").await;
    assert!(matches!(empty, Err(Error::Empty)), "{empty:?}");
    drop(peer);
    let lost = timeout(PATIENCE, session.publish_confirmed("three")).await;
    let lost = lost.unwrap();
    assert!(
        matches!(lost, Err(Error::Unconfirmed | Error::Closed | Error::Io(_))),
        "{lost:?}"
    );
}

#[tokio::test]
async fn where_there_are_no_positions_nothing_is_sent_to_be_confirmed() {
    let server = FakeServer::start();
    let mut session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.say(&["old"]);
    let failed = timeout(PATIENCE, session.publish_confirmed("x")).await;
    assert!(matches!(failed, Ok(Err(Error::NoPositions))), "{failed:?}");
    session.publish("y").await.unwrap();
    peer.expect(&["y"]);
    expect_message(&mut session, "old", None).await;
}

#[tokio::test]
async fn what_is_not_confirmed_is_sent_again_and_own_messages_are_no_news() {
    let server = FakeServer::start();
    let mut session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    let (join, request) = peer.read_join();
    let publisher = request.publisher;
    assert!(publisher.is_some());
    peer.welcome(welcome(1, 0, None));
    peer.say(&["two"]);
    expect_message(&mut session, "two", Some(at(2))).await;
    for message in ["a", "b", "c"] {
        session.publish(message).await.unwrap();
    }
    peer.expect(&["a", "b", "c"]);
    drop(peer);

    let mut peer = come_back(&server, &mut session).await;
    let (again, request) = peer.read_join();
    assert_eq!((again.cid, again.key), (join.cid, join.key));
    assert_eq!((request.since, request.publisher), (Some(at(2)), publisher));
    // Two of them have their place.
    peer.welcome(welcome(5, 3, Some(2)));
    let own = |message: &[u8]| frame_of(join.cid, &body("alice", "news", message));
    peer.send(&[own(b"a"), frame("bob", "news", "four"), own(b"b")].concat());
    expect_message(&mut session, "four", Some(at(4))).await;
    expect_confirmed(&mut session, 1, 3).await;
    expect_confirmed(&mut session, 1, 5).await;
    let serving = tokio::task::spawn_blocking(move || {
        peer.expect(&["c"]);
        peer.send(&receipt(1, 6));
        peer
    });
    expect_confirmed(&mut session, 1, 6).await;
    assert_eq!(session.position(), Some(at(6)));
    serving.await.unwrap();
}

#[tokio::test]
async fn messages_whose_fate_is_unknown_are_told_and_not_sent_again() {
    let server = FakeServer::start();
    let mut session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(1, 0, None));
    peer.say(&["two"]);
    expect_message(&mut session, "two", Some(at(2))).await;
    for message in ["a", "b"] {
        session.publish(message).await.unwrap();
    }
    peer.expect(&["a", "b"]);
    drop(peer);
    let mut peer = come_back(&server, &mut session).await;
    peer.read_join();
    let epoch = Epoch(0xF);
    peer.welcome(Welcome {
        position: Position { epoch, offset: 0 },
        start: None,
        replay: 0,
        recovered: false,
        missed: None,
        published: None,
    });
    match event(&mut session).await {
        Event::Unconfirmed { count } => assert_eq!(count, 2),
        other => panic!("{other:?}"),
    }
    expect_gap(&mut session, None).await;
    session.publish("c").await.unwrap();
    peer.expect(&["c"]);
}

#[tokio::test]
async fn who_only_publishes_takes_receipts_all_the_same() {
    let server = FakeServer::start();
    let mut session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(0, 0, None));
    let (messages, large) = (100, vec![7; 60_000]);
    let serving = tokio::task::spawn_blocking(move || {
        for offset in 1..=messages {
            peer.read_frame();
            peer.send(&receipt(1, offset));
        }
        peer
    });
    for _ in 0..messages {
        let published = timeout(PATIENCE, session.publish(&large)).await;
        published.expect("publishing hangs").unwrap();
    }
    serving.await.unwrap();
    let mut confirmed = 0;
    while confirmed < messages {
        match event(&mut session).await {
            Event::Confirmed { count, .. } => confirmed += count,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_publishes_once() {
    let server = FakeServer::start();
    let mut session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(0, 0, None));
    let waiting = timeout(Duration::from_millis(50), session.publish_confirmed("a")).await;
    assert!(waiting.is_err());
    session.publish("b").await.unwrap();
    peer.expect(&["a", "b"]);
    peer.send(&receipt(2, 2));
    expect_confirmed(&mut session, 2, 2).await;
}

#[tokio::test]
async fn a_publisher_that_is_gone_has_published() {
    let server = FakeServer::start();
    let session = reconnecting(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(0, 0, None));
    let (mut publisher, mut subscriber) = session.split();
    publisher.publish("a").await.unwrap();
    publisher.finish().await.unwrap();
    drop(publisher);
    peer.expect(&["a"]);
    peer.expect_end();
    drop(peer);
    let accepting = server.accept_later();
    let serving = tokio::task::spawn_blocking(move || {
        let mut peer = wait_for(accepting);
        peer.read_join();
        peer.welcome(welcome(0, 0, Some(0)));
        peer.expect(&["a"]);
        peer.send(&receipt(1, 1));
        peer.expect_end();
        peer
    });
    loop {
        let event = timeout(PATIENCE, subscriber.next_event()).await;
        if let Event::Confirmed { count, position } = event.unwrap().unwrap().unwrap() {
            assert_eq!((count, position), (1, at(1)));
            break;
        }
    }
    serving.await.unwrap();
}

/// Waits for a task on a thread that may block.
fn wait_for(accepting: tokio::task::JoinHandle<Peer>) -> Peer {
    tokio::runtime::Handle::current()
        .block_on(accepting)
        .unwrap()
}

#[test]
fn without_a_runtime_it_is_the_same() {
    let server = FakeServer::start();
    let serving = std::thread::spawn({
        let address = server.address();
        move || {
            let quick = Duration::from_millis(20);
            let client = Client::new(address, "alice")
                .shared_key("secret")
                .reconnect(Reconnect::default().initial(quick).cap(quick));
            let mut session = client.join_blocking("news").unwrap();
            session.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(session.publish_confirmed("a").unwrap(), at(1));
            assert_eq!(session.recv().unwrap().unwrap().text(), "two");
            assert_eq!(session.publish_confirmed("b").unwrap(), at(3));
            session.position()
        }
    });
    let mut peer = server.accept();
    peer.read_join();
    peer.welcome(welcome(0, 0, None));
    peer.expect(&["a"]);
    peer.send(&receipt(1, 1));
    peer.say(&["two"]);
    peer.expect(&["b"]);
    drop(peer);
    let mut peer = server.accept();
    assert_eq!(peer.read_join().1.since, Some(at(2)));
    peer.welcome(welcome(2, 0, Some(1)));
    peer.expect(&["b"]);
    peer.send(&receipt(1, 3));
    assert_eq!(serving.join().unwrap(), Some(at(3)));
}
