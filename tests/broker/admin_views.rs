//! What the admin listener shows of channels and sessions, and what it does with them.

use std::collections::BTreeSet;
use std::io::Read as _;

use serde_json::Value;

use crate::admin::{admin_settings, ask, get};
use crate::common::http::Http;
use crate::common::{Client, start, wait_until};

/// The names of the channels, or the uids of the sessions, in a view.
fn names<'a>(view: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let entries = view[list].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry[field].as_str().unwrap())
        .collect()
}

#[test]
fn a_hot_channel_is_found_with_one_request() {
    let broker = start(admin_settings());
    let _quiet: Vec<_> = (0..20)
        .map(|at| Client::join_and_wait(&broker, "a", &format!("quiet{at}")))
        .collect();
    let mut publisher = Client::join_and_wait(&broker, "loud", "hot");
    wait_until("the hot channel comes first", || {
        (0..50).for_each(|_| publisher.send(b"again"));
        let channels = get(&broker, "/api/channels?limit=3");
        assert_eq!(channels["channels"].as_array().unwrap().len(), 3);
        let first = &channels["channels"][0];
        first["name"] == "hot" && first["rate"].as_f64().unwrap() > 0.0
    });
    wait_until("its publisher comes first", || {
        (0..50).for_each(|_| publisher.send(b"again"));
        let sessions = get(&broker, "/api/sessions?sort=rate&limit=1");
        names(&sessions, "sessions", "uid") == ["loud"]
    });
    let hot = get(&broker, "/api/channels/hot");
    assert!(hot["messages"].as_u64().unwrap() >= 50);
    assert_eq!(hot["members"], 1);
    assert_eq!(hot["settings"]["slow_policy"], "disconnect");
}

#[test]
fn a_slow_member_is_found_with_one_request() {
    let broker = start(admin_settings());
    let fast = Client::join_and_wait(&broker, "fast", "room");
    let slow = Client::join_and_wait(&broker, "slow", "room");
    let mut publisher = Client::join_and_wait(&broker, "publisher", "room");
    let reader = std::thread::spawn({
        let mut stream = fast.stream.try_clone().unwrap();
        move || while stream.read(&mut vec![0; 1 << 20]).is_ok_and(|n| n > 0) {}
    });
    let message = vec![7; 1 << 20];
    wait_until("the slow member comes first", || {
        publisher.send(&message);
        let sessions = get(&broker, "/api/sessions?limit=1");
        let first = &sessions["sessions"][0];
        first["uid"] == "slow" && first["stalled"] == true
    });
    let channels = get(&broker, "/api/channels?sort=queued");
    let first = &channels["channels"][0];
    assert_eq!(first["name"], "room");
    assert!(first["queued_bytes"].as_u64().unwrap() > 0);
    assert_eq!(first["stalled"], 1);
    let room = get(&broker, "/api/channels/room");
    assert_eq!(names(&room, "slowest", "uid")[0], "slow");
    let of_slow = get(&broker, "/api/sessions?uid=slow&channel=room");
    assert_eq!(names(&of_slow, "sessions", "uid"), ["slow"]);
    drop((slow, fast, publisher));
    broker.stop().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_shard_that_is_kept_busy_says_with_what() {
    let mut settings = admin_settings();
    settings.shards = Some(1);
    settings.websocket.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let broker = start(settings);
    let shard = || get(&broker, "/api/shards")[0].clone();
    let requests = shard()["counters"]["requests"].as_u64().unwrap();
    let address = *broker.local_addrs().last().unwrap();
    wait_until("it is seen at the requests", || {
        for _ in 0..20 {
            let answer = Http::connect(address).ask("GET /channels/room/messages", "");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        let shard = shard();
        let tasks = shard["tasks"].as_array().unwrap().iter();
        let mut tasks = tasks.map(|of| of["task"].as_str().unwrap());
        tasks.any(|task| task == "accept") && shard["busy"].as_f64() > Some(0.0)
    });
    let asked = shard()["counters"]["requests"].as_u64().unwrap();
    assert!(asked >= requests + 20, "{asked}");
}

#[test]
fn pages_show_every_channel_and_session_once() {
    let broker = start(admin_settings());
    let clients: Vec<_> = (0..25)
        .map(|at| Client::join_and_wait(&broker, &format!("u-{at}"), &format!("a/b {at}&")))
        .collect();
    for (list, path, field) in [
        ("channels", "/api/channels?sort=name", "name"),
        ("channels", "/api/channels?sort=members", "name"),
        ("sessions", "/api/sessions?sort=age", "uid"),
    ] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = get(&broker, &format!("{path}&limit=10{after}"));
            seen.extend(names(&page, list, field).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={}", encoded(next));
        }
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (25, 25), "{path}");
    }
    let by_name = get(&broker, "/api/channels?sort=name");
    let by_name = names(&by_name, "channels", "name");
    assert!(by_name.is_sorted(), "{by_name:?}");
    let by_age = get(&broker, "/api/sessions?sort=age&limit=2");
    assert_eq!(names(&by_age, "sessions", "uid"), ["u-0", "u-1"]);
    let one = get(&broker, &format!("/api/channels/{}", encoded("a/b 7&")));
    assert_eq!(one["name"], "a/b 7&");
    drop(clients);
}

