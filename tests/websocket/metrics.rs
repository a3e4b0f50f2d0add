//! Metrics know what carries a session.

use std::net::SocketAddr;

use mles::Broker;

use crate::api::{MESSAGES, TEXT_PLAIN, connect};
use crate::common::events::Events;
use crate::common::http::Http;
use crate::common::websocket::{TEXT, Ws, address, quiet};
use crate::common::{Client, start, wait_until};

/// Returns a metric of a broker, divided by transport.
fn value(broker: &Broker, name: &str, transport: &str) -> f64 {
    let text = Http::connect(broker.admin_addrs()[0])
        .ask("GET /metrics", "")
        .body;
    let name = format!("{name}{{transport=\"{transport}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

#[test]
fn what_carries_a_session_and_its_messages_is_told_apart() {
    let mut settings = quiet();
    settings.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let broker = start(settings);
    let mut tcp = Client::join_and_wait(&broker, "tcp", "room");
    let _v1 = Ws::v1(&broker, "v1", "room");
    let mut v2 = Ws::v2(&broker, "v2", "room");
    let _events = Events::open(address(&broker), "/channels/room/events", "");
    let expected = [("tcp", 1.0), ("ws", 2.0), ("events", 1.0), ("wss", 0.0)];
    for (transport, sessions) in expected {
        wait_until(transport, || {
            value(&broker, "mles_sessions", transport) == sessions
        });
    }
    tcp.send(b"one");
    v2.send(TEXT, b"two");
    let published = connect(&broker).post(&format!("{MESSAGES}?uid=http"), TEXT_PLAIN, "three");
    assert_eq!(published.status, 201, "{published:?}");
    for transport in ["tcp", "ws", "http"] {
        wait_until(transport, || {
            value(&broker, "mles_received_frames_total", transport) == 1.0
        });
    }
    for transport in ["tcp", "ws", "events"] {
        wait_until("it is written", || {
            value(&broker, "mles_sent_bytes_total", transport) > 0.0
        });
    }
    drop(v2);
    wait_until("the session has ended", || {
        value(&broker, "mles_sessions", "ws") == 1.0
    });
}
