//! Sessions that come back to a real server, over connections that are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mles::Broker;
use mles::client::{Client, Event, Position, Reconnect, Session};
use tokio::time::timeout;

use crate::common::{PATIENCE, Server as _, settings, start};
use crate::cutting_proxy::CuttingProxy;

fn client(server: impl ToString, uid: &str) -> Client {
    let quick = Duration::from_millis(10);
    let reconnect = Reconnect::default().initial(quick).cap(quick);
    Client::new(server.to_string(), uid).reconnect(reconnect)
}

/// A broker that keeps all that these tests publish.
fn broker() -> Broker {
    let mut settings = settings();
    settings.channels.default.history_frames = 10_000;
    start(settings)
}

async fn next(session: &mut Session) -> Event {
    let event = timeout(PATIENCE, session.next_event()).await;
    event.expect("nothing comes").unwrap().unwrap()
}

/// Waits for the next message that is no announcement. Collects gaps.
async fn next_message(session: &mut Session, gaps: &mut Vec<Option<u64>>) -> (String, Position) {
    loop {
        match next(session).await {
            Event::Message(message) if !message.is_announcement() => {
                return (message.text().into_owned(), message.position().unwrap());
            }
            Event::Gap { missed } => gaps.push(missed),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order() {
    let broker = broker();
    let proxy = CuttingProxy::start(broker.address());
    let mut reader = client(proxy.address(), "reader")
        .join("news")
        .await
        .unwrap();
    let mut writer = client(broker.address(), "writer")
        .join("news")
        .await
        .unwrap();
    let mut gaps = Vec::new();
    let mut expected = Vec::new();
    for round in 0..5 {
        for message in 0..20 {
            let text = format!("{round}/{message}");
            let position = writer.publish_confirmed(&text).await.unwrap();
            expected.push((text, position));
            if message == round * 4 {
                proxy.cut();
            }
        }
    }
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.push(next_message(&mut reader, &mut gaps).await);
    }
    assert_eq!(got, expected);
    assert_eq!(gaps, []);
}

#[tokio::test]
async fn each_message_is_published_once_across_cuts() {
    let broker = broker();
    let proxy = CuttingProxy::start(broker.address());
    let reader = client(broker.address(), "reader").positions();
    let mut reader = reader.join("news").await.unwrap();
    let mut writer = client(proxy.address(), "writer")
        .join("news")
        .await
        .unwrap();
    let (total, mut cuts) = (400_u64, 0);
    let mut positions = BTreeMap::new();
    for number in 0..total {
        let text = number.to_string();
        if number % 7 == 0 {
            let call = timeout(PATIENCE, writer.publish_confirmed(&text)).await;
            positions.insert(text, call.expect("it hangs").unwrap());
        } else {
            let call = timeout(PATIENCE, writer.publish(&text)).await;
            call.expect("it hangs").unwrap();
        }
        if number % 25 == 3 {
            cuts += proxy.cut();
        }
    }
    assert!(cuts > 1, "nothing was cut");
    let mut confirmed = 0;
    while confirmed < total {
        match next(&mut writer).await {
            Event::Confirmed { count, .. } => confirmed += count,
            Event::Unconfirmed { count } => panic!("the fate of {count} is unknown"),
            Event::Gap { missed } => panic!("{missed:?} are missing"),
            Event::Message(message) => assert!(message.is_announcement(), "{message:?}"),
            _ => {}
        }
    }
    assert_eq!(confirmed, total);
    let mut gaps = Vec::new();
    for number in 0..total {
        let (text, position) = next_message(&mut reader, &mut gaps).await;
        assert_eq!(text, number.to_string(), "{gaps:?}");
        if let Some(&told) = positions.get(&text) {
            assert_eq!(position, told, "of {text}");
        }
    }
}

#[tokio::test]
async fn another_order_is_told_after_a_restart() {
    let first = broker();
    let proxy = CuttingProxy::start(first.address());
    let mut session = client(proxy.address(), "alice").join("news").await.unwrap();
    let before = session.publish_confirmed("a").await.unwrap();
    let second = broker();
    proxy.lead_to(second.address());
    first.stop().unwrap();
    proxy.cut();
    loop {
        match next(&mut session).await {
            Event::Gap { missed } => break assert_eq!(missed, None),
            Event::Message(message) => panic!("{message:?}"),
            Event::Unconfirmed { .. } => panic!("it was confirmed before"),
            _ => {}
        }
    }
    let after = session.publish_confirmed("b").await.unwrap();
    assert_eq!((before.offset, after.offset), (1, 1));
    assert_ne!(before.epoch, after.epoch);
}

#[tokio::test]
async fn a_later_program_goes_on_where_an_earlier_one_stopped() {
    let broker = broker();
    let asking = Client::new(broker.address().to_string(), "reader").positions();
    let mut first = asking.join("news").await.unwrap();
    let mut writer = client(broker.address(), "writer")
        .join("news")
        .await
        .unwrap();
    writer.publish_confirmed("one").await.unwrap();
    let mut gaps = Vec::new();
    assert_eq!(next_message(&mut first, &mut gaps).await.0, "one");
    let stopped_at = first.position().unwrap().to_string();
    first.close(Duration::ZERO).await.unwrap();
    writer.publish_confirmed("two").await.unwrap();
    let since = stopped_at.parse().unwrap();
    let mut later = asking.since(since).join("news").await.unwrap();
    let (text, position) = next_message(&mut later, &mut gaps).await;
    assert_eq!((text.as_str(), position.offset), ("two", 2));
    assert_eq!(gaps, []);
}

/// Keeps what is `known` of members up to date until it is as expected.
async fn wait_for_members(session: &mut Session, known: &mut BTreeSet<String>, expected: &[&str]) {
    while !known.iter().eq(expected) {
        match next(session).await {
            Event::Members { uids, .. } => *known = uids.iter().map(ToString::to_string).collect(),
            Event::MembersChanged { joined, left, .. } => {
                known.extend(joined.iter().map(ToString::to_string));
                for uid in left {
                    known.remove(&*uid);
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_is_there_is_known_after_a_reconnect_as_well() {
    let broker = broker();
    let proxy = CuttingProxy::start(broker.address());
    let watcher = client(proxy.address(), "watcher").members(100);
    let (mut watcher, mut known) = (watcher.join("news").await.unwrap(), BTreeSet::new());
    wait_for_members(&mut watcher, &mut known, &["watcher"]).await;
    let join = |uid| client(broker.address(), uid);
    let alice = join("alice").join("news").await.unwrap();
    wait_for_members(&mut watcher, &mut known, &["alice", "watcher"]).await;
    proxy.cut();
    // Those who come and leave meanwhile are in the list behind the next join, or told as changes.
    let _bob = join("bob").join("news").await.unwrap();
    alice.close(PATIENCE).await.unwrap();
    wait_for_members(&mut watcher, &mut known, &["bob", "watcher"]).await;
}
