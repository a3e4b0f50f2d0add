//! The admin listener: who may ask, health, and clients that hold connections.

use std::net::SocketAddr;

use mles::{AdminToken, Broker, Settings};
use serde_json::Value;

use crate::common::http::{Answer, Http};
use crate::common::{Client, free_address, settings, start, wait_until};

/// Settings with an admin listener.
pub(crate) fn admin_settings() -> Settings {
    let mut settings = settings();
    settings.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    settings
}

/// Asks the admin listener of a broker on a connection of its own.
pub(crate) fn ask(broker: &Broker, request: &str) -> Answer {
    Http::connect(broker.admin_addrs()[0]).ask(request, "")
}

/// Returns what a path of the API answers.
pub(crate) fn get(broker: &Broker, path: &str) -> Value {
    let answer = ask(broker, &format!("GET {path}"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_server_that_runs_is_healthy_and_ready() {
    let broker = start(admin_settings());
    wait_until("it is ready", || ask(&broker, "GET /readyz").status == 200);
    let health = ask(&broker, "GET /healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let server = get(&broker, "/api/server");
    assert_eq!(server["state"], "running");
    assert_eq!(server["shards"], 2);
    let address = broker.local_addrs()[0].to_string();
    let listeners = serde_json::json!([{"kind": "tcp", "address": address}]);
    assert_eq!(server["listeners"], listeners);
    let metrics = ask(&broker, "GET /metrics");
    assert_eq!(metrics.status, 200);
}

#[test]
fn a_server_that_stops_says_so_until_its_clients_are_gone() {
    let mut settings = admin_settings();
    settings.drain_deadline = crate::common::LONG;
    let broker = start(settings);
    let client = Client::join_and_wait(&broker, "a", "room");
    let mut probe = Http::connect(broker.admin_addrs()[0]);
    broker.stop_handle().drain();
    let answer = probe.ask("GET /readyz", "");
    assert_eq!((answer.status, answer.body.as_str()), (503, "draining\n"));
    assert_eq!(probe.ask("GET /healthz", "").status, 200);
    drop(client);
    broker.wait().unwrap();
    probe.assert_end();
}

#[test]
fn links_that_are_wanted_and_down_make_a_server_not_ready() {
    let mut settings = admin_settings();
    settings.peer.upstreams = vec![free_address().to_string().parse().unwrap()];
    let broker = start(settings);
    wait_until("it is ready", || ask(&broker, "GET /readyz").status == 200);
    let _member = Client::join_and_wait(&broker, "a", "room");
    wait_until("it is cut off", || {
        ask(&broker, "GET /readyz").body == "no upstream\n"
    });
    assert_eq!(ask(&broker, "GET /healthz").status, 200);
}

#[test]
fn with_a_token_all_but_health_needs_it() {
    let mut settings = admin_settings();
    settings.admin.token = Some(AdminToken::new("secret"));
    let broker = start(settings);
    for open in ["/healthz", "/readyz", "/"] {
        let answer = ask(&broker, &format!("GET {open}"));
        assert_ne!(answer.status, 401, "{open}");
    }
    for path in ["/metrics", "/api/server", "/api/unknown", "/nothing"] {
        let answer = ask(&broker, &format!("GET {path}"));
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("bearer"));
        assert!(!answer.body.contains("secret"));
    }
    let mut http = Http::connect(broker.admin_addrs()[0]);
    let token = "Authorization: Bearer secret\r\n";
    assert_eq!(http.ask("GET /api/server", token).status, 200);
    assert_eq!(http.ask("GET /nothing", token).status, 404);
}

#[test]
fn requests_that_make_no_sense_are_told_why() {
    let broker = start(admin_settings());
    let ask =
        |request: &str, headers: &str| Http::connect(broker.admin_addrs()[0]).ask(request, headers);
    let answer = ask("POST /api/server", "");
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("get, head"))
    );
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["detail"], "the methods here are GET, HEAD");
    assert_eq!(ask("GET /api", "").status, 404);
    assert_eq!(ask("GET /api/server", "Host: other\r\n").status, 400);
    assert_eq!(ask("GET http://evil.example/api/server", "").status, 421);
    let foreign = "Origin: https://evil.example\r\n";
    assert_eq!(ask("GET /api/server", foreign).status, 403);
}

#[test]
fn clients_that_hold_connections_keep_nobody_out() {
    let broker = start(admin_settings());
    let silent: Vec<_> = (0..200)
        .map(|at| {
            let mut http = Http::connect(broker.admin_addrs()[0]);
            if at % 2 == 0 {
                http.send("GET /api/server HTTP/1.1\r\nX: ");
            }
            http
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(ask(&broker, "GET /healthz").status, 200);
    }
    drop(silent);
}
