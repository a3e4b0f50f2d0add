//! Who may have an event stream, and what is told before it begins.

use mles::Settings;
use mles::protocol::{Key, Keyring};

use crate::api::{connect, json_of};
use crate::common::events::Events;
use crate::common::websocket::{address, settings};
use crate::common::{Client, start, wait_until};
use crate::events::{EVENTS, open, welcome};

#[test]
fn what_is_wrong_is_told_before_the_stream() {
    let broker = start(settings());
    let mut http = connect(&broker);
    let long = "x".repeat(600);
    let long = format!("GET {EVENTS}?uid={long}");
    for (request, headers, status) in [
        (format!("POST {EVENTS}"), "", 405),
        (format!("DELETE {EVENTS}"), "", 405),
        (format!("GET {EVENTS}?since=x"), "", 400),
        (format!("GET {EVENTS}?members=-1"), "", 400),
        (format!("GET {EVENTS}?uid="), "", 400),
        (format!("GET {EVENTS}?auth=x"), "", 400),
        (format!("GET {EVENTS}"), "Last-Event-ID: 7\r\n", 400),
        (format!("GET {EVENTS}/"), "", 404),
        (long, "", 400),
    ] {
        // On a connection that is new and on one that is not.
        for answer in [
            http.ask(&request, headers),
            connect(&broker).ask(&request, headers),
        ] {
            assert_eq!(answer.status, status, "{request}: {answer:?}");
            json_of(&answer);
            let allow = (status == 405).then_some("get, head, options");
            assert_eq!(answer.header("allow"), allow);
        }
    }
    assert_eq!(broker.stats().joined, 0);
    // The connection is there for more.
    let mut events = Events::ask_on(http.stream, EVENTS, "");
    welcome(&mut events);
}

#[test]
fn a_stream_without_a_seat_is_told_with_a_status() {
    let mut settings = settings();
    settings.limits.max_channels = 1;
    let broker = start(settings);
    let _member = Client::join_and_wait(&broker, "member", "only");
    let mut used = connect(&broker);
    assert_eq!(used.ask("GET /", "").status, 200);
    for mut http in [connect(&broker), used] {
        let answer = http.ask(&format!("GET {EVENTS}"), "");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
        json_of(&answer);
        http.assert_end();
    }
    wait_until("they are gone", || broker.stats().connections == 1);
    let mut events = Events::open(address(&broker), "/channels/only/events", "");
    welcome(&mut events);
}

fn keyed() -> Settings {
    let mut settings = settings();
    settings.keyring = Keyring::new(Some("s3cret".to_owned()), None);
    settings
}

/// A browser's `EventSource` can set no header: it shows its key in the query, as it does for WebSocket.
#[test]
fn a_key_has_to_be_shown() {
    let broker = start(keyed());
    let auth = |uid: &str| {
        let hash = Key::from_parts(["s3cret", uid, "room"]).0;
        format!("GET {EVENTS}?uid=alice&auth={hash:x}")
    };
    let plain = format!("GET {EVENTS}");
    for (request, headers, status) in [
        (&plain, "", 401),
        (&plain, "Authorization: Bearer guess\r\n", 401),
        (&auth("bob"), "", 403),
    ] {
        let answer = connect(&broker).ask(request, headers);
        assert_eq!(answer.status, status, "{request} {headers}: {answer:?}");
        json_of(&answer);
    }
    wait_until("they are counted", || broker.stats().refused == 3);
    let auth = auth("alice");
    let query = auth.strip_prefix(&plain).unwrap();
    for (query, headers) in [(query, ""), ("", "Authorization: Bearer s3cret\r\n")] {
        welcome(&mut open(&broker, query, headers));
    }
}

#[test]
fn pages_of_other_origins_need_leave() {
    let mut settings = settings();
    settings.websocket.origins = vec!["https://app.example".to_owned()];
    let broker = start(settings);
    let listed = "Origin: https://app.example\r\n";
    let events = open(&broker, "", listed);
    for header in [
        "access-control-allow-origin: https://app.example",
        "vary: origin",
    ] {
        assert!(
            events.head.contains(&format!("\r\n{header}\r\n")),
            "{}",
            events.head
        );
    }
    let preflight = connect(&broker).ask(&format!("OPTIONS {EVENTS}"), listed);
    assert_eq!(preflight.status, 204);
    let headers = preflight.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("last-event-id"), "{headers}");
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(methods, Some("get, head, options"));
    let evil = "Origin: https://evil.example\r\n";
    let answer = connect(&broker).ask(&format!("GET {EVENTS}"), evil);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let problem = connect(&broker).ask(&format!("GET {EVENTS}?since=x"), listed);
    assert_eq!(problem.status, 400);
    assert!(problem.header("access-control-allow-origin").is_some());
    // By a name that somebody lets lead here, a browser takes this server for that page's own.
    let mut http = connect(&broker);
    http.send(format!(
        "GET {EVENTS} HTTP/1.1\r\nHost: rebound.example\r\n\r\n"
    ));
    assert_eq!(http.answer().status, 421);
}

#[test]
fn without_the_option_there_are_no_streams() {
    let mut settings = settings();
    settings.websocket.http = false;
    let broker = start(settings);
    assert_eq!(
        connect(&broker).ask(&format!("GET {EVENTS}"), "").status,
        404
    );
}
