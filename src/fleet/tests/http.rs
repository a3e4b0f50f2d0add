//! Clients of a node that publish over HTTP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{Fleet, TestNode, settings};
use crate::fleet::FleetPatience;
use crate::settings::ListenerKind;

fn http_address(node: &TestNode) -> SocketAddr {
    let listeners = node.broker.listeners().iter();
    let mut of_kind = listeners.filter(|(kind, _)| *kind == ListenerKind::WebSocket);
    of_kind.next().unwrap().1
}

/// Publishes lines as one request, and returns the status of the answer.
async fn publish(node: &TestNode, uid: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(http_address(node)).await.unwrap();
    let request = format!(
        "POST /channels/room/messages?uid={uid} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).map(str::to_owned);
    status.unwrap_or(answer)
}

#[tokio::test]
async fn what_is_too_long_for_a_record_is_refused_and_holds_nobody_up() {
    let mut with_http = settings();
    with_http.websocket.listen = vec![([127, 0, 0, 1], 0).into()];
    with_http.websocket.trust = true;
    let patience = FleetPatience::new(std::time::Duration::from_secs(20));
    let node = Fleet::new().start_with(patience, with_http).await;
    // The body is within the limits, and its frames have the name in each.
    let uid = "u".repeat(80);
    let line = format!("\"{}\"\n", "m".repeat(970));
    let lines = line.repeat(1000);
    assert_eq!(publish(&node, &uid, &lines).await, "413");
    assert_eq!(publish(&node, &uid, &line).await, "201");
}
