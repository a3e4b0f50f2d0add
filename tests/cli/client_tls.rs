//! The clients over TLS: what is sent and received, how it ends, and whom they refuse.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use mles::client::{
    Client, ClientTls, Error, Event, HandshakeError, Key, Keyring, Reconnect, Session,
};
use mles::protocol::address_string;
use tokio::time::timeout;

use crate::client_blocking::assert_a_timeout_loses_nothing;
use crate::common::tls_proxy::{Authority, Pair, TlsProxy, long_ago};
use crate::fake_server::{FakeServer, PATIENCE, Peer, body, frame};

/// A server behind TLS with the certificate in `pair`.
fn behind(pair: &Pair) -> (FakeServer, TlsProxy) {
    let server = FakeServer::start();
    let proxy = TlsProxy::start(&server.address(), pair, None);
    (server, proxy)
}

fn client(proxy: &TlsProxy, tls: ClientTls) -> Client {
    Client::new(proxy.server(), "alice")
        .shared_key("secret")
        .tls(tls)
}

/// A session over TLS, and the other end of it.
struct Joined {
    session: Session,
    peer: Peer,
    proxy: TlsProxy,
    _server: FakeServer,
}

/// Has a client join, and takes its join.
async fn join() -> Joined {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let client = client(&proxy, authority.client());
    let (session, peer) = server.join(&client).await;
    Joined {
        session,
        peer,
        proxy,
        _server: server,
    }
}

async fn next_text(session: &mut Session) -> String {
    let message = timeout(PATIENCE, session.recv()).await.unwrap().unwrap();
    message.unwrap().text().into_owned()
}

