//! The broker over TLS, with the clients of this library.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mles::client::{Client, ClientTls, Error, HandshakeError, Keyring, Session};
use mles::protocol::{
    HEADER_LEN, Message, Notice, ResumeRequest, encode_frame, encode_join, frame_len, is_presence,
};
use mles::{Broker, ListenerKind, Settings, StartError, TlsSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::tls_proxy::{Authority, Pair};
use crate::common::{self, PATIENCE, settings};

/// Settings with a listener for TLS that shows the certificate in `pair`.
fn with_tls(pair: &Pair) -> Settings {
    Settings {
        tls: TlsSettings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            cert: Some(pair.cert.clone()),
            key: Some(pair.key.clone()),
            client_ca: None,
        },
        keyring: Keyring::new(Some("secret".to_owned()), None),
        ..settings()
    }
}

fn address_of(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let found = broker.listeners().iter().find(|(kind, _)| *kind == wanted);
    found.unwrap().1
}

/// A client that talks TLS with the broker.
fn client(broker: &Broker, uid: &str, tls: ClientTls) -> Client {
    let port = address_of(broker, ListenerKind::MlesTls).port();
    Client::new(format!("tls://localhost:{port}"), uid)
        .shared_key("secret")
        .tls(tls)
}

fn plain_client(broker: &Broker, uid: &str) -> Client {
    Client::new(address_of(broker, ListenerKind::Mles).to_string(), uid).shared_key("secret")
}

/// The next message that is no announcement.
async fn next_text(session: &mut Session) -> String {
    loop {
        let message = timeout(PATIENCE, session.recv()).await.unwrap().unwrap();
        let message = message.unwrap();
        if !message.is_announcement() {
            return message.text().into_owned();
        }
    }
}

/// Joins, and waits until the server has shown that it has let us in, by the history.
async fn admitted(client: &Client) -> Result<Session, Error> {
    let mut session = client.join("news").await?;
    match timeout(PATIENCE, session.recv()).await.unwrap()? {
        Some(_) => Ok(session),
        None => Err(Error::Closed),
    }
}

/// Leaves a message in the history of `news`.
async fn leave_history(broker: &Broker) {
    let session = plain_client(broker, "history")
        .join_with("news", "old")
        .await;
    session
        .unwrap()
        .close(Duration::from_millis(50))
        .await
        .unwrap();
}

#[tokio::test]
async fn members_over_tls_and_without_meet_on_one_channel() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    leave_history(&broker).await;
    let mut alice = client(&broker, "alice", authority.client())
        .join("news")
        .await
        .unwrap();
    let mut bob = plain_client(&broker, "bob").join("news").await.unwrap();
    for member in [&mut alice, &mut bob] {
        assert_eq!(next_text(member).await, "old");
    }
    alice.publish("from alice").await.unwrap();
    assert_eq!(next_text(&mut bob).await, "from alice");
    bob.publish("from bob").await.unwrap();
    assert_eq!(next_text(&mut alice).await, "from bob");
    // The sending side alone is closed.
    alice.finish().await.unwrap();
    bob.publish("still there").await.unwrap();
    assert_eq!(next_text(&mut alice).await, "still there");
    broker.stop().unwrap();
}

#[tokio::test]
async fn sessions_that_have_ended_make_room() {
    const MOST: usize = 10;
    let authority = Authority::new();
    let mut settings = with_tls(&authority.localhost());
    settings.limits.max_connections = MOST;
    let broker = Broker::start(settings).unwrap();
    leave_history(&broker).await;
    let mut ended = Vec::new();
    for i in 0..MOST {
        let uid = format!("ended {i}");
        let mut session = admitted(&client(&broker, &uid, authority.client()))
            .await
            .unwrap();
        session.finish().await.unwrap();
        ended.push(session);
    }
    common::wait_until("their end is seen", || {
        broker.stats().half_closed >= MOST as u64
    });
    let mut newcomers = Vec::new();
    for i in 0..MOST {
        let uid = format!("newcomer {i}");
        let newcomer = admitted(&client(&broker, &uid, authority.client())).await;
        newcomers.push(newcomer.unwrap());
    }
    assert_eq!(broker.stats().turned_away, 0);
    broker.stop().unwrap();
}

