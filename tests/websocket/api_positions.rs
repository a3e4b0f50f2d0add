//! Positions over HTTP: where a receipt points to, how long a position holds, and who has to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use mles::Broker;
use mles::channel::SlowPolicy;
use serde_json::{Value, json};

use crate::api::{MESSAGES, TEXT_PLAIN, connect, json_of, offset};
use crate::common::http::Http;
use crate::common::slow::{QUEUE, message, number};
use crate::common::websocket::{quiet, settings};
use crate::common::{Client, start, wait_until};

/// Reads a channel to its end in pages of `limit`, and returns its messages by offset.
fn read_all(broker: &Broker, limit: usize) -> BTreeMap<u64, String> {
    let mut http = connect(broker);
    let (mut all, mut since) = (BTreeMap::new(), String::new());
    loop {
        let page = http.read(&format!("?limit={limit}{since}"));
        assert_eq!(page["recovered"], true, "{page}");
        let messages = page["messages"].as_array().unwrap();
        for message in messages {
            let text = message["text"].as_str().unwrap().to_owned();
            let before = all.insert(message["offset"].as_u64().unwrap(), text);
            assert_eq!(before, None);
        }
        if messages.is_empty() {
            return all;
        }
        since = format!("&since={}", page["next"].as_str().unwrap());
    }
}

/// Whatever shard a publisher is on, its message is read where its receipt says, and members see the same order.
#[test]
fn a_receipt_is_the_place_where_the_message_is_read() {
    const EACH: usize = 50;
    const PUBLISHERS: usize = 6;
    let mut settings = settings();
    settings.shards = Some(3);
    settings.channels.default.history_frames = PUBLISHERS * EACH;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let receipts: BTreeMap<u64, String> = std::thread::scope(|scope| {
        let publish = |publisher| {
            let mut http = connect(&broker);
            let one = move |i| {
                let text = format!("{publisher} {i}");
                (offset(&http.post(MESSAGES, TEXT_PLAIN, &text)), text)
            };
            (0..EACH).map(one).collect::<Vec<_>>()
        };
        let publishers = (0..PUBLISHERS).map(|publisher| scope.spawn(move || publish(publisher)));
        let publishers: Vec<_> = publishers.collect();
        let receipts = publishers.into_iter().flat_map(|p| p.join().unwrap());
        receipts.collect()
    });
    let offsets: Vec<_> = receipts.keys().copied().collect();
    let all: Vec<_> = (1..=(PUBLISHERS * EACH) as u64).collect();
    assert_eq!(offsets, all);
    assert_eq!(read_all(&broker, 7), receipts);
    for text in receipts.values() {
        assert_eq!(&member.text(), text);
    }
}

