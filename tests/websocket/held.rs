//! Publishers that are held back: their pings are answered, and what they send meanwhile is published in its order.

use std::time::Duration;

use mles::{Broker, Rate, Settings};

use crate::common::websocket::{BINARY, CLOSE, FIN, Got, PING, PONG, TEXT, Ws, body, quiet};
use crate::common::{Client, start, wait_until};

/// A publication rate that is used up at once and does not come back while a test runs.
fn held_settings() -> Settings {
    let mut settings = quiet();
    settings.limits.publish_rate_per_session = Some("1/h".parse::<Rate>().unwrap());
    settings
}

fn send(ws: &mut Ws, is_v2: bool, message: &str) {
    match is_v2 {
        true => ws.send(TEXT, message.as_bytes()),
        false => ws.send(BINARY, &body("pub", "room", message.as_bytes())),
    }
}

/// Starts a server with a publisher that has used up its rate, and a member who has what it has sent.
fn hold(is_v2: bool) -> (Broker, Ws, Client) {
    let broker = start(held_settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut publisher = match is_v2 {
        true => Ws::v2(&broker, "pub", "room"),
        false => Ws::v1(&broker, "pub", "room"),
    };
    send(&mut publisher, is_v2, "first");
    assert_eq!(member.receive_message().message, b"first");
    wait_until("it is held", || broker.stats().throttled > 0);
    (broker, publisher, member)
}

fn let_go(broker: &Broker) {
    broker.reload(quiet()).unwrap();
}

#[test]
fn pings_are_answered_and_messages_wait() {
    for is_v2 in [false, true] {
        let (broker, mut publisher, mut member) = hold(is_v2);
        for n in 0..3 {
            send(&mut publisher, is_v2, &format!("held {n}"));
            publisher.send(PING, format!("{n}").as_bytes());
            assert_eq!(publisher.next(), Got::Pong(format!("{n}").into_bytes()));
        }
        member.assert_silent();
        let_go(&broker);
        send(&mut publisher, is_v2, "last");
        for expected in ["held 0", "held 1", "held 2", "last"] {
            assert_eq!(member.receive_message().message, expected.as_bytes());
        }
    }
}

/// More than is kept stays in the socket, and a ping behind it waits.
#[test]
fn only_so_much_is_kept() {
    const COUNT: usize = 64;
    let (broker, mut publisher, mut member) = hold(true);
    let text = |n: usize| format!("{n:01000}");
    for n in 0..COUNT {
        publisher.send(TEXT, text(n).as_bytes());
    }
    publisher.send(PING, b"behind");
    publisher.assert_silent();
    let_go(&broker);
    for n in 0..COUNT {
        assert_eq!(member.receive_message().message, text(n).as_bytes());
    }
    assert_eq!(publisher.next(), Got::Pong(b"behind".to_vec()));
}

#[test]
fn fragments_and_the_end_keep_their_place() {
    let (broker, mut publisher, mut member) = hold(true);
    publisher.send(TEXT & !FIN, b"in ");
    publisher.send(PING, b"between");
    assert_eq!(publisher.next(), Got::Pong(b"between".to_vec()));
    publisher.send(FIN, b"two");
    publisher.send(PONG, b"nobody asked");
    publisher.send(CLOSE, &1000_u16.to_be_bytes());
    assert!(publisher.try_next(Duration::from_millis(300)).is_err());
    let_go(&broker);
    assert_eq!(member.receive_message().message, b"in two");
    publisher.assert_closed(1000);
    wait_until("it is gone", || broker.stats().connections == 1);
}

#[test]
fn what_was_sent_before_the_connection_broke_is_published() {
    let (broker, mut publisher, mut member) = hold(true);
    publisher.send(TEXT, b"before");
    publisher.send(PING, b"");
    assert_eq!(publisher.next(), Got::Pong(Vec::new()));
    publisher.stream.shutdown(std::net::Shutdown::Both).unwrap();
    drop(publisher);
    let_go(&broker);
    assert_eq!(member.receive_message().message, b"before");
    wait_until("it is gone", || broker.stats().connections == 1);
}

#[test]
fn what_is_no_frame_ends_the_connection_behind_what_was_sent() {
    let (broker, mut publisher, mut member) = hold(true);
    publisher.send(TEXT, b"before");
    // Not masked.
    publisher.raw(&[TEXT, 1, b'x']);
    let_go(&broker);
    assert_eq!(member.receive_message().message, b"before");
    publisher.assert_closed(1002);
}
