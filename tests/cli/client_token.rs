//! Clients that show tokens: at the join, and again before one expires.

use std::collections::VecDeque;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mles::Settings;
use mles::client::{Client, Epoch, Event, Position, Session};
use mles::protocol::{Notice, Welcome, decode_token, take_extensions};
use serde_json::json;
use tokio::time::timeout;

use crate::cli_serve::Broker;
use crate::common::token::{expired, lasting, settings, token};
use crate::common::{Server as _, start};
use crate::fake_server::{FakeServer, PATIENCE, Peer, body};
use crate::program::{Mles, mles};

/// A source that returns these one after the other, and the last for ever.
fn source(
    tokens: &[&str],
) -> impl Fn() -> Result<String, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static {
    let tokens: VecDeque<String> = tokens.iter().map(|&token| token.to_owned()).collect();
    let tokens = Mutex::new(tokens);
    move || {
        let mut tokens = tokens.lock().unwrap();
        let next = match tokens.len() {
            1 => tokens[0].clone(),
            _ => tokens.pop_front().unwrap(),
        };
        if next.is_empty() {
            Err("none".into())
        } else {
            Ok(next)
        }
    }
}

fn welcome(peer: &mut Peer) {
    let welcome = Welcome {
        position: Position {
            epoch: Epoch(0xE),
            offset: 0,
        },
        start: None,
        replay: 0,
        recovered: true,
        missed: Some(0),
        published: None,
    };
    peer.send(&Notice::Welcome(welcome).encode());
}

fn counts_for(peer: &mut Peer, millis: u64, refused: Option<&str>) {
    let (ttl, refused) = (Some(millis), refused.map(Into::into));
    peer.send(&Notice::Token { ttl, refused }.encode());
}

/// Reads events on a task, so that the session goes on while the test reads what it sends.
fn events(mut session: Session) -> tokio::sync::mpsc::UnboundedReceiver<Event> {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(event)) = session.next_event().await {
            if tell.send(event).is_err() {
                return;
            }
        }
    });
    told
}