const MANY: usize = 300;
const LARGE: usize = 50_000;

#[tokio::test]
async fn much_in_both_directions_arrives_whole_and_in_order() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    let message = |from: &str, i: usize| {
        let mut bytes = format!("{from} {i} ").into_bytes();
        bytes.resize(LARGE, b'x');
        bytes
    };
    let run = async |uid: &'static str, other: &'static str| {
        let tls = client(&broker, uid, authority.client());
        let (mut publisher, mut subscriber) = tls.join("news").await.unwrap().split();
        // Nobody begins before both are there: each says so before anything else.
        let greeting = async {
            loop {
                publisher.publish("here").await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let met = async {
            loop {
                let message = subscriber.recv().await.unwrap().unwrap();
                if message.uid() == other && message.message() == b"here" {
                    return;
                }
            }
        };
        timeout(PATIENCE, async {
            tokio::select! {
                () = greeting => {}
                () = met => {}
            }
        })
        .await
        .unwrap();
        let sending = async {
            for i in 0..MANY {
                publisher.feed(message(uid, i)).await.unwrap();
            }
            publisher.flush().await.unwrap();
        };
        let receiving = async {
            let mut expected = 0;
            while expected < MANY {
                let received = timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap();
                let received = received.unwrap();
                if received.message().len() == LARGE {
                    assert_eq!(received.message(), message(other, expected));
                    expected += 1;
                }
            }
        };
        tokio::join!(sending, receiving);
        (publisher, subscriber)
    };
    let (_alice, _bob) = tokio::join!(run("alice", "bob"), run("bob", "alice"));
}

#[tokio::test]
async fn a_wrong_key_is_refused_as_without_tls() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    let wrong = client(&broker, "alice", authority.client()).shared_key("wrong");
    let mut session = wrong.join("news").await.unwrap();
    let ended = timeout(PATIENCE, session.recv()).await.unwrap();
    assert!(matches!(ended, Err(Error::Refused { .. })), "{ended:?}");
    let blocking = tokio::task::spawn_blocking(move || wrong.join_blocking("news")?.recv());
    let ended = blocking.await.unwrap();
    assert!(matches!(ended, Err(Error::Refused { .. })), "{ended:?}");
}

#[tokio::test]
async fn an_address_key_works_through_tls() {
    let authority = Authority::new();
    let keyring = Keyring::new(None, Some("pepper".to_owned()));
    let broker = Broker::start(Settings {
        keyring: keyring.clone(),
        ..with_tls(&authority.localhost())
    });
    let broker = broker.unwrap();
    let tls = client(&broker, "alice", authority.client()).keyring(keyring.clone());
    let mut alice = tls.join("news").await.unwrap();
    let bob = plain_client(&broker, "bob").keyring(keyring);
    let _bob = bob.join_with("news", "hello").await.unwrap();
    assert_eq!(next_text(&mut alice).await, "hello");
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    leave_history(&broker).await;
    let mut alice = admitted(&client(&broker, "alice", authority.client()))
        .await
        .unwrap();
    let stopped = tokio::task::spawn_blocking(|| broker.stop());
    let ended = timeout(PATIENCE, alice.recv()).await.unwrap();
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn certificates_change_while_sessions_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let (pair, next) = (old.localhost(), new.localhost());
    let broker = Broker::start(with_tls(&pair)).unwrap();
    leave_history(&broker).await;
    let mut alice = admitted(&client(&broker, "alice", old.client()))
        .await
        .unwrap();
    let bob = client(&broker, "bob", new.client());
    let refused = bob.join("news").await.unwrap_err();
    assert_eq!(refused.handshake(), Some(HandshakeError::UnknownIssuer));

    fs::write(&pair.cert, "not a certificate").unwrap();
    broker.reload_certificates().unwrap_err();
    let carol = client(&broker, "carol", old.client());
    admitted(&carol).await.unwrap();

    fs::copy(&next.cert, &pair.cert).unwrap();
    fs::copy(&next.key, &pair.key).unwrap();
    assert!(broker.reload_certificates().unwrap());
    let mut bob = admitted(&bob).await.unwrap();
    bob.publish("hello").await.unwrap();
    assert_eq!(next_text(&mut alice).await, "hello");
}

