//! The async client against raw bytes: join, history and live, refusals, halves, publishing.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream as _;
use mles::client::{Cid, Client, Error, Event, Key, Keyring, Session};
use mles::protocol::address_string;
use tokio::time::timeout;

use crate::common::free_address;
use crate::fake_server::{FakeServer, PATIENCE, body, frame, frame_of};

fn client(server: &FakeServer) -> Client {
    Client::new(server.address(), "alice").shared_key("secret")
}

async fn next_text(session: &mut Session) -> String {
    let message = timeout(PATIENCE, session.recv()).await.unwrap().unwrap();
    message.unwrap().text().into_owned()
}

#[tokio::test]
async fn joins_with_the_bytes_of_the_protocol() {
    let server = FakeServer::start();
    let _session = client(&server).join("news").await.unwrap();
    let join = server.accept().read_frame();
    let key = Key::from_parts(["secret", "alice", "news"]);
    assert_eq!(join.key, key.0);
    assert_eq!(join.cid, key.cid().0);
    assert_eq!(
        join.body,
        b"\xA3\x63uid\x65alice\x67channel\x64news\x67message\x40"
    );
}

#[tokio::test]
async fn without_a_shared_key_the_key_is_made_from_the_local_address() {
    let server = FakeServer::start();
    let keyring = Keyring::new(None, Some("pepper".into()));
    let client = Client::new(server.address(), "alice").keyring(keyring);
    let _session = client.join("news").await.unwrap();
    let mut peer = server.accept();
    let address = address_string(peer.remote());
    let key = Key::from_parts([address.as_str(), "pepper", "alice", "news"]);
    assert_eq!(peer.read_frame().key, key.0);
}

#[tokio::test]
async fn the_connection_id_can_be_chosen() {
    let server = FakeServer::start();
    let fixed = client(&server).cid(Cid(7));
    let _session = fixed.join("news").await.unwrap();
    assert_eq!(server.accept().read_frame().cid, 7);
    let random = client(&server).random_cid();
    let mut cids = Vec::new();
    for _ in 0..3 {
        let _session = random.join("news").await.unwrap();
        cids.push(server.accept().read_frame().cid);
    }
    assert!(cids[0] != cids[1] || cids[1] != cids[2], "{cids:?}");
}

#[tokio::test]
async fn receives_history_then_live_whatever_the_pieces() {
    let server = FakeServer::start();
    let mut session = client(&server).join_with("news", "first").await.unwrap();
    let mut peer = server.accept();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"first"));
    peer.send(&[frame("bob", "news", "one"), frame("bob", "news", "two")].concat());
    assert_eq!(next_text(&mut session).await, "one");
    assert_eq!(next_text(&mut session).await, "two");
    for byte in frame("carol", "news", "three") {
        peer.send(&[byte]);
        // Gives the client the chance to see just this byte.
        let early = timeout(Duration::from_millis(1), session.recv()).await;
        if let Ok(message) = early {
            let message = message.unwrap().unwrap();
            assert_eq!(message.uid(), "carol");
            assert_eq!(message.channel(), "news");
            assert_eq!(message.message(), b"three");
            assert_eq!(message.cid(), Some(Cid(0xC1D)));
            return;
        }
    }
    assert_eq!(next_text(&mut session).await, "three");
}

#[tokio::test]
async fn is_a_stream_that_ends_with_the_session() {
    let server = FakeServer::start();
    let (mut session, mut peer) = server.join(&client(&server)).await;
    peer.send(&frame("bob", "news", "one"));
    drop(peer);
    let mut next = async || {
        let next = std::future::poll_fn(|cx| Pin::new(&mut session).poll_next(cx));
        timeout(PATIENCE, next).await.unwrap()
    };
    assert_eq!(next().await.unwrap().unwrap().text(), "one");
    assert!(next().await.is_none());
    assert!(next().await.is_none());
}

#[tokio::test]
async fn an_end_before_anything_came_is_a_refusal() {
    let server = FakeServer::start();
    for more in [false, true] {
        let mut session = client(&server).join("news").await.unwrap();
        if more {
            // The server closes with unread data: the client sees a reset.
            session.publish("unread").await.unwrap();
        }
        server.accept().read_frame();
        let error = session.recv().await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("wrong or missing key"));
    }
}

