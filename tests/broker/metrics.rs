//! Metrics, as Prometheus and its tools read them.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mles::Broker;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin::{admin_settings, ask};
use crate::common::http::Http;
use crate::common::{Client, free_address, start, wait_until};

/// Frames that the publisher sends.
const FRAMES: u64 = 1234;

/// A broker with two members of a channel, one of which has published [`FRAMES`] frames to the other.
struct Loaded {
    broker: Broker,
    _members: [Client; 2],
}

impl Loaded {
    fn new() -> Self {
        let broker = start(admin_settings());
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        let mut publisher = Client::join_and_wait(&broker, "publisher", "room");
        for _ in 0..FRAMES {
            publisher.send(b"hello");
        }
        for _ in 0..FRAMES {
            assert_eq!(reader.text(), "hello");
        }
        Self {
            broker,
            _members: [reader, publisher],
        }
    }
}

/// Returns the value of a metric, whose name may have labels.
fn value(broker: &Broker, metric: &str) -> Option<f64> {
    let text = ask(broker, "GET /metrics").body;
    let mut samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = samples.find(|(name, _)| *name == metric)?;
    Some(value.parse().unwrap())
}

/// Returns where a program is; says that the test is skipped if it is not installed.
fn installed(program: &str, test: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/local/bin"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join(program));
    let found = paths.find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    found
}