#[tokio::test]
async fn clients_without_a_certificate_are_kept_out_where_one_is_asked_for() {
    let (ours, other) = (Authority::new(), Authority::new());
    let mut settings = with_tls(&ours.localhost());
    settings.tls.client_ca = Some(ours.ca());
    let broker = Broker::start(settings).unwrap();
    leave_history(&broker).await;
    let as_whom = |pair: &Pair| {
        let options = ours.trusted().identity(&pair.cert, &pair.key);
        client(&broker, "alice", ClientTls::new(options).unwrap())
    };
    for stranger in [
        client(&broker, "alice", ours.client()),
        as_whom(&other.localhost()),
    ] {
        admitted(&stranger).await.unwrap_err();
    }
    admitted(&as_whom(&ours.localhost())).await.unwrap();
}

#[tokio::test]
async fn the_wrong_port_is_told() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    let plain = address_of(&broker, ListenerKind::Mles);
    let tls = Client::new(format!("tls://localhost:{}", plain.port()), "alice");
    let tls = tls.tls(authority.client());
    let error = tls.join("news").await.unwrap_err();
    assert_eq!(error.handshake(), Some(HandshakeError::Closed), "{error}");
    let blocking = tokio::task::spawn_blocking(move || tls.join_blocking("news").map(drop));
    let error = blocking.await.unwrap().unwrap_err();
    assert_eq!(error.handshake(), Some(HandshakeError::Closed), "{error}");

    // The other way round the server may answer with an alert, which is no frame.
    let port = address_of(&broker, ListenerKind::MlesTls).port();
    let mut session = Client::new(format!("localhost:{port}"), "alice")
        .join("news")
        .await
        .unwrap();
    timeout(PATIENCE, session.recv())
        .await
        .unwrap()
        .unwrap_err();
}

/// More than what a connection's buffers and the queue of a member hold.
const FLOOD: usize = 600;

#[tokio::test]
async fn a_member_that_does_not_read_is_let_go_and_harms_nobody() {
    let authority = Authority::new();
    let mut settings = with_tls(&authority.localhost());
    settings.limits.max_frame = 1 << 20;
    settings.channels.default.queue_bytes = 1 << 20;
    settings.channels.default.history_frames = 0;
    let broker = Broker::start(settings).unwrap();
    let join = async |uid| {
        client(&broker, uid, authority.client())
            .join("news")
            .await
            .unwrap()
    };
    let (mut stuck, mut reader, mut sender) = (
        join("stuck").await,
        join("reader").await,
        join("sender").await,
    );
    let joined = || broker.stats().joined == 3;
    common::wait_until("all have joined", joined);
    for i in 0..FLOOD {
        let mut message = format!("{i} ");
        message.extend(std::iter::repeat_n('.', LARGE));
        sender.publish(&message).await.unwrap();
        assert_eq!(next_text(&mut reader).await, message);
    }
    common::wait_until("it is let go", || broker.stats().slow_disconnects == 1);
    common::wait_until("its place is free", || broker.stats().connections == 2);
    // What it was sent before it was let go is whole.
    let ended = timeout(PATIENCE, async {
        while stuck.recv().await?.is_some() {}
        Ok::<_, Error>(())
    });
    let ended = ended.await.unwrap();
    assert!(
        matches!(ended, Ok(()) | Err(Error::Io(_) | Error::Cut)),
        "{ended:?}"
    );
}