/// Encodes text for a query or a part of a path.
fn encoded(text: &str) -> String {
    let bytes = text.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn sessions_on_other_shards_are_shown_with_their_channel() {
    let mut settings = admin_settings();
    settings.spread_threshold = 1;
    let broker = start(settings);
    let clients: Vec<_> = (0..20)
        .map(|at| Client::join_and_wait(&broker, &format!("u{at}"), "room"))
        .collect();
    let sessions = get(&broker, "/api/sessions?channel=room&limit=100");
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 20);
    wait_until("the shards have been measured", || {
        let shards = get(&broker, "/api/shards");
        let shards = shards.as_array().unwrap();
        let sum = |field: &str| -> u64 { shards.iter().filter_map(|s| s[field].as_u64()).sum() };
        (sum("sessions"), sum("channels"), sum("relays")) == (20, 1, 1)
    });
    let none = get(&broker, "/api/sessions?channel=other");
    assert!(none["sessions"].as_array().unwrap().is_empty());
    drop(clients);
}

#[test]
fn an_operator_ends_a_session_and_no_other() {
    let broker = start(admin_settings());
    let mut ended = Client::join_and_wait(&broker, "a", "room");
    let mut other = Client::join_and_wait(&broker, "b", "room");
    let found = get(&broker, "/api/sessions?uid=a");
    let id = found["sessions"][0]["id"].as_u64().unwrap();
    let path = format!("/api/sessions/{id}/end");
    let answer = ask(&broker, &format!("GET {path}"));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    assert_eq!(ask(&broker, &format!("POST {path}")).status, 200);
    ended.assert_closed();
    assert_eq!(broker.stats().ended_by_operator, 1);
    assert_eq!(ask(&broker, &format!("POST {path}")).status, 404);
    assert_eq!(ask(&broker, "POST /api/sessions/x/end").status, 404);
    let mut publisher = Client::join_and_wait(&broker, "c", "room");
    publisher.send(b"still there");
    assert_eq!(other.text(), "still there");
}

#[test]
fn a_history_that_is_cleared_is_replayed_to_nobody() {
    let broker = start(admin_settings());
    let mut publisher = Client::join_and_wait(&broker, "a", "a room");
    publisher.send(b"old");
    let path = "/api/channels/a%20room";
    wait_until("it is kept", || get(&broker, path)["history_messages"] == 1);
    let answer = ask(&broker, &format!("POST {path}/clear"));
    let cleared: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &cleared["cleared_messages"]),
        (200, &1.into())
    );
    assert_eq!(get(&broker, path)["history_bytes"], 0);
    let mut reader = Client::join_and_wait(&broker, "b", "a room");
    publisher.send(b"new");
    assert_eq!(reader.text(), "new");
    assert_eq!(ask(&broker, "POST /api/channels/none/clear").status, 404);
    assert_eq!(ask(&broker, "GET /api/channels/none").status, 404);
}