#[tokio::test]
async fn an_end_long_after_the_join_is_no_refusal() {
    let server = FakeServer::start();
    let client = client(&server).join_timeout(Duration::from_millis(1));
    let mut session = client.join("news").await.unwrap();
    let mut peer = server.accept();
    peer.read_frame();
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(peer);
    assert!(session.recv().await.unwrap().is_none());
}

#[tokio::test]
async fn an_end_right_after_the_join_is_no_refusal_when_nobody_listens_any_more() {
    let server = FakeServer::start();
    let (mut session, peer) = server.join(&client(&server)).await;
    drop(server);
    drop(peer);
    let end = session.recv().await;
    assert!(matches!(end, Ok(None)), "{end:?}");

    let server = FakeServer::start();
    let mut session = client(&server).join("news").await.unwrap();
    session.publish("unread").await.unwrap();
    let mut peer = server.accept();
    peer.read_frame();
    drop(server);
    // With unread data: the client sees a reset.
    drop(peer);
    let end = session.recv().await;
    assert!(matches!(end, Err(Error::Io(_))), "{end:?}");
}

#[tokio::test]
async fn tells_a_cut_frame_and_a_bad_one_from_an_orderly_end() {
    let server = FakeServer::start();
    let (mut session, mut peer) = server.join(&client(&server)).await;
    peer.send(&frame("bob", "news", "one")[..20]);
    drop(peer);
    assert!(matches!(session.recv().await, Err(Error::Cut)));

    let (mut session, mut peer) = server.join(&client(&server)).await;
    peer.send(b"HTTP/1.1 400");
    assert!(matches!(session.recv().await, Err(Error::Received(_))));

    let small = client(&server).max_frame(64);
    let mut session = small.join("news").await.unwrap();
    let mut peer = server.accept();
    peer.send(&frame("bob", "news", "fits"));
    peer.send(&frame("bob", "news", [0; 64]));
    assert_eq!(next_text(&mut session).await, "fits");
    assert!(matches!(session.recv().await, Err(Error::Received(_))));
}

#[tokio::test]
async fn a_malformed_message_does_not_end_the_session() {
    let server = FakeServer::start();
    let mut session = client(&server).join("news").await.unwrap();
    let mut peer = server.accept();
    let junk = frame_of(1, b"junk");
    peer.send(&[junk.clone(), junk.clone(), frame("bob", "news", "ok")].concat());
    match session.next_event().await.unwrap() {
        Some(Event::Malformed { frame, .. }) => assert_eq!(frame, junk),
        other => panic!("{other:?}"),
    }
    assert_eq!(next_text(&mut session).await, "ok");
}

#[tokio::test]
async fn publishes_singly_batched_and_encoded() {
    let server = FakeServer::start();
    let session = client(&server).join("news").await.unwrap();
    let (mut publisher, _subscriber) = session.split();
    let mut peer = server.accept();
    let join = peer.read_frame();
    publisher.publish("one").await.unwrap();
    publisher.feed("two").await.unwrap();
    let run = [
        publisher.encode("three").unwrap(),
        publisher.encode([0; 60_000]).unwrap(),
    ]
    .concat();
    publisher.publish_frames(&run).await.unwrap();
    for message in [&b"one"[..], b"two", b"three", &[0; 60_000]] {
        let frame = peer.read_frame();
        assert_eq!((frame.cid, frame.key), (join.cid, join.key));
        assert_eq!(frame.body, body("alice", "news", message));
    }
    for bad in [&run[..run.len() - 1], b"junk"] {
        let refused = publisher.publish_frames(bad).await;
        assert!(matches!(refused, Err(Error::Frames(_))));
    }
    let too_large = publisher.publish(vec![0; 0xFF_FFFF]).await;
    assert!(matches!(too_large, Err(Error::Message(_))));
    drop(publisher);
    peer.expect_end();
}

#[tokio::test]
async fn queued_messages_go_out_when_there_are_many() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (mut publisher, _subscriber) = session.split();
    for _ in 0..5 {
        publisher.feed([1; 20_000]).await.unwrap();
    }
    // Four make up 64 KiB, so the fifth has sent them first.
    for _ in 0..4 {
        assert_eq!(
            peer.read_frame().body.len(),
            body("alice", "news", &[1; 20_000]).len()
        );
    }
}