/// The next frame that is no announcement.
async fn next_frame(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    loop {
        let mut frame = vec![0; HEADER_LEN];
        stream.read_exact(&mut frame).await.unwrap();
        frame.resize(frame_len(&frame).unwrap(), 0);
        stream.read_exact(&mut frame[HEADER_LEN..]).await.unwrap();
        if !is_presence(&frame) {
            return frame;
        }
    }
}

/// On the shard that accepted them, which owns some of their channels.
#[tokio::test]
async fn sessions_over_tls_get_positions() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority.localhost())).unwrap();
    let connector = TlsConnector::from(authority.client().config().clone());
    for room in 0..8 {
        let (uid, channel) = ("bob", &*format!("room {room}"));
        let mut since = None;
        for offset in [0, 1] {
            let address = address_of(&broker, ListenerKind::MlesTls);
            let stream = TcpStream::connect(address).await.unwrap();
            let local = stream.local_addr().unwrap();
            let key = Keyring::new(Some("secret".to_owned()), None);
            let key = key.session_key(local, uid, channel);
            let name = "localhost".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            let frame = |message| Message {
                uid,
                channel,
                message,
            };
            let request = ResumeRequest {
                since,
                publisher: Some(1),
                members: None,
            };
            let join = encode_join(key.cid(), key, &frame(b""), &request.into()).unwrap();
            stream.write_all(&join).await.unwrap();
            let welcome = timeout(PATIENCE, next_frame(&mut stream)).await.unwrap();
            let Some(Notice::Welcome(welcome)) = Notice::decode(&welcome) else {
                panic!("{welcome:?}");
            };
            assert_eq!(welcome.position.offset, offset);
            assert_eq!((welcome.recovered, welcome.missed), (true, Some(0)));
            assert_eq!(welcome.published, (offset > 0).then_some(offset));
            let message = encode_frame(key.cid(), key, &frame(b"hello")).unwrap();
            stream.write_all(&message).await.unwrap();
            let receipt = timeout(PATIENCE, next_frame(&mut stream)).await.unwrap();
            let Some(Notice::Receipt { count: 1, position }) = Notice::decode(&receipt) else {
                panic!("{receipt:?}");
            };
            assert_eq!(position.offset, offset + 1);
            since = Some(position);
        }
    }
    assert_eq!(broker.stats().resumed, 8);
}

#[tokio::test]
async fn a_browser_gets_the_page_over_tls() {
    let authority = Authority::new();
    let mut settings = with_tls(&authority.localhost());
    settings.websocket.tls_listen = std::mem::take(&mut settings.tls.listen);
    let broker = Broker::start(settings).unwrap();
    let address = address_of(&broker, ListenerKind::WebSocketTls);
    let mut config = (**authority.client().config()).clone();
    // As browsers do, which would rather have the other one.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.unwrap().unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        answer.escape_ascii()
    );
}

#[test]
fn a_broker_does_not_start_with_what_it_cannot_use() {
    let (one, other) = (Authority::new().localhost(), Authority::new());
    let mut settings = with_tls(&other.localhost());
    settings.tls.key = Some(one.key);
    let error = Broker::start(settings).unwrap_err();
    assert!(matches!(error, StartError::Tls(_)), "{error}");
    let mut settings = with_tls(&other.localhost());
    settings.tls.cert = None;
    let error = Broker::start(settings).unwrap_err();
    assert!(matches!(error, StartError::Tls(_)), "{error}");
    // What is wrong for links is told at the start too, and not by each link.
    let mut settings = common::settings();
    settings.peer.upstreams = vec!["tls://broker.example".parse().unwrap()];
    settings.peer.tls.ca = Some(other.ca().with_extension("missing"));
    let error = Broker::start(settings).unwrap_err();
    assert!(matches!(error, StartError::Tls(_)), "{error}");
}
