//! Publishers that move from node to node, and publications that are repeated on another.

use super::world::{Fleet, Proxy, texts, until};
use crate::client::Reconnect;
use crate::log::memory::Faults;

#[tokio::test]
async fn a_publisher_that_moves_has_each_message_in_once() {
    let faults = Faults {
        lost: 50,
        unanswered: 100,
        doubled: 100,
        broken: 10,
        ..Faults::default()
    };
    let fleet = Fleet::with_faults(7, faults);
    let nodes = [fleet.start().await, fleet.start().await];
    let mut reader = nodes[0].join("reader", "room").await;
    let proxy = Proxy::start(nodes[0].address()).await;
    let writer = nodes[0].client_at("writer", proxy.address);
    let reconnect = Reconnect::default();
    let mut writer = writer.reconnect(reconnect).join("room").await.unwrap();
    for i in 0..60 {
        writer.publish(format!("{i}")).await.unwrap();
        if i % 10 == 9 {
            proxy.move_to(nodes[(i / 10 + 1) % 2].address());
        }
    }
    writer.publish_confirmed("end").await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "end") {
        seen.extend(texts(&mut reader, 1).await);
    }
    let mut expected: Vec<_> = (0..60).map(|i| format!("{i}")).collect();
    expected.push("end".to_owned());
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_session_that_was_superseded_on_another_node_publishes_nothing_more() {
    let fleet = Fleet::new();
    let nodes = [fleet.start().await, fleet.start().await];
    let mut reader = nodes[0].join("reader", "room").await;
    let proxy = Proxy::start(nodes[0].address()).await;
    let writer = nodes[0].client_at("writer", proxy.address);
    let mut writer = writer
        .reconnect(Reconnect::default())
        .join("room")
        .await
        .unwrap();
    writer.publish_confirmed("before").await.unwrap();
    // The node does not hear that its connection is gone, nor of the log.
    nodes[0].log.cut();
    proxy.leave_open(nodes[1].address());
    writer.publish_confirmed("behind").await.unwrap();
    nodes[0].log.reconnect();
    assert_eq!(texts(&mut reader, 2).await, ["before", "behind"]);
    let replaced = || nodes[0].broker.stats().replaced;
    until(
        || replaced() == 1,
        || format!("{}", nodes[0].broker.stats()),
    )
    .await;
}