async fn shown(mut peer: Peer) -> (Peer, String) {
    let read = tokio::task::spawn_blocking(move || {
        let token = peer.read_token();
        (peer, token)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn another_token_is_shown_before_the_first_expires_as_soon_as_there_is_one() {
    let server = FakeServer::start();
    // It has none for a while, or the same.
    let source = source(&["first", "", "first", "second", "third"]);
    let client = Client::new(server.address(), "alice").token_from(source);
    let accepting = server.accept_later();
    let session = client.join("news").await.unwrap();
    let mut peer = accepting.await.unwrap();
    let join = peer.read_frame();
    let (_, extensions) = take_extensions(&join.body).unwrap();
    assert_eq!(extensions.token, Some("first"));
    assert!(extensions.resume.is_some());
    welcome(&mut peer);
    counts_for(&mut peer, 8000, None);
    let mut told = events(session);
    let (mut peer, token) = shown(peer).await;
    assert_eq!(token, "second");
    counts_for(&mut peer, 500, Some("not good"));
    match timeout(PATIENCE, told.recv()).await.unwrap().unwrap() {
        Event::TokenRefused { reason } => assert_eq!(reason, "not good"),
        other => panic!("{other:?}"),
    }
    let (_, token) = shown(peer).await;
    assert_eq!(token, "third");
}

#[tokio::test]
async fn a_token_is_shown_between_messages() {
    let server = FakeServer::start();
    let client = Client::new(server.address(), "alice").token_from(source(&["first", "second"]));
    let accepting = server.accept_later();
    let session = client.join("news").await.unwrap();
    let mut peer = accepting.await.unwrap();
    peer.read_frame();
    welcome(&mut peer);
    let (mut publisher, mut subscriber) = session.split();
    // More than a connection takes at once, so that a frame is cut where the token is due.
    let message = vec![b'x'; 1 << 20];
    let count = 20;
    let sent = message.clone();
    let publishing = tokio::spawn(async move {
        for _ in 0..count {
            publisher.publish(&sent).await.unwrap();
        }
        publisher
    });
    tokio::spawn(async move { while let Ok(Some(_)) = subscriber.next_event().await {} });
    counts_for(&mut peer, 1, None);
    let read = tokio::task::spawn_blocking(move || {
        let expected = body("alice", "news", b"");
        let mut tokens = 0;
        for _ in 0..=count {
            let (magic, frame) = peer.read_any();
            let found = frame.body;
            if magic == b'N' {
                assert_eq!(decode_token(&found), Ok("second"));
                tokens += 1;
            } else {
                assert!(found.starts_with(&expected[..expected.len() - 1]));
                assert_eq!(found.len(), expected.len() + message.len() + 4);
            }
        }
        tokens
    });
    assert_eq!(timeout(PATIENCE, read).await.unwrap().unwrap(), 1);
    publishing.await.unwrap();
}

/// With a real server, and with functions that wait for their tokens.
#[tokio::test]
async fn a_session_lasts_for_as_long_as_there_are_tokens() {
    let broker = start(Settings {
        tokens: settings(),
        ..crate::common::settings()
    });
    let server = broker.address().to_string();
    let all = json!(["*"]);
    let asked = Arc::new(Mutex::new(0));
    let counter = asked.clone();
    let alice = Client::new(&server, "alice").token_from_async(move || {
        *counter.lock().unwrap() += 1;
        async {
            tokio::task::yield_now().await;
            Ok(token("alice", Duration::from_secs(2), &json!(["*"])))
        }
    });
    let mut alice = events(alice.join("news").await.unwrap());
    // Its end shows that time passes.
    let bob = Client::new(&server, "bob").token(token("bob", Duration::from_secs(5), &all));
    let mut bob = bob.join("news").await.unwrap();
    while let Ok(Some(_)) = timeout(PATIENCE, bob.next_event()).await.unwrap() {}
    assert!(*asked.lock().unwrap() > 2);
    let carol = Client::new(&server, "carol").token(lasting("carol"));
    let mut carol = carol.join("news").await.unwrap();
    carol.publish("still there?").await.unwrap();
    loop {
        match timeout(PATIENCE, alice.recv()).await.unwrap().unwrap() {
            Event::Message(message) if !message.is_announcement() => {
                assert_eq!(message.text(), "still there?");
                break;
            }
            Event::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(broker.stats().tokens_refreshed > 1);
    let late = Client::new(&server, "late").token(expired("late"));
    let mut late = late.join("news").await.unwrap();
    assert!(late.next_event().await.is_err());
}

/// As an operator renews tokens: the new file takes the name of the old one.
#[test]
fn a_command_goes_on_when_its_token_file_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("key"), "a secret of more than thirty-two bytes").unwrap();
    let config = format!("[token]\nkeys = [{:?}]\nleeway = \"0s\"\n", path("key"));
    fs::write(path("mles.toml"), config).unwrap();
    let mut broker = Broker::start(&["--config", &path("mles.toml")]);
    let server = broker.server();
    let renew = |lifetime| {
        let token = token("alice", lifetime, &json!(["*"]));
        fs::write(path("new"), token).unwrap();
        fs::rename(path("new"), path("token")).unwrap();
    };
    renew(Duration::from_secs(4));
    let file = path("token");
    let reading = ["sub", "news", "-n", "1", "--token-file", &file];
    let reading = Mles::start_at(&server, &reading, |command| command.stdin(Stdio::null()));
    broker.wait_for("joined=1");
    renew(Duration::from_secs(3600));
    // Another one has a token of the same age, which nobody renews.
    let short = token("bob", Duration::from_secs(5), &json!(["*"]));
    let output = mles()
        .args(["sub", "news", "--server", &server, "--token", &short])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let long = lasting("carol");
    let output = mles()
        .args([
            "pub", "news", "hello", "--server", &server, "--token", &long,
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    let (code, stdout, stderr) = reading.end();
    assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{stderr}");
}
