//! Frames as they come onto a terminal.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::frame::draw;
use super::screen::Screen;
use super::{Command, command};
use crate::cli::admin::Snapshot;

/// Returns an answer of the API as the tests of the dashboard have it.
fn answer(name: &str) -> Value {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/data/admin/{name}.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn snapshot(change: impl FnOnce(&mut Value, &mut Value)) -> Snapshot {
    let (mut server, mut shards) = (answer("server"), answer("shards"));
    change(&mut server, &mut shards);
    Snapshot {
        server: serde_json::from_value(server).unwrap(),
        shards: serde_json::from_value(shards).unwrap(),
        channels: serde_json::from_value(answer("channels")["channels"].clone()).unwrap(),
        publishers: serde_json::from_value(answer("sessions")["sessions"].clone()).unwrap(),
        slow: serde_json::from_value(answer("sessions")["sessions"].clone()).unwrap(),
        links: serde_json::from_value(answer("links")["links"].clone()).unwrap(),
    }
}

/// Returns the lines of a terminal of a size, at the time `now`.
fn lines(screen: &Screen, width: u16, height: u16, now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen, now)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..height).map(line).collect()
}

/// Returns a screen that has seen two snapshots, two seconds apart, and the time of the second.
fn watched() -> (Screen, Instant) {
    let begun = Instant::now();
    let later = begun + Duration::from_secs(2);
    let mut screen = Screen::new("127.0.0.1:8078".to_owned());
    screen.take(begun, snapshot(|_, _| {}));
    screen.take(
        later,
        snapshot(|server, shards| {
            for counters in [&mut server["totals"], &mut shards[1]["counters"]] {
                let now = counters["deliveries"].as_u64().unwrap();
                counters["deliveries"] = (now + 5_000).into();
            }
        }),
    );
    (screen, later)
}

#[test]
fn a_frame_shows_what_an_operator_looks_for() {
    let (screen, later) = watched();
    let frame = lines(&screen, 100, 40, later);
    let has = |words: &[&str]| {
        let found = frame
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in\n{}", frame.join("\n"));
    };
    has(&["mles 0.1.0 at 127.0.0.1:8078", "running", "up 3 d 4 h"]);
    has(&[
        "1,178 sessions",
        "1,208 of 10,000 connections",
        "42 channels",
    ]);
    has(&["store /var/lib/mles, sync 100ms, 8.0 MiB on disk, 3.0 ms behind"]);
    has(&["published 0/s", "delivered 2,500/s"]);
    has(&["1", "2.4 ms", "2,500", "538", "22", "13", "congested"]);
    has(&["channels by rate"]);
    has(&["market.quotes", "4,21", "KiB/s", "820"]);
    has(&[
        "slow-phone",
        "market.quotes",
        "508.0 KiB",
        "stalled",
        "ws",
        "192.0.2.17:517",
    ]);
    has(&["market.quotes", "refused", "root.example:8077"]);
    has(&["q quits"]);
}

#[test]
fn a_store_that_cannot_be_written_to_is_told_in_the_head() {
    let mut screen = Screen::new("127.0.0.1:8078".to_owned());
    let now = Instant::now();
    let full = snapshot(|server, _| {
        server["store"]["failure"] = "no space left".into();
        server["store"]["lag_ms"] = 90_000.into();
    });
    screen.take(now, full);
    let frame = lines(&screen, 100, 40, now);
    let line = "store /var/lib/mles, sync 100ms, nothing can be written: no space left, 90";
    assert!(frame[3].starts_with(line), "{}", frame[3]);
    screen.take(now, snapshot(|server, _| server["store"] = Value::Null));
    let frame = lines(&screen, 100, 40, now).join("\n");
    assert!(!frame.contains("store"), "{frame}");
}

#[test]
fn a_small_terminal_shows_the_head_and_no_frame_is_too_small() {
    let (screen, later) = watched();
    assert!(lines(&screen, 80, 24, later)[0].contains("running"));
    for (width, height) in [(1, 1), (10, 3), (40, 12), (300, 100)] {
        lines(&screen, width, height, later);
    }
}

#[test]
fn a_server_that_is_gone_leaves_its_last_figures_and_a_reason() {
    let (mut screen, later) = watched();
    screen.problem = Some("cannot connect".to_owned());
    let frame = lines(&screen, 80, 30, later + Duration::from_secs(7));
    let last = frame.last().unwrap();
    assert!(
        last.contains("cannot connect; shown as of 7 s ago"),
        "{last}"
    );
}

#[test]
fn a_paused_screen_stays_as_it_is() {
    let (mut screen, later) = watched();
    screen.is_paused = true;
    let after = later + Duration::from_secs(3);
    screen.take(after, snapshot(|server, _| server["sessions"] = 7.into()));
    let frame = lines(&screen, 80, 30, after);
    assert!(frame[1].contains("1,178 sessions"), "{}", frame[1]);
    assert!(frame.last().unwrap().contains("paused 3 s ago"));
}

#[test]
fn counters_of_a_server_that_was_restarted_make_no_rates() {
    let (mut screen, later) = watched();
    let restarted = snapshot(|server, _| server["pid"] = 1.into());
    screen.take(later + Duration::from_secs(1), restarted);
    assert!(screen.history.is_empty());
}

#[test]
fn keys_do_what_the_help_says() {
    let key = |code, modifiers| command(&Event::Key(KeyEvent::new(code, modifiers)));
    let none = KeyModifiers::NONE;
    assert_eq!(key(KeyCode::Char('q'), none), Some(Command::Quit));
    assert_eq!(key(KeyCode::Esc, none), Some(Command::Quit));
    assert_eq!(
        key(KeyCode::Char('c'), KeyModifiers::CONTROL),
        Some(Command::Quit)
    );
    assert_eq!(key(KeyCode::Char('c'), none), None);
    assert_eq!(key(KeyCode::Char('s'), none), Some(Command::NextOrder));
    assert_eq!(key(KeyCode::Char(' '), none), Some(Command::Pause));
}
