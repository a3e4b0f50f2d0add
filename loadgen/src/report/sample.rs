//! A report for tests: two brokers, two rounds, latencies, samples, fan-out, memory, and a run that
//! failed with words that must not get into a page as they are.

use std::borrow::Cow;

use super::{Report, Run, RunResult};
use crate::broker::Broker;
use crate::distribution::Distribution;
use crate::process::{CpuTime, Memory, Provenance};
use crate::scenario::{
    Amount, ConnectStorm, Fanout, FanoutOutcome, HistoryJoin, HistoryOutcome, Idle, IdleOutcome,
    IdlePoint, Latency, LatencyOutcome, Load, MemoryPoint, Publish, PublishOutcome,
    ReconnectOutcome, ReconnectStorm, Seed, SeedOutcome, SlowReader, SlowReaderOutcome,
    StormOutcome, Timing,
};
use crate::verify::Tally;
use crate::watch::Slice;

/// A script that must never run in a report.
pub(super) const EVIL: &str = "</style><script>alert('\"1\"')</script>&amp;";

/// Returns a report without runs.
pub(super) fn empty() -> Report {
    Report::new(Timing {
        warm_up_seconds: 0.0,
        measured: Amount::Seconds(1.0),
    })
}

/// Returns a report with all kinds of runs.
pub(super) fn report() -> Report {
    let mut report = empty();
    let loads = [
        ("fanout", Load::Fanout(Fanout::default())),
        ("latency-1000", Load::Latency(Latency::default())),
        ("seed-hello", Load::Seed(Seed::default())),
        ("idle", Load::Idle(Idle::default())),
        ("connect-storm", Load::Storm(ConnectStorm::default())),
        ("history-join", Load::History(HistoryJoin::default())),
        ("slow-reader", Load::SlowReader(SlowReader::default())),
        ("publish", Load::Publish(Publish::default())),
        (
            "reconnect-storm",
            Load::Reconnect(ReconnectStorm::default()),
        ),
    ];
    report.scenarios = loads.map(|(name, load)| (name.to_owned(), load)).into();
    for (broker, scale) in [(Broker::Mles, 1), (Broker::Nats, 3)] {
        let provenance = Provenance {
            version: format!("{} 1.0 {EVIL}", broker.name()),
            command: format!("{} --listen {EVIL}", broker.name()),
            settings: Cow::Borrowed("none"),
            congestion: None,
        };
        report.brokers.insert(broker, provenance);
        for round in [1, 2] {
            let mut push = |scenario: &str, result| {
                report.push(Run::new(scenario, broker, round, result));
            };
            push("fanout", fanout(scale));
            push("latency-1000", latency(scale));
            push("seed-hello", seed(scale));
            push("idle", idle(scale));
            push("connect-storm", storm(scale));
            push("history-join", history(scale));
            push("slow-reader", slow_reader(scale));
            push("publish", publish(scale));
            push("reconnect-storm", reconnect(scale));
        }
    }
    report.skipped.insert(Broker::Redis, EVIL.to_owned());
    let failed = RunResult::Failed(EVIL.to_owned());
    report.push(Run::new("fanout", Broker::Mosquitto, 1, failed));
    report
}

/// Returns a closed loop whose broker takes `scale` µs for each of 1000 deliveries.
pub(super) fn fanout(scale: u64) -> RunResult {
    RunResult::Fanout(FanoutOutcome {
        messages: 100,
        seconds: 1.0,
        tally: tally(1000),
        server_cpu: Some(cpu(scale * 1_000_000)),
        tool_cpu: cpu(2_000_000),
    })
}

/// Returns an open loop of five seconds with latencies up to `scale` ms.
pub(super) fn latency(scale: u64) -> RunResult {
    let slice = |second: u32| Slice {
        start_seconds: f64::from(second),
        seconds: 1.0,
        deliveries: 1000,
        p50_ns: scale * 500_000,
        p99_ns: scale * 990_000,
        max_ns: scale * 1_000_000,
    };
    RunResult::Latency(Box::new(LatencyOutcome {
        messages: 5000,
        unsent: 0,
        seconds: 5.0,
        achieved_rate: 1000.0,
        invalid: Vec::new(),
        partial: false,
        tally: tally(5000),
        server_cpu: Some(cpu(scale * 5_000_000)),
        tool_cpu: cpu(10_000_000),
        latency: times(scale),
        service: times(scale),
        lag: times(1),
        intervals: (0..5).map(slice).collect(),
    }))
}