#[tokio::test]
async fn the_protocol_is_the_same_inside() {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let accepting = server.accept_later();
    let client = client(&proxy, authority.client());
    let mut session = client.join("news").await.unwrap();
    let mut peer = accepting.await.unwrap();
    let join = peer.read_frame();
    assert_eq!(join.key, Key::from_parts(["secret", "alice", "news"]).0);
    assert_eq!(join.body, body("alice", "news", b""));
    session.publish("hello").await.unwrap();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"hello"));
    peer.send(&frame("bob", "news", "one"));
    assert_eq!(next_text(&mut session).await, "one");
    // The sending side alone is closed.
    session.finish().await.unwrap();
    peer.expect_end();
    peer.send(&frame("bob", "news", "two"));
    assert_eq!(next_text(&mut session).await, "two");
    drop(peer);
    let ended = timeout(PATIENCE, session.recv()).await.unwrap();
    assert!(ended.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_is_told_to_needs_no_scheme() {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let accepting = server.accept_later();
    let client = Client::new(format!("localhost:{}", proxy.port), "alice").tls(authority.client());
    let _session = client.join("news").await.unwrap();
    assert_eq!(
        accepting.await.unwrap().read_frame().body,
        body("alice", "news", b"")
    );
}

#[tokio::test]
async fn an_address_key_is_made_from_the_socket_below() {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let accepting = server.accept_later();
    let keyring = Keyring::new(None, Some("pepper".into()));
    let client = client(&proxy, authority.client()).keyring(keyring);
    let _session = client.join("news").await.unwrap();
    let address = address_string(proxy.peer());
    let key = Key::from_parts([address.as_str(), "pepper", "alice", "news"]);
    assert_eq!(accepting.await.unwrap().read_frame().key, key.0);
}

/// Enough to fill every buffer on the way.
const MANY: usize = 200;
const LARGE: usize = 60_000;

#[tokio::test]
async fn both_directions_at_once_in_two_tasks() {
    let Joined {
        session,
        mut peer,
        proxy: _proxy,
        ..
    } = join().await;
    let (mut publisher, mut subscriber) = session.split();
    let sending = tokio::spawn(async move {
        for _ in 0..MANY {
            publisher.feed([1; LARGE]).await.unwrap();
        }
        publisher.flush().await.unwrap();
        publisher
    });
    let server = tokio::task::spawn_blocking(move || {
        for _ in 0..MANY {
            peer.send(&frame("bob", "news", [2; LARGE]));
        }
        for _ in 0..MANY {
            assert_eq!(peer.read_frame().body, body("alice", "news", &[1; LARGE]));
        }
        peer
    });
    for _ in 0..MANY {
        let message = timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap();
        assert_eq!(message.unwrap().message(), [2; LARGE]);
    }
    let mut peer = server.await.unwrap();
    // Dropping the sending half closes the sending side.
    drop(sending.await.unwrap());
    let end = tokio::task::spawn_blocking(move || {
        peer.expect_end();
        peer
    });
    drop(end.await.unwrap());
    let ended = timeout(PATIENCE, subscriber.recv()).await.unwrap();
    assert!(ended.unwrap().is_none());
}

#[tokio::test]
async fn a_goodbye_that_does_not_go_out_at_once_goes_out_while_the_rest_is_read() {
    let Joined {
        session,
        mut peer,
        proxy: _proxy,
        ..
    } = join().await;
    let (mut publisher, mut subscriber) = session.split();
    let listening = tokio::spawn(async move { subscriber.next_event().await });
    // Nobody reads, until the system takes no more.
    let stuck = async {
        loop {
            publisher.publish([1; LARGE]).await.unwrap();
        }
    };
    let _: Result<(), _> = timeout(Duration::from_millis(500), stuck).await;
    drop(publisher);
    let reading = tokio::task::spawn_blocking(move || (peer.read_to_end(), peer));
    let (received, _peer) = timeout(PATIENCE, reading).await.unwrap().unwrap();
    listening.abort();
    assert!(received > LARGE, "{received}");
}

#[tokio::test]
async fn a_session_comes_back() {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let quick = Duration::from_millis(20);
    let client = client(&proxy, authority.client())
        .reconnect(Reconnect::default().initial(quick).cap(quick));
    let (mut session, mut peer) = server.join(&client).await;
    peer.send(&frame("bob", "news", "one"));
    assert_eq!(next_text(&mut session).await, "one");

    let accepting = server.accept_later();
    drop(peer);
    let mut event = async || timeout(PATIENCE, session.next_event()).await.unwrap();
    let lost = event().await.unwrap();
    assert!(matches!(lost, Some(Event::Disconnected { .. })), "{lost:?}");
    let back = event().await.unwrap();
    assert!(matches!(back, Some(Event::Reconnected)), "{back:?}");
    let mut peer = accepting.await.unwrap();
    assert_eq!(peer.read_join().0.body, body("alice", "news", b""));
    session.publish("again").await.unwrap();
    assert_eq!(peer.read_frame().body, body("alice", "news", b"again"));
    peer.send(&frame("bob", "news", "two"));
    assert_eq!(next_text(&mut session).await, "two");
}

#[tokio::test]
async fn an_end_without_a_goodbye_is_a_cut() {
    let mut joined = join().await;
    joined.peer.send(&frame("bob", "news", "one"));
    assert_eq!(next_text(&mut joined.session).await, "one");
    drop(joined.proxy);
    match timeout(PATIENCE, joined.session.recv()).await.unwrap() {
        Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_join_that_is_refused_is_told_as_without_tls() {
    let mut joined = join().await;
    drop(joined.peer);
    let ended = timeout(PATIENCE, joined.session.recv()).await.unwrap();
    assert!(matches!(ended, Err(Error::Refused { .. })), "{ended:?}");
}

/// Returns the reason for which both clients refuse a server with the certificate in `pair`.
async fn refusal(authority: &Authority, pair: &Pair) -> HandshakeError {
    let (_server, proxy) = behind(pair);
    let client = client(&proxy, authority.client());
    let error = client.join("news").await.unwrap_err();
    let said = error.handshake().unwrap();
    let text = error.to_string();
    let expected = format!("cannot connect to {}: {said}", proxy.server());
    assert_eq!(text, expected);
    let blocking = move || client.join_blocking("news").map(drop).unwrap_err();
    let error = tokio::task::spawn_blocking(blocking).await.unwrap();
    assert_eq!(error.to_string(), expected);
    said
}

#[tokio::test]
async fn servers_that_are_refused_and_why() {
    let (ours, other) = (Authority::new(), Authority::new());
    let said = refusal(&ours, &other.localhost()).await;
    assert_eq!(said, HandshakeError::UnknownIssuer);
    let said = refusal(&ours, &ours.sign("a.example", |_| {})).await;
    assert_eq!(
        said,
        HandshakeError::WrongName(vec!["a.example".to_owned()])
    );
    let said = refusal(&ours, &ours.sign("localhost", long_ago)).await;
    assert!(matches!(said, HandshakeError::Expired(_)), "{said}");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate() {
    let authority = Authority::new();
    let server = FakeServer::start();
    let ca = authority.ca();
    let proxy = TlsProxy::start(&server.address(), &authority.localhost(), Some(&ca));
    let without = client(&proxy, authority.client());
    // The server says so when the client's part of the handshake is over; its reset may come first.
    let refused = match without.join("news").await {
        Ok(mut session) => timeout(PATIENCE, session.recv()).await.unwrap().map(drop),
        Err(error) => Err(error),
    };
    let error = refused.unwrap_err();
    let is_told = error.handshake() == Some(HandshakeError::CertificateRequired);
    assert!(
        is_told || matches!(error, Error::Refused { .. }),
        "{error:?}"
    );

    let pair = authority.localhost();
    let options = authority.trusted().identity(&pair.cert, &pair.key);
    let accepting = server.accept_later();
    let with = client(&proxy, ClientTls::new(options).unwrap());
    let _session = with.join("news").await.unwrap();
    assert_eq!(
        accepting.await.unwrap().read_frame().body,
        body("alice", "news", b"")
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("tls://{}", silent.local_addr().unwrap());
    let client = Client::new(server, "alice")
        .tls(Authority::new().client())
        .connect_timeout(Duration::from_millis(50));
    let is_told = |error| match error {
        Error::Connect { source, .. } => source.to_string().contains("no answer to TLS"),
        _ => false,
    };
    assert!(is_told(client.join("news").await.map(drop).unwrap_err()));
    let blocking = move || client.join_blocking("news").map(drop).unwrap_err();
    assert!(is_told(
        tokio::task::spawn_blocking(blocking).await.unwrap()
    ));
}

#[test]
fn without_a_runtime() {
    let authority = Authority::new();
    let (server, proxy) = behind(&authority.localhost());
    let mut session = client(&proxy, authority.client())
        .join_blocking("news")
        .unwrap();
    let mut peer = server.accept();
    assert_eq!(peer.read_frame().body, body("alice", "news", b""));
    session.publish([5; LARGE]).unwrap();
    assert_eq!(peer.read_frame().body, body("alice", "news", &[5; LARGE]));
    assert_a_timeout_loses_nothing(&mut session, &mut peer);
    session.finish().unwrap();
    peer.expect_end();
    peer.send(&frame("eve", "news", [6; LARGE]));
    drop(peer);
    let messages: Vec<_> = session.messages().map(Result::unwrap).collect();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message(), [6; LARGE]);
}
