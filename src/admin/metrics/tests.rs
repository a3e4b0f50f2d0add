//! The documents, the dashboard and the alerts name the metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::*;
use crate::fleet::OpenFleet;
use crate::settings::Settings;
use crate::shard::labels::MemoryKind;
use crate::shard::stats::Stats;
use crate::shard::storing::OpenStore;
use crate::shard::thread::seeds;
use crate::tls::{PairFiles, ServerTls};

const DASHBOARD: &str = include_str!("../../../configs/grafana/mles.json");
const ALERTS: &str = include_str!("../../../configs/prometheus/alerts.yml");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
/// What stands around the tables of metrics.
const MARKS: (&str, &str) = ("<!-- metrics -->\n", "<!-- /metrics -->\n");

/// Returns a certificate of a server.
fn certificate() -> (tempfile::TempDir, Arc<ServerTls>) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = ServerTls::new(PairFiles { cert, key }, None).unwrap();
    (folder, tls)
}

/// Returns the metrics of a broker that has everything and has not begun.
fn rendered(accept: Option<&str>) -> (&'static str, String) {
    let mut settings = Settings::default();
    settings.peer.upstreams = vec!["upstream.example".parse().unwrap()];
    let (store, fleet) = (OpenStore::for_tests().0, OpenFleet::for_tests());
    let in_fleet = (&fleet, OpenFleet::routes(2).1);
    let (common, _) = seeds(settings, None, 2, Some(store), Some(in_fleet));
    for kind in [
        MemoryKind::History,
        MemoryKind::Partial,
        MemoryKind::Joining,
    ] {
        common.stats[0].memory_limit_bytes.of(kind).set(1);
    }
    let (_folder, tls) = certificate();
    let directory = Arc::new(ListenerDirectory::default());
    directory.set(Vec::new(), Some(tls));
    common
        .stats
        .iter()
        .for_each(|shard| shard.processor.is_this_thread());
    let channel = ChannelSample {
        name: "a \"name\"\n".into(),
        members: 3,
        stalled: 1,
        queued_bytes: 512,
        rate: 2.5,
    };
    Metrics::new(common, directory, SystemTime::now()).render(accept, vec![channel])
}

/// A metric as the older text format shows it.
#[derive(Debug, Default)]
struct Shown {
    help: String,
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn shown() -> BTreeMap<String, Shown> {
    let mut all = BTreeMap::<String, Shown>::new();
    for line in rendered(None).1.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            all.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            all.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let (labels, _) = labels.split_once('}').unwrap();
            let (label, value) = labels.split_once('=').unwrap();
            let name = name.trim_end_matches("_bucket");
            let labels = &mut all.get_mut(name).unwrap().labels;
            let values = labels.entry(label.to_owned()).or_default();
            values.insert(value.trim_matches('"').to_owned());
        }
    }
    all
}

fn tables() -> String {
    let mut text = String::new();
    // The metrics of each label and set of values.
    let mut labels = BTreeMap::<(String, BTreeSet<String>), Vec<String>>::new();
    text.push_str("| metric | type | label | meaning |\n| --- | --- | --- | --- |\n");
    for (name, metric) in shown() {
        let mut of: Vec<_> = metric.labels.into_iter().collect();
        of.retain(|(label, _)| label != "le");
        let names: Vec<_> = of.iter().map(|(label, _)| format!("`{label}`")).collect();
        let (kind, names) = (metric.kind, names.join(", "));
        writeln!(text, "| `{name}` | {kind} | {names} | {} |", metric.help).unwrap();
        for (label, values) in of {
            if !["shard", "version", "channel"].contains(&&*label) {
                let metrics = labels.entry((label, values)).or_default();
                metrics.push(format!("`{name}`"));
            }
        }
    }
    text.push_str("\n| label | of | values |\n| --- | --- | --- |\n");
    for ((label, values), metrics) in labels {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        let (metrics, values) = (metrics.join(", "), values.join(", "));
        writeln!(text, "| `{label}` | {metrics} | {values} |").unwrap();
    }
    text
}

#[test]
fn the_tables_in_operations_are_those_of_the_code() {
    let (head, rest) = OPERATIONS.split_once(MARKS.0).unwrap();
    let (documented, tail) = rest.split_once(MARKS.1).unwrap();
    let tables = tables();
    if std::env::var_os("UPDATE_METRICS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");
        let (begin, end) = MARKS;
        return std::fs::write(path, format!("{head}{begin}{tables}{end}{tail}")).unwrap();
    }
    for (documented, line) in documented.lines().zip(tables.lines()) {
        assert_eq!(documented, line, "UPDATE_METRICS=1 writes the tables anew");
    }
    assert_eq!(documented.lines().count(), tables.lines().count());
}

#[test]
fn what_is_documented_of_a_metric_can_be_looked_up() {
    let shown = shown();
    for (file, text) in [
        ("mles.json", DASHBOARD),
        ("alerts.yml", ALERTS),
        ("OPERATIONS.md", OPERATIONS),
    ] {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let mut names: Vec<_> = text.split(|c| !is_name(c)).collect();
        names.retain(|name| name.starts_with("mles_") && !name.ends_with('_'));
        assert!(names.len() > 10, "{file}");
        for name in names {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .filter(|name| shown.get(*name).is_some_and(|m| m.kind == "histogram"))
                .unwrap_or(name);
            assert!(
                shown.contains_key(name),
                "{file}: there is no metric {name}"
            );
        }
    }
}

#[test]
fn values_of_labels_in_queries_exist() {
    let shown = shown();
    let mut found = 0;
    for text in [ALERTS, OPERATIONS] {
        for (start, _) in text.match_indices("mles_") {
            let (name, rest) = text[start..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .map_or((&text[start..], ""), |end| text[start..].split_at(end));
            let Some(metric) = shown.get(name) else {
                continue;
            };
            let Some((matcher, _)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) else {
                continue;
            };
            let (label, values) = matcher.split_once('=').unwrap();
            for value in values.trim_matches(['~', '"']).split('|') {
                let known = metric
                    .labels
                    .get(label)
                    .is_some_and(|all| all.contains(value));
                assert!(known, "{name} has no {label} {value}");
                found += 1;
            }
        }
    }
    assert!(found > 3);
}

#[test]
fn the_scraper_chooses_the_format() {
    let (kind, text) = rendered(None);
    assert!(kind.starts_with("text/plain; version=0.0.4"));
    assert!(text.contains("# TYPE mles_received_bytes_total counter\n"));
    assert!(!text.contains("# EOF"));
    let accept =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let (kind, text) = rendered(Some(accept));
    assert!(kind.starts_with("application/openmetrics-text"));
    assert!(text.contains("# TYPE mles_received_bytes counter\n"));
    assert!(text.contains("mles_received_bytes_total{transport=\"tcp\"} 0"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_of_channels_are_escaped() {
    let (_, text) = rendered(None);
    let line = r#"mles_channel_frames_per_second{channel="a \"name\"\n"} 2.5"#;
    assert!(text.contains(line), "{text}");
}

#[test]
fn what_has_no_bound_has_no_limit() {
    let (_, text) = rendered(None);
    assert!(text.contains("mles_memory_bytes{kind=\"stalled_queues\"} 0"));
    assert!(!text.contains("mles_memory_limit_bytes{kind=\"stalled_queues\"}"));
}

#[test]
fn every_counter_of_the_log_is_documented() {
    let (_, section) = OPERATIONS.split_once("\n## Counters\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for (name, _) in Stats::default().entries() {
        assert!(
            section.contains(&format!("`{name}`")),
            "{name} is missing in Counters"
        );
    }
}