fn seed(scale: u64) -> RunResult {
    RunResult::Seed(Box::new(SeedOutcome {
        times: times(scale),
        partial: false,
        tally: tally(1000),
        server_cpu: Some(cpu(scale * 5_000_000)),
        tool_cpu: cpu(2_000_000),
    }))
}

fn idle(scale: u64) -> RunResult {
    let point = |subscribers: usize| IdlePoint {
        subscribers,
        memory: Memory {
            anonymous_bytes: scale * 1000 * subscribers as u64,
            rss_bytes: scale * 1000 * subscribers as u64 + (4 << 20),
        },
    };
    RunResult::Idle(IdleOutcome {
        points: [0, 2000, 8000].map(point).into(),
        bytes_per_subscriber: scale as f64 * 1000.0,
    })
}

/// Returns a thousand connections that take up to `scale` ms.
fn storm(scale: u64) -> RunResult {
    RunResult::Storm(Box::new(StormOutcome {
        connected: 1000,
        failed: 0,
        reasons: Vec::new(),
        seconds: 0.5,
        connect: times(scale),
        bystander_before: times(1),
        bystander_during: times(scale),
        bystander_lag: times(1),
        tally: tally(1000),
        server_cpu: Some(cpu(scale * 100_000_000)),
        server_cpu_before: Some(cpu(10_000_000)),
        seconds_before: 1.0,
        tool_cpu: cpu(2_000_000),
    }))
}

fn history(scale: u64) -> RunResult {
    RunResult::History(Box::new(HistoryOutcome {
        joined: 1000,
        seconds: 1.0,
        times: times(scale),
        partial: false,
        tally: tally(100_000),
        server_cpu: Some(cpu(scale * 5_000_000)),
        tool_cpu: cpu(2_000_000),
    }))
}

/// Returns a run in which the broker's memory grows by `scale` MiB before the slow one is let go.
fn slow_reader(scale: u64) -> RunResult {
    let point = |second: u32, mebibytes: u64| MemoryPoint {
        seconds: f64::from(second),
        rss_bytes: (4 + mebibytes) << 20,
    };
    RunResult::SlowReader(Box::new(SlowReaderOutcome {
        before: times(1),
        after: times(scale),
        lag_before: times(1),
        lag_after: times(1),
        achieved_before: 500.0,
        achieved_after: 500.0,
        unsent: 0,
        let_go_seconds: Some(1.5),
        memory: vec![point(0, 0), point(1, scale), point(2, 0)],
        invalid: Vec::new(),
        partial: false,
        tally: tally(2000),
        server_cpu: Some(cpu(scale * 5_000_000)),
        tool_cpu: cpu(2_000_000),
    }))
}

/// Returns a second of messages that are confirmed within `scale` ms.
fn publish(scale: u64) -> RunResult {
    RunResult::Publish(Box::new(PublishOutcome {
        messages: 1000,
        unconfirmed: 0,
        seconds: 1.0,
        times: times(scale),
        tally: tally(1000),
        server_cpu: Some(cpu(scale * 5_000_000)),
        tool_cpu: cpu(2_000_000),
    }))
}

/// Returns a thousand clients that are back after up to `scale` ms each.
pub(super) fn reconnect(scale: u64) -> RunResult {
    RunResult::Reconnect(Box::new(ReconnectOutcome {
        clients: 1000,
        returned: 1000,
        failed: 0,
        reasons: Vec::new(),
        resumes: true,
        recovered: 1000,
        replayed: 5000,
        seconds: 10.0,
        resume: times(scale),
        bystander_before: times(1),
        bystander_during: times(scale),
        bystander_lag: times(1),
        bystander_tally: tally(20_000),
        tally: tally(100_000),
        server_cpu: Some(cpu(scale * 100_000_000)),
        server_cpu_before: Some(cpu(10_000_000)),
        seconds_before: 10.0,
        tool_cpu: cpu(2_000_000),
    }))
}

fn tally(deliveries: u64) -> Tally {
    Tally {
        expected: deliveries,
        delivered: deliveries,
        ..Tally::default()
    }
}

fn cpu(nanoseconds: u64) -> CpuTime {
    CpuTime {
        nanoseconds,
        user_ticks: 0,
        system_ticks: 0,
    }
}

/// Returns a thousand times, evenly up to `scale` ms.
fn times(scale: u64) -> Distribution {
    let mut times = Distribution::new();
    (1..=1000).for_each(|micro| times.record(scale * micro * 1000));
    times
}