#[tokio::test]
async fn a_dropped_publish_never_leaves_half_a_frame() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (mut publisher, _subscriber) = session.split();
    // Far more than the socket buffers hold.
    let run = publisher.encode([7; 50_000]).unwrap().repeat(400);
    let dropped = timeout(Duration::from_millis(50), publisher.publish_frames(&run)).await;
    assert!(dropped.is_err(), "the write did not have to wait");
    let reader = std::thread::spawn(move || {
        for _ in 0..400 {
            assert_eq!(peer.read_frame().body, body("alice", "news", &[7; 50_000]));
        }
        assert_eq!(peer.read_frame().body, body("alice", "news", b"last"));
        peer.expect_end();
    });
    publisher.publish("last").await.unwrap();
    publisher.finish().await.unwrap();
    tokio::task::spawn_blocking(|| reader.join())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn goes_on_receiving_after_it_finished_sending() {
    let server = FakeServer::start();
    let (mut session, mut peer) = server.join(&client(&server)).await;
    session.publish("bye").await.unwrap();
    session.finish().await.unwrap();
    assert!(matches!(
        session.publish("more").await,
        Err(Error::Finished)
    ));
    assert_eq!(peer.read_frame().body, body("alice", "news", b"bye"));
    peer.expect_end();
    peer.send(&frame("bob", "news", "still here?"));
    assert_eq!(next_text(&mut session).await, "still here?");
}

#[tokio::test]
async fn a_server_that_answers_the_end_by_closing_has_not_refused() {
    let server = FakeServer::start();
    let mut session = client(&server).join_with("news", "only").await.unwrap();
    let mut peer = server.accept();
    peer.read_frame();
    session.finish().await.unwrap();
    peer.expect_end();
    drop(peer);
    assert!(session.recv().await.unwrap().is_none());

    // Its sending side is not closed before a refusal would have come.
    let session = client(&server).join_with("news", "only").await.unwrap();
    let mut peer = server.accept();
    let answering = std::thread::spawn(move || {
        peer.read_frame();
        peer.expect_end();
    });
    session.close(Duration::from_millis(50)).await.unwrap();
    answering.join().unwrap();
}

#[tokio::test]
async fn halves_work_in_different_tasks() {
    let server = FakeServer::start();
    let (session, mut peer) = server.join(&client(&server)).await;
    let (mut publisher, mut subscriber) = session.split();
    let receiving = tokio::spawn(async move { subscriber.recv().await });
    publisher.publish("ping").await.unwrap();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"ping"));
    peer.send(&frame("bob", "news", "pong"));
    let message = receiving.await.unwrap().unwrap().unwrap();
    assert_eq!(message.payload(), "pong");
}

#[tokio::test]
async fn closing_sends_everything_and_reports_a_refusal() {
    let server = FakeServer::start();
    let (mut publisher, subscriber) = client(&server).join("news").await.unwrap().split();
    publisher.feed("queued").await.unwrap();
    drop((publisher, subscriber));

    let session = client(&server).join("news").await.unwrap();
    let mut dropped = server.accept();
    dropped.read_frame();
    dropped.expect_end();
    let mut peer = server.accept();
    peer.read_frame();
    drop(peer);
    let closed = session.close(PATIENCE).await;
    assert!(matches!(closed, Err(Error::Refused { .. })), "{closed:?}");

    // One that came in time is told, even if it takes longer to be sure of it.
    let (session, peer) = server.join(&client(&server)).await;
    drop(peer);
    let closed = session.close(Duration::from_millis(1)).await;
    assert!(matches!(closed, Err(Error::Refused { .. })), "{closed:?}");

    let (session, mut peer) = server.join(&client(&server)).await;
    peer.send(&frame("bob", "news", "history"));
    session.close(Duration::from_millis(10)).await.unwrap();
    peer.expect_end();
}

#[tokio::test]
async fn an_unreachable_server_is_an_error_that_names_it() {
    let server = free_address().to_string();
    let error = Client::new(&server, "alice")
        .join("news")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }));
    assert!(error.to_string().contains(&server));
    let error = Client::new("no spaces", "alice")
        .join("news")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Address(_)));
}
