//! Sessions that come back: what is sent, what is delivered, what the user is told.

use std::time::Duration;

use mles::client::{Client, Error, Event, Reconnect, Subscriber};
use mles::protocol::Notice;
use tokio::time::timeout;

use crate::common::free_address;
use crate::fake_server::{FakeServer, PATIENCE, Peer, body, frame, frame_of};

fn client(server: &FakeServer) -> Client {
    client_of(server.address())
}

fn client_of(address: impl ToString) -> Client {
    let quick = Duration::from_millis(20);
    Client::new(address.to_string(), "alice")
        .shared_key("secret")
        .reconnect(Reconnect::default().initial(quick).cap(quick))
}

async fn event(subscriber: &mut Subscriber) -> Event {
    timeout(PATIENCE, subscriber.next_event())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

/// The reason for which the connection is lost next.
async fn loss(subscriber: &mut Subscriber) -> Error {
    match event(subscriber).await {
        Event::Disconnected { error, .. } => error,
        other => panic!("{other:?} instead of the end"),
    }
}

async fn expect_texts(subscriber: &mut Subscriber, expected: &[&str]) {
    for expected in expected {
        match event(subscriber).await {
            Event::Message(message) => assert_eq!(message.text(), *expected),
            other => panic!("{other:?} instead of {expected}"),
        }
    }
}

/// Polls the subscriber until it is back; the server's side of the new connection.
async fn come_back(server: &FakeServer, subscriber: &mut Subscriber) -> Peer {
    let accepting = server.accept_later();
    loss(subscriber).await;
    let back = event(subscriber).await;
    assert!(matches!(back, Event::Reconnected), "{back:?}");
    accepting.await.unwrap()
}

fn frames(messages: &[&str]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| frame("bob", "news", message))
        .collect()
}

#[tokio::test]
async fn replayed_history_is_delivered_once() {
    let server = FakeServer::start();
    let (_publisher, mut subscriber) = client(&server)
        .join_with("news", "hello")
        .await
        .unwrap()
        .split();
    let mut peer = server.accept();
    let (join, _) = peer.read_join();
    assert_eq!(join.body, body("alice", "news", b"hello"));
    peer.send(&frames(&["1", "2", "2"]));
    expect_texts(&mut subscriber, &["1", "2", "2"]).await;
    drop(peer);

    let mut peer = come_back(&server, &mut subscriber).await;
    let (again, _) = peer.read_join();
    assert_eq!((again.cid, again.key), (join.cid, join.key));
    assert_eq!(
        again.body,
        body("alice", "news", b""),
        "the first message is not repeated"
    );
    // In the history: our own first message, and a third "2" that was sent meanwhile.
    let own = frame_of(join.cid, &body("alice", "news", b"hello"));
    peer.send(&[own, frames(&["1", "2", "2", "2", "3"])].concat());
    expect_texts(&mut subscriber, &["2", "3"]).await;
    peer.send(&frames(&["1", "3"]));
    expect_texts(&mut subscriber, &["1", "3"]).await;
}

#[tokio::test]
async fn a_server_that_lost_its_history_replays_nothing() {
    let server = FakeServer::start();
    let (_publisher, mut subscriber) = client(&server).join("news").await.unwrap().split();
    let mut peer = server.accept();
    peer.send(&frames(&["1", "2"]));
    expect_texts(&mut subscriber, &["1", "2"]).await;
    drop(peer);
    let mut peer = come_back(&server, &mut subscriber).await;
    peer.send(&frames(&["3", "4"]));
    expect_texts(&mut subscriber, &["3", "4"]).await;
}

#[tokio::test]
async fn a_frame_cut_by_the_break_is_delivered_after_it() {
    let server = FakeServer::start();
    let (_publisher, mut subscriber) = client(&server).join("news").await.unwrap().split();
    let mut peer = server.accept();
    let wire = frames(&["1", "2"]);
    peer.send(&wire[..wire.len() - 1]);
    expect_texts(&mut subscriber, &["1"]).await;
    drop(peer);
    let mut peer = come_back(&server, &mut subscriber).await;
    peer.send(&wire);
    expect_texts(&mut subscriber, &["2"]).await;
}

