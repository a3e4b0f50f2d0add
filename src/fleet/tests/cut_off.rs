//! Nodes that do not reach the log.

use std::time::Duration;

use super::world::{Fleet, settings, texts};
use crate::fleet::{FleetPatience, FleetPhase};

fn impatient() -> FleetPatience {
    FleetPatience {
        stall: Duration::from_secs(2),
        cut_off: Duration::from_secs(4),
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_closes_its_clients_and_serves_again_later() {
    let fleet = Fleet::new();
    let one = fleet.start_with(impatient(), settings()).await;
    let other = fleet.start().await;
    let mut stays = other.join("stays", "room").await;
    let mut goes = one.join("goes", "room").await;
    one.log.cut();
    // It is held, and let go with its session: nobody has seen it.
    goes.publish("held").await.unwrap();
    one.reaches(FleetPhase::Stalled).await;
    one.reaches(FleetPhase::CutOff).await;
    while let Ok(Some(_)) = goes.next_event().await {}
    let late = one.client("late").positions().join("room").await;
    let is_let_in = match late {
        Ok(mut late) => matches!(late.next_event().await, Ok(Some(_))),
        Err(_) => false,
    };
    assert!(!is_let_in);
    one.log.reconnect();
    one.reaches(FleetPhase::Serving).await;
    let mut back = one.join("back", "room").await;
    back.publish_confirmed("again").await.unwrap();
    let seen = texts(&mut stays, 1).await;
    assert!(seen == ["again"] || seen == ["held"], "{seen:?}");
    assert!(one.broker.stats().fleet_disconnects >= 1);
}

#[tokio::test]
async fn a_short_break_is_a_delay() {
    let fleet = Fleet::new();
    let one = fleet.start().await;
    let other = fleet.start().await;
    let mut reader = other.join("reader", "room").await;
    let mut writer = one.join("writer", "room").await;
    one.log.cut();
    for i in 0..10 {
        writer.publish(format!("{i}")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    one.log.reconnect();
    let expected: Vec<_> = (0..10).map(|i| format!("{i}")).collect();
    assert_eq!(texts(&mut reader, 10).await, expected);
    writer.publish_confirmed("end").await.unwrap();
}