/// A Prometheus that scrapes a broker, and is killed when the test is over.
struct Prometheus {
    child: Child,
    at: SocketAddr,
    _files: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(program: &Path, target: SocketAddr) -> Self {
        let files = TempDir::new().unwrap();
        let config = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs: [{{ job_name: mles, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        fs::write(files.path().join("prometheus.yml"), config).unwrap();
        let at = free_address();
        let child = Command::new(program)
            .arg(format!("--web.listen-address={at}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--log.level=error"])
            .current_dir(files.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self {
            child,
            at,
            _files: files,
        };
        wait_until("Prometheus listens", || TcpStream::connect(at).is_ok());
        prometheus
    }

    /// Returns the value of a query that has one.
    fn query(&self, query: &str) -> Option<f64> {
        let answer = Http::connect(self.at).ask(&format!("GET /api/v1/query?query={query}"), "");
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        let value = answer["data"]["result"].get(0)?["value"].get(1)?.as_str()?;
        value.parse().ok()
    }
}

#[test]
fn prometheus_scrapes_the_right_counts() {
    let Some(program) = installed("prometheus", "prometheus_scrapes_the_right_counts") else {
        return;
    };
    let loaded = Loaded::new();
    let prometheus = Prometheus::start(&program, loaded.broker.admin_addrs()[0]);
    #[allow(clippy::cast_precision_loss, reason = "it is small")]
    let frames = FRAMES as f64;
    for (query, value) in [
        ("up", 1.0),
        ("sum(mles_received_frames_total)", frames),
        ("mles_received_frames_total{transport=\"tcp\"}", frames),
        ("sum(mles_shard_sessions)", 2.0),
        ("mles_sessions{transport=\"tcp\"}", 2.0),
        ("count(mles_shard_loop_delay_seconds)", 2.0),
        ("mles_publish_queued_seconds_count>bool%200", 1.0),
        (
            "mles_publish_written_seconds_bucket{le=\"%2BInf\"}>bool%200",
            1.0,
        ),
    ] {
        wait_until(query, || prometheus.query(query) == Some(value));
    }
}

#[test]
fn promtool_accepts_the_metrics_and_the_alerts() {
    let Some(program) = installed("promtool", "promtool_accepts_the_metrics_and_the_alerts") else {
        return;
    };
    let loaded = Loaded::new();
    let metrics = ask(&loaded.broker, "GET /metrics").body;
    let mut check = Command::new(&program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).unwrap();
    drop(stdin);
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
    let files = TempDir::new().unwrap();
    let queries = files.path().join("queries.yml");
    fs::write(&queries, dashboard_as_rules()).unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/prometheus/alerts.yml");
    for rules in [Path::new(alerts), &queries] {
        let mut check = Command::new(&program);
        let output = check.args(["check", "rules"]).arg(rules).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_alerts_fire_at_what_a_server_exports() {
    let Some(program) = installed("promtool", "the_alerts_fire_at_what_a_server_exports") else {
        return;
    };
    let tests = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/prometheus/alerts.test.yml"
    );
    let mut check = Command::new(&program);
    let output = check.args(["test", "rules", tests]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// Returns the queries of the dashboard as rules, which can be checked.
fn dashboard_as_rules() -> String {
    let dashboard: Value =
        serde_json::from_str(include_str!("../../configs/grafana/mles.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 30);
    let rules = queries.iter().enumerate().map(|(at, query)| {
        // Grafana chooses the time.
        let query = query.replace("$__rate_interval", "1m");
        serde_json::json!({"record": format!("query:{at}"), "expr": query})
    });
    let rules: Vec<_> = rules.collect();
    // JSON is YAML.
    serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()
}

#[test]
fn a_member_that_does_not_read_is_counted_with_its_queue_until_it_goes() {
    let broker = start(admin_settings());
    let slow = Client::join_and_wait(&broker, "slow", "room");
    let mut publisher = Client::join_and_wait(&broker, "publisher", "room");
    let queued = || value(&broker, "mles_memory_bytes{kind=\"stalled_queues\"}");
    assert_eq!(
        (value(&broker, "mles_stalled"), queued()),
        (Some(0.0), Some(0.0))
    );
    wait_until("its socket is full", || {
        publisher.send(&[b'x'; 60_000]);
        value(&broker, "mles_stalled") == Some(1.0)
    });
    wait_until("its queue is counted", || queued() > Some(0.0));
    slow.reset();
    wait_until("it is gone", || {
        value(&broker, "mles_stalled") == Some(0.0) && queued() == Some(0.0)
    });
}

#[test]
fn a_scraper_that_asks_for_channels_learns_which_are_hot_and_which_have_slow_members() {
    let broker = start(admin_settings());
    let _quiet: Vec<_> = (0..20)
        .map(|at| Client::join_and_wait(&broker, "a", &format!("quiet{at}")))
        .collect();
    let _slow = Client::join_and_wait(&broker, "slow", "behind");
    let mut publisher = Client::join_and_wait(&broker, "publisher", "behind");
    let mut loud = Client::join_and_wait(&broker, "loud", "hot");
    let channels = |of: &str, more_than: f64| {
        let text = ask(&broker, "GET /metrics?channels=1").body;
        let lines = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix(of)?.split_once(' ')?;
            let value: f64 = value.parse().ok()?;
            (value > more_than).then(|| name.to_owned())
        });
        lines.collect::<Vec<_>>()
    };
    wait_until("the slow member's channel is named", || {
        publisher.send(&vec![b'x'; 1 << 20]);
        channels("mles_channel_stalled", 0.0) == ["{channel=\"behind\"}"]
    });
    wait_until("the hot channel is named", || {
        (0..200).for_each(|_| loud.send(b"again"));
        channels("mles_channel_frames_per_second", 50.0) == ["{channel=\"hot\"}"]
    });
    let all = ask(&broker, "GET /metrics").body;
    assert!(!all.contains("mles_channel_"), "nobody has asked");
    let wrong = ask(&broker, "GET /metrics?channels=many");
    assert_eq!(wrong.status, 400);
}

#[test]
fn sessions_are_counted_by_what_carries_them_until_they_end() {
    let loaded = Loaded::new();
    let name = "mles_sessions{transport=\"tcp\"}";
    assert_eq!(value(&loaded.broker, name), Some(2.0));
    let third = Client::join_and_wait(&loaded.broker, "third", "room");
    assert_eq!(value(&loaded.broker, name), Some(3.0));
    third.reset();
    wait_until("it has left", || value(&loaded.broker, name) == Some(2.0));
}

#[test]
fn refusals_are_counted_by_their_reason() {
    let loaded = Loaded::new();
    let name = "mles_refused_total{reason=\"malformed\"}";
    let mut stranger = Client::connect(&loaded.broker);
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait_until("it is refused", || value(&loaded.broker, name) == Some(1.0));
}