#[tokio::test]
async fn the_publisher_follows_to_the_new_connection() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (mut publisher, mut subscriber) = session.split();
    publisher.publish("before").await.unwrap();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"before"));
    peer.send(&frames(&["1"]));
    expect_texts(&mut subscriber, &["1"]).await;
    drop(peer);
    let accepting = server.accept_later();
    let lost = loss(&mut subscriber).await;
    assert!(matches!(lost, Error::Closed), "{lost:?}");
    // There is no connection now: publishing waits until the subscriber has brought one.
    let publishing = tokio::spawn(async move {
        publisher.publish("after").await.unwrap();
        publisher.finish().await.unwrap();
        assert!(matches!(
            publisher.publish("late").await,
            Err(Error::Finished)
        ));
    });
    assert!(matches!(event(&mut subscriber).await, Event::Reconnected));
    publishing.await.unwrap();
    let mut peer = accepting.await.unwrap();
    peer.read_frame();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"after"));
    peer.expect_end();
}

#[tokio::test]
async fn a_message_cut_by_the_break_is_sent_again_as_a_whole() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (mut publisher, mut subscriber) = session.split();
    peer.send(&frames(&["1"]));
    expect_texts(&mut subscriber, &["1"]).await;
    // More than the socket buffers hold: the write stops in the middle of it.
    let large = vec![9; 16_000_000];
    let sent = large.clone();
    let publishing = tokio::spawn(async move {
        publisher.publish(&large).await.unwrap();
        publisher.finish().await.unwrap();
    });
    let waiting = timeout(Duration::from_millis(50), subscriber.next_event()).await;
    assert!(waiting.is_err());
    drop(peer);
    let mut peer = come_back(&server, &mut subscriber).await;
    let reader = tokio::task::spawn_blocking(move || {
        peer.read_frame();
        let frame = peer.read_frame();
        peer.expect_end();
        frame
    });
    publishing.await.unwrap();
    assert!(reader.await.unwrap().body.ends_with(&sent));
}

