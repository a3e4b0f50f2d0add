//! One order of all messages, on all nodes.

use super::world::{Fleet, texts};

#[tokio::test]
async fn members_of_two_nodes_see_one_order() {
    let fleet = Fleet::new();
    let (one, other) = (fleet.start().await, fleet.start().await);
    let mut readers = Vec::new();
    for (node, uid) in [(&one, "a"), (&other, "b"), (&one, "c"), (&other, "d")] {
        readers.push(node.join(uid, "room").await);
    }
    let mut writers = Vec::new();
    for node in [&one, &other] {
        writers.push(node.client("writer").join("room").await.unwrap());
    }
    for i in 0..50 {
        for (w, writer) in writers.iter_mut().enumerate() {
            writer.publish(format!("{w}.{i}")).await.unwrap();
        }
    }
    let mut seen = Vec::new();
    for reader in &mut readers {
        seen.push((texts(reader, 100).await, reader.position()));
    }
    for (order, position) in &seen {
        assert_eq!((order, position), (&seen[0].0, &seen[0].1));
    }
    for w in 0..2 {
        let own: Vec<_> = seen[0]
            .0
            .iter()
            .filter(|text| text.starts_with(&format!("{w}.")))
            .collect();
        let expected: Vec<_> = (0..50).map(|i| format!("{w}.{i}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_receipt_comes_when_all_have_it_and_a_position_counts_everywhere() {
    let fleet = Fleet::new();
    let (one, other) = (fleet.start().await, fleet.start().await);
    let mut writer = one.join("writer", "room").await;
    let mut last = None;
    for text in ["a", "b", "c"] {
        last = writer.publish_confirmed(text).await.unwrap().into();
    }
    let last = last.unwrap();
    let mut reader = other
        .client("reader")
        .positions()
        .join("room")
        .await
        .unwrap();
    assert_eq!(texts(&mut reader, 3).await, ["a", "b", "c"]);
    assert_eq!(reader.position(), Some(last));
    drop(reader);
    writer.publish_confirmed("d").await.unwrap();
    let mut reader = one.client("reader").since(last).join("room").await.unwrap();
    assert_eq!(texts(&mut reader, 1).await, ["d"]);
}

#[tokio::test]
async fn a_node_that_starts_later_has_the_history() {
    let fleet = Fleet::new();
    let one = fleet.start().await;
    let mut writer = one.join("writer", "room").await;
    for i in 0..20 {
        writer.publish_confirmed(format!("{i}")).await.unwrap();
    }
    let other = fleet.start().await;
    let mut reader = other.join("reader", "room").await;
    let expected: Vec<_> = (0..20).map(|i| format!("{i}")).collect();
    assert_eq!(texts(&mut reader, 20).await, expected);
    assert_eq!(reader.position(), writer.position());
}
