//! Clients of a node that publish and read over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{Fleet, TestNode, settings};
use crate::fleet::FleetPatience;
use crate::order::Sequence;
use crate::settings::{ListenerKind, Settings};

fn http_address(node: &TestNode) -> SocketAddr {
    let listeners = node.broker.listeners().iter();
    let mut of_kind = listeners.filter(|(kind, _)| *kind == ListenerKind::WebSocket);
    of_kind.next().unwrap().1
}

fn with_http() -> Settings {
    let mut settings = settings();
    settings.websocket.listen = vec![([127, 0, 0, 1], 0).into()];
    settings.websocket.trust = true;
    settings
}

fn patience() -> FleetPatience {
    FleetPatience::new(Duration::from_secs(60))
}

/// Returns the status of the answer to a request that has this line, without the version, and this behind it.
async fn ask(node: &TestNode, line: &str, rest: &str) -> String {
    let mut stream = TcpStream::connect(http_address(node)).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{rest}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).map(str::to_owned);
    status.unwrap_or(answer)
}

/// Publishes lines as one request, and returns the status of the answer.
async fn publish(node: &TestNode, uid: &str, lines: &str) -> String {
    let rest = format!(
        "Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    );
    let line = format!("POST /channels/room/messages?uid={uid}");
    ask(node, &line, &rest).await
}

#[tokio::test]
async fn what_is_too_long_for_a_record_is_refused_and_holds_nobody_up() {
    let node = Fleet::new().start_with(patience(), with_http()).await;
    // The body is within the limits, and its frames have the name in each.
    let uid = "u".repeat(80);
    let line = format!("\"{}\"\n", "m".repeat(970));
    let lines = line.repeat(1000);
    assert_eq!(publish(&node, &uid, &lines).await, "413");
    assert_eq!(publish(&node, &uid, &line).await, "201");
}

#[tokio::test]
async fn who_reads_behind_a_position_that_does_not_come_is_told_so() {
    let fleet = Fleet::new();
    let one = fleet.start().await;
    let other = fleet.start_with(patience(), with_http()).await;
    let mut writer = one.join("writer", "room").await;
    other.log.cut();
    let position = loop {
        let position = writer.publish_confirmed("a").await.unwrap();
        if Sequence::of_offset(position.offset) > other.status().applied() {
            break position;
        }
    };
    let line = format!("GET /channels/room/messages?uid=reader&since={position}");
    assert_eq!(ask(&other, &line, "\r\n").await, "503");
    other.log.reconnect();
    assert_eq!(ask(&other, &line, "\r\n").await, "200");
}