#[tokio::test]
async fn a_refused_join_is_tried_again_the_first_one_too() {
    let server = FakeServer::start();
    let (_publisher, mut subscriber) = client(&server).join("news").await.unwrap().split();
    for _ in 0..3 {
        server.accept().read_frame();
        let refused = loss(&mut subscriber).await;
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
        assert!(matches!(event(&mut subscriber).await, Event::Reconnected));
    }
    let mut peer = server.accept();
    peer.send(&frames(&["1", "2"]));
    expect_texts(&mut subscriber, &["1", "2"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let address = free_address();
    let session = client_of(address).join_with("news", "hello").await;
    let (mut publisher, mut subscriber) = session.unwrap().split();
    for _ in 0..2 {
        let lost = loss(&mut subscriber).await;
        assert!(matches!(lost, Error::Connect { .. }), "{lost:?}");
    }
    publisher.feed("queued").await.unwrap();
    let server = FakeServer::start_at(address);
    while !matches!(event(&mut subscriber).await, Event::Reconnected) {}
    let mut peer = server.accept();
    let (join, _) = peer.read_join();
    assert_eq!(join.body, body("alice", "news", b"hello"));
    publisher.flush().await.unwrap();
    let queued = peer.read_frame();
    assert_eq!((queued.cid, queued.key), (join.cid, join.key));
    assert_eq!(queued.body, body("alice", "news", b"queued"));
    // It is the first history that this session sees: its own messages are news.
    peer.send(&frame_of(join.cid, &body("alice", "news", b"earlier")));
    expect_texts(&mut subscriber, &["earlier"]).await;
}

#[tokio::test]
async fn what_cannot_be_mended_by_trying_again_is_an_error() {
    let refused = client_of("no spaces").join("news").await;
    assert!(matches!(refused, Err(Error::Address(_))), "{refused:?}");
}

#[tokio::test]
async fn publishing_alone_brings_the_connection_back() {
    let server = FakeServer::start();
    let mut session = client(&server).join("news").await.unwrap();
    server.accept().read_frame();
    let accepting = server.accept_later();
    // A server that has closed takes nothing more; when that shows is up to the system.
    let publishing = timeout(PATIENCE, async {
        while !accepting.is_finished() {
            session.publish("again").await.unwrap();
            tokio::task::yield_now().await;
        }
        session.publish("last").await.unwrap();
    });
    publishing.await.expect("publishing hangs");
    let mut peer = accepting.await.unwrap();
    assert_eq!(peer.read_join().0.body, body("alice", "news", b""));
    while peer.read_frame().body != body("alice", "news", b"last") {}
    // Who receives later is told what happened meanwhile.
    let lost = session.next_event().await.unwrap().unwrap();
    assert!(matches!(lost, Event::Disconnected { .. }), "{lost:?}");
    let back = session.next_event().await.unwrap().unwrap();
    assert!(matches!(back, Event::Reconnected), "{back:?}");
    peer.send(&frames(&["1"]));
    assert_eq!(session.recv().await.unwrap().unwrap().text(), "1");
}

#[tokio::test]
async fn publishing_alone_waits_for_a_server_that_is_not_there_yet() {
    let address = free_address();
    let mut session = client_of(address).join("news").await.unwrap();
    let early = timeout(Duration::from_millis(50), session.publish("one")).await;
    assert!(early.is_err(), "{early:?}");
    let server = FakeServer::start_at(address);
    let accepting = server.accept_later();
    let published = timeout(PATIENCE, session.publish("two")).await;
    published.expect("publishing hangs").unwrap();
    let mut peer = accepting.await.unwrap();
    peer.read_join();
    for message in [b"one", b"two"] {
        assert_eq!(peer.read_frame().body, body("alice", "news", message));
    }
}

#[tokio::test]
async fn a_half_that_is_no_longer_polled_holds_the_other_up_by_nothing() {
    let server = FakeServer::start();
    let (mut publisher, mut subscriber) = client(&server).join("news").await.unwrap().split();
    // What ends later than with the join is no refusal, which would be looked into first.
    server.accept().send(&frames(&["1"]));
    let wait = Duration::from_millis(5);
    for round in 0..6 {
        let accepting = server.accept_later();
        // Each half begins the attempt and is dropped in the middle of it, in turn.
        let _ = timeout(wait, async {
            if round % 2 == 0 {
                while publisher.publish("x").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            } else {
                while subscriber.next_event().await.is_ok() {}
            }
        })
        .await;
        if round % 2 == 0 {
            let back =
                async { while !matches!(event(&mut subscriber).await, Event::Reconnected) {} };
            timeout(PATIENCE, back).await.expect("receiving hangs");
        } else {
            let back = async {
                while !accepting.is_finished() {
                    publisher.publish("x").await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, back).await.expect("publishing hangs");
        }
        accepting.await.unwrap().send(&frames(&["1"]));
    }
}

#[tokio::test]
async fn failed_attempts_are_told_and_go_on() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (_publisher, mut subscriber) = session.split();
    peer.send(&frames(&["1"]));
    expect_texts(&mut subscriber, &["1"]).await;
    drop((peer, server));
    for attempt in 0..3 {
        match event(&mut subscriber).await {
            Event::Disconnected { error, retry_in } => {
                assert_eq!(
                    matches!(error, Error::Connect { .. }),
                    attempt > 0,
                    "{error:?}"
                );
                assert!(retry_in <= Duration::from_millis(20));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The wait is the server's, and a random part of a quarter more, but not longer than the client's longest.
#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back() {
    let cap = Duration::from_millis(400);
    for (retry, least, most) in [(40, 40, 50), (380, 380, 400), (u64::MAX, 400, 400)] {
        let server = FakeServer::start();
        let client = client(&server).reconnect(Reconnect::default().cap(cap));
        let (session, mut peer) = server.join(&client).await;
        let (_publisher, mut subscriber) = session.split();
        peer.send(&Notice::Stopping { retry }.encode());
        drop(peer);
        let Event::Disconnected { retry_in, .. } = event(&mut subscriber).await else {
            panic!("it is still connected");
        };
        let [least, most] = [least, most].map(Duration::from_millis);
        assert!((least..=most).contains(&retry_in), "{retry}: {retry_in:?}");
    }
}

#[tokio::test]
async fn a_publisher_without_its_subscriber_does_not_wait_for_ever() {
    let server = FakeServer::start();
    let (mut publisher, subscriber) = client(&server).join("news").await.unwrap().split();
    drop(subscriber);
    drop(server.accept());
    let failed = timeout(PATIENCE, async {
        while publisher.publish("x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    assert!(failed.await.is_ok());
}
