//! Sessions that watch who is there, over WebSocket and in streams of events.

use std::time::Duration;

use mles::protocol::ResumeRequest;
use serde_json::json;

use crate::common::events::Events;
use crate::common::websocket::{BINARY, Ws, address, settings};
use crate::common::{Client, start};
use crate::resuming::resume_body;

/// Who watches is told the same over every transport.
#[test]
fn members_are_told_whatever_is_spoken() {
    let mut settings = settings();
    settings.channels.default.presence_interval = Duration::from_millis(20);
    settings.shards = Some(4);
    let broker = start(settings);
    let mut v2 = Ws::resume(&broker, "v2", r#","members":10"#);
    v2.notice("welcome");
    assert_eq!(v2.notice("members"), json!({"count": 1, "uids": ["v2"]}));
    let mut v1 = Ws::open(address(&broker));
    let request = ResumeRequest {
        members: Some(0),
        ..ResumeRequest::default()
    };
    v1.send(BINARY, &resume_body("v1", "room", b"", &request));
    v1.body_notice("room", "welcome");
    assert_eq!(
        v1.body_notice("room", "members"),
        json!({"count": 2, "uids": []})
    );
    let joined = |uid: &str, count| json!({"count": count, "joined": [uid], "left": []});
    assert_eq!(v2.notice("changes"), joined("v1", 2));
    let path = "/channels/room/events?uid=events&members=100";
    let mut events = Events::open(address(&broker), path, "");
    events.data("welcome");
    let list = events.data("members");
    let mut uids: Vec<_> = list["uids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|uid| uid.as_str().unwrap())
        .collect();
    uids.sort_unstable();
    assert_eq!(
        (&list["count"], uids),
        (&json!(3), vec!["events", "v1", "v2"])
    );
    assert_eq!(v2.notice("changes"), joined("events", 3));
    assert_eq!(v1.body_notice("room", "changes"), joined("events", 3));
    let plain = Client::join_and_wait(&broker, "plain", "room");
    for changes in [
        events.data("changes"),
        v2.notice("changes"),
        v1.body_notice("room", "changes"),
    ] {
        assert_eq!(changes, joined("plain", 4));
    }
    drop(events);
    plain.reset();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let changes = v2.notice("changes");
        gone.extend(
            changes["left"]
                .as_array()
                .unwrap()
                .iter()
                .map(|uid| uid.as_str().unwrap().to_owned()),
        );
    }
    gone.sort_unstable();
    assert_eq!(gone, ["events", "plain"]);
}
