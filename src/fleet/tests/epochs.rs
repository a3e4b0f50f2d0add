//! A log that loses records.

use std::time::Duration;

use super::world::{Fleet, epoch, settings, texts, until};
use crate::client::Event;
use crate::fleet::{FleetPatience, FleetPhase};
use crate::order::Sequence;

#[tokio::test]
async fn a_log_that_loses_its_end_begins_an_epoch_on_all_nodes() {
    let fleet = Fleet::new();
    let (one, other) = (fleet.start().await, fleet.start().await);
    let mut writer = one.join("writer", "room").await;
    for text in ["a", "b", "c"] {
        writer.publish_confirmed(text).await.unwrap();
    }
    let position = writer.position().unwrap();
    let kept = Sequence::of_offset(position.offset).0 - 1;
    fleet.engine.roll_back(Sequence(kept));
    for node in [&one, &other] {
        until(
            || node.status().epoch().number == 2 && node.status().phase() == FleetPhase::Serving,
            || format!("{:?}", node.status()),
        )
        .await;
    }
    assert_eq!(one.status().epoch(), other.status().epoch());
    // Who comes back with the position is told that it is not known what is missing.
    let mut back = other
        .client("back")
        .since(position)
        .join("room")
        .await
        .unwrap();
    let gap = loop {
        match back.next_event().await.unwrap().unwrap() {
            Event::Gap { missed } => break missed,
            Event::Message(message) => panic!("{}", message.text()),
            _ => {}
        }
    };
    assert_eq!(gap, None);
    let mut writer = one.join("again", "room").await;
    writer.publish_confirmed("d").await.unwrap();
    assert_eq!(texts(&mut back, 1).await, ["d"]);
}

#[tokio::test]
async fn a_log_that_was_made_anew_begins_an_epoch() {
    let fleet = Fleet::new();
    let one = fleet.start().await;
    let mut writer = one.join("writer", "room").await;
    writer.publish_confirmed("a").await.unwrap();
    let before = one.status().epoch();
    fleet.engine.make_anew(epoch(1 << 20));
    until(
        || one.status().epoch().id != before.id && one.status().phase() == FleetPhase::Serving,
        || format!("{:?}", one.status()),
    )
    .await;
    let mut reader = one.join("reader", "room").await;
    let mut writer = one.join("again", "room").await;
    writer.publish_confirmed("b").await.unwrap();
    assert_eq!(texts(&mut reader, 1).await, ["b"]);
}

#[tokio::test]
async fn positions_of_a_log_that_was_made_anew_are_the_same_where_channels_had_made_room() {
    let fleet = Fleet::new();
    let mut narrow = settings();
    narrow.shards = Some(1);
    narrow.limits.max_channels = 1;
    let patience = FleetPatience::new(Duration::from_secs(20));
    let one = fleet.start_with(patience, narrow).await;
    let mut writer = one.join("writer", "room").await;
    for i in 0..50 {
        writer.publish_confirmed(format!("{i}")).await.unwrap();
    }
    drop(writer);
    let before = one.status().epoch();
    fleet.engine.make_anew(epoch(1 << 20));
    until(
        || one.status().epoch().id != before.id && one.status().phase() == FleetPhase::Serving,
        || format!("{:?}", one.status()),
    )
    .await;
    // Its room takes the place of the other, once the session there has ended.
    let mut writer = loop {
        match one.client("again").positions().join("new").await {
            Ok(writer) => break writer,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let position = writer.publish_confirmed("a").await.unwrap();
    let other = fleet.start().await;
    let mut reader = other.join("reader", "new").await;
    assert_eq!(texts(&mut reader, 1).await, ["a"]);
    assert_eq!(reader.position(), Some(position));
}