#[test]
fn an_operator_drains_the_server() {
    let broker = start(admin_settings());
    let mut client = Client::join_and_wait(&broker, "a", "room");
    assert_eq!(ask(&broker, "GET /api/drain").status, 405);
    assert_eq!(ask(&broker, "POST /api/drain").status, 200);
    client.assert_closed();
    drop(client);
    broker.wait().unwrap();
}

#[test]
fn parameters_that_make_no_sense_are_told() {
    let broker = start(admin_settings());
    for (path, detail) in [
        (
            "/api/channels?sort=x",
            "sort is one of rate, bytes, members, history, queued, name",
        ),
        ("/api/channels?limit=0", "limit is a number from 1 to 1000"),
        (
            "/api/channels?after=x",
            "after is what `next` of the page before says",
        ),
        (
            "/api/sessions?who=a",
            "the parameters here are sort, channel, uid, limit, after, once each",
        ),
    ] {
        let answer = ask(&broker, &format!("GET {path}"));
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &problem["detail"]),
            (400, &detail.into()),
            "{path}"
        );
    }
}

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// The rows of the table that describes the answers of a path.
fn rows(path: &str) -> Vec<&'static str> {
    let title = format!("### `{path}`");
    let section = OPERATIONS.split(&title).nth(1).unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('#'));
    lines.filter(|line| line.starts_with("| `")).collect()
}

/// The words in backquotes in the first column of a row, or in all of it.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Asserts that a table names the fields of an object, those of objects in it in their row, and no others.
fn assert_documented(path: &str, object: &Value) {
    let rows = rows(path);
    let first = |row: &'static str| quoted(row.split('|').nth(1).unwrap());
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| first(row)).collect();
    let object = object.as_object().unwrap();
    let fields: BTreeSet<_> = object.keys().map(String::as_str).collect();
    assert_eq!(fields, documented, "{path}");
    for (name, value) in object {
        // Counters have a table of their own.
        let inner = value
            .as_array()
            .map_or(value, |list| list.first().unwrap_or(value));
        let Some(inner) = inner
            .as_object()
            .filter(|_| name != "totals" && name != "counters")
        else {
            continue;
        };
        let row = rows
            .iter()
            .find(|row| first(row).contains(&**name))
            .unwrap();
        let (known, words) = (quoted(row), row.replace('`', " "));
        let is_named = |field: &String| known.contains(&**field) || words.contains(" as in ");
        let missing: Vec<_> = inner.keys().filter(|field| !is_named(field)).collect();
        assert!(missing.is_empty(), "{path}, {name}: {missing:?}");
    }
}

#[test]
fn every_field_of_the_answers_is_documented_and_no_other() {
    let mut settings = admin_settings();
    settings.peer.upstreams = vec![crate::common::free_address().to_string().parse().unwrap()];
    let broker = start(settings);
    let _client = Client::join_and_wait(&broker, "a", "room");
    wait_until("there is a link", || {
        !get(&broker, "/api/links")["links"]
            .as_array()
            .unwrap()
            .is_empty()
    });
    assert_documented("/api/server", &get(&broker, "/api/server"));
    assert_documented("/api/shards", &get(&broker, "/api/shards")[0]);
    let channels = get(&broker, "/api/channels");
    assert_documented("/api/channels", &channels["channels"][0]);
    let sessions = get(&broker, "/api/sessions");
    assert_documented("/api/sessions", &sessions["sessions"][0]);
    assert_documented("/api/links", &get(&broker, "/api/links")["links"][0]);
    let mut room = get(&broker, "/api/channels/room");
    let room = room.as_object_mut().unwrap();
    for shown in channels["channels"][0].as_object().unwrap().keys() {
        assert!(room.remove(shown).is_some(), "{shown}");
    }
    let details = room.clone().into();
    assert_documented("/api/channels/{name}", &details);
}