/// A repeat that comes while the first is still on its way is no second message.
#[test]
fn of_repeats_at_the_same_time_one_is_published() {
    let mut settings = settings();
    settings.shards = Some(3);
    let broker = start(settings);
    let keyed = format!("{TEXT_PLAIN}Idempotency-Key: key\r\n");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let post = || connect(&broker).post(MESSAGES, &keyed, "once");
        let posts: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let published = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(published.count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(read_all(&broker, 10).len(), 1);
    assert_eq!(broker.stats().frames_in, 1);
}

/// A reader that has missed nothing is not told that all is gone because the channel was empty for a while.
#[test]
fn an_empty_channel_keeps_its_position() {
    let mut settings = settings();
    settings.channels.default.history_frames = 0;
    let broker = start(settings);
    let mut http = connect(&broker);
    let first = http.read("");
    assert_eq!(first["messages"], json!([]));
    // A channel with nothing to remember goes when its last member does.
    Client::join_and_wait(&broker, "alice", "other").reset();
    wait_until("the other channel has gone", || {
        broker.stats().channels == 1
    });
    Client::join_and_wait(&broker, "alice", "room").reset();
    wait_until("alice has left", || broker.stats().left == 2);
    let since = format!("?since={}", first["next"].as_str().unwrap());
    let again = http.read(&since);
    assert_eq!(
        (&again["recovered"], &again["missed"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(again["next"], first["next"]);
    assert_eq!(http.post(MESSAGES, TEXT_PLAIN, "gone at once").status, 201);
    let missed = http.read(&since);
    assert_eq!(
        (&missed["recovered"], &missed["missed"]),
        (&json!(false), &json!(1))
    );
}

/// What nobody has used for `idle_ttl` is gone with its epoch, and who comes back is told.
#[test]
fn a_position_of_a_channel_that_is_gone_is_told() {
    let mut settings = settings();
    settings.channels.default.idle_ttl = Duration::from_millis(50);
    let broker = start(settings);
    let mut http = connect(&broker);
    let posted = json_of(&http.post(MESSAGES, TEXT_PLAIN, "old"));
    wait_until("the channel has gone", || broker.stats().channels == 0);
    http.post(MESSAGES, TEXT_PLAIN, "new");
    let page = http.read(&format!("?since={}", posted["position"].as_str().unwrap()));
    assert_eq!(
        (&page["recovered"], &page["missed"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(page["messages"][0]["text"], "new");
    assert_ne!(page["epoch"], posted["epoch"]);
}

/// A member that publishes as before has offsets too, and its hints of presence have none.
#[test]
fn messages_of_members_are_counted_and_hints_are_not() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    for text in ["one", "", "two"] {
        alice.send(text.as_bytes());
    }
    for text in ["one", "two"] {
        assert_eq!(bob.receive_message().message, text.as_bytes());
    }
    alice.send(b"");
    let mut http = connect(&broker);
    assert_eq!(offset(&http.post(MESSAGES, TEXT_PLAIN, "three")), 3);
    assert_eq!(alice.receive_message().message, b"three");
    alice.send(b"");
    alice.send(b"four");
    for text in ["three", "four"] {
        assert_eq!(bob.receive_message().message, text.as_bytes());
    }
    let all = read_all(&broker, 2);
    let expected = [(1, "one"), (2, "two"), (3, "three"), (4, "four")];
    assert_eq!(all, expected.map(|(at, text)| (at, text.to_owned())).into());
}

/// A broker with one shard, under whose policy publishers wait for "slow", a member of the room that reads nothing, and
/// a publisher with a request that waits, behind so many that were answered.
fn held_back() -> (Broker, Client, Http, usize) {
    let mut settings = quiet();
    settings.shards = Some(1);
    settings.limits.frame_deadline = Duration::from_secs(60);
    let channel = &mut settings.channels.default;
    channel.history_frames = 0;
    channel.slow_policy = SlowPolicy::Backpressure;
    channel.queue_bytes = QUEUE;
    channel.write_deadline = Duration::from_secs(60);
    let broker = start(settings);
    let slow = Client::join_and_wait(&broker, "slow", "room");
    let mut http = connect(&broker);
    let mut sent = 0;
    loop {
        http.begin_post(MESSAGES, TEXT_PLAIN, message(sent));
        // Until then everything goes into the queue, or the buffers of the socket.
        if !http.begins_within(Duration::from_millis(500)) {
            return (broker, slow, http, sent);
        }
        assert_eq!(http.answer().status, 201);
        sent += 1;
        assert!(sent < 2000, "never held back");
    }
}

/// Under `backpressure` a publisher over HTTP waits for a member that is behind, and goes on when it reads.
#[test]
fn a_publisher_waits_for_a_member_that_is_behind() {
    let (broker, mut slow, mut http, answered) = held_back();
    for i in 0..=answered {
        assert_eq!(number(&slow.receive_message().message), i);
    }
    assert_eq!(http.answer().status, 201);
    assert_eq!(broker.stats().slow_disconnects, 0);
}

/// Publishers with many requests under way are served in turn: none is far ahead of another that has requests waiting.
#[test]
fn publishers_with_many_requests_under_way_take_turns() {
    // Together they have nearly as many as may be delivered before the members are written to.
    const PUBLISHERS: usize = 55;
    const REQUESTS: usize = 120;
    const AHEAD: usize = 32;
    let (broker, mut slow, mut first, answered) = held_back();
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|_| connect(&broker)).collect();
    for (n, publisher) in publishers.iter_mut().enumerate() {
        let body = n.to_string();
        let head = format!("POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\n{TEXT_PLAIN}");
        let length = body.len();
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        publisher.send(request.repeat(REQUESTS));
    }
    for _ in 0..=answered {
        slow.receive_message();
    }
    let mut served = [0; PUBLISHERS];
    while served.iter().all(|&served| served < REQUESTS) {
        let message = slow.receive_message().message;
        let publisher: usize = String::from_utf8(message).unwrap().parse().unwrap();
        served[publisher] += 1;
        let least = served.iter().min().unwrap();
        assert!(served[publisher] <= least + AHEAD, "{served:?}");
    }
    let left = PUBLISHERS * REQUESTS - served.iter().sum::<usize>();
    for _ in 0..left {
        slow.receive_message();
    }
    assert_eq!(first.answer().status, 201);
    for mut publisher in publishers {
        for _ in 0..REQUESTS {
            assert_eq!(publisher.answer().status, 201);
        }
    }
}
