//! Histories on disk over WebSocket and HTTP: clients go on when a server is started again.

use mles::Settings;
use mles::channel::HistoryStorage;
use serde_json::json;

use crate::api::{MESSAGES, TEXT_PLAIN, connect, json_of};
use crate::common::events::Events;
use crate::common::start;
use crate::common::websocket::{Ws, address, settings};
use crate::events::EVENTS;
use crate::resuming::{behind, since, text};

fn on_disk(dir: &tempfile::TempDir) -> Settings {
    let mut settings = settings();
    settings.channels.default.history = HistoryStorage::Disk;
    settings.store.dir = Some(dir.path().join("store"));
    settings
}

#[test]
fn clients_resume_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(on_disk(&dir));
    let mut http = connect(&broker);
    let mut position = String::new();
    for message in ["one", "two", "three"] {
        let receipt = json_of(&http.post(MESSAGES, TEXT_PLAIN, message));
        position = receipt["position"].as_str().unwrap().to_owned();
    }
    let first = position.replace(":3", ":1");
    drop(http);
    broker.stop().unwrap();

    let broker = start(on_disk(&dir));
    let mut bob = Ws::resume(&broker, "bob", &since(&first));
    let expected = json!({"position": position, "replay": 2, "recovered": true, "missed": 0});
    assert_eq!(bob.notice("welcome"), expected);
    assert_eq!(bob.marked(), text("two"));
    assert_eq!(bob.marked(), text("three"));

    let path = format!("{EVENTS}?uid=reader&since={first}");
    let mut events = Events::open(address(&broker), &path, "");
    let welcome = events.data("welcome");
    assert_eq!(welcome["recovered"], true, "{welcome}");
    assert_eq!(events.text(), "two");
    assert_eq!(events.text(), "three");

    let mut http = connect(&broker);
    let page = http.read(&format!("?since={first}"));
    assert_eq!(page["recovered"], true, "{page}");
    let next = json_of(&http.post(MESSAGES, TEXT_PLAIN, "four"));
    assert_eq!(next["position"], behind(&position, 1));
    assert_eq!(bob.marked(), text("four"));
    assert_eq!(events.text(), "four");
}

#[test]
fn an_idempotency_key_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let headers = format!("{TEXT_PLAIN}Idempotency-Key: order-17\r\n");
    let broker = start(on_disk(&dir));
    let mut http = connect(&broker);
    let first = http.post(MESSAGES, &headers, "buy");
    assert_eq!(first.status, 201, "{first:?}");
    drop(http);
    broker.stop().unwrap();

    let broker = start(on_disk(&dir));
    let again = connect(&broker).post(MESSAGES, &headers, "buy");
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(json_of(&again), json_of(&first));
    let page = connect(&broker).read("");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
}
