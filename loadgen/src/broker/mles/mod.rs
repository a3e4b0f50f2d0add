//! Servers of Mles: this project's by each of its listeners, and the two that it is compared with.

mod adapter;
mod body;
mod certificate;
mod events;
mod http;
mod launch;
mod library;
mod notice;
mod websocket;

use super::look::{
    ARROW, BAR, BARS, CIRCLE, CROSS, DISK, FRAME, LEFT, Look, NOTCH, PILLAR, RIGHT, RING, SLASH,
    STAIRS,
};
use super::nats::NATS_2_15;
use super::program::{Location, Program, ProgramSource};
use super::row::{HistorySupport, Row, Table};
use crate::adapter::OverTls;
use adapter::MlesAdapter;
use events::EventsAdapter;
use http::HttpAdapter;
use launch::Listener;
pub(super) use library::MlesLibrary;
use websocket::WebSocketAdapter;

pub(super) const TCP: Row = Row {
    adapter: |payload_len, keyring| Box::new(MlesAdapter::new(payload_len, keyring.clone())),
    program: Program {
        named: |programs| programs.mles.as_ref(),
        places: &[Location::Beside("mles")],
        source: ProgramSource::Other(
            " beside this program (build it, or say where with --mles-bin)",
        ),
    },
    launch: |program, place, programs| launch::mles(Listener::Tcp, program, place, programs),
    history: HistorySupport::Messages,
    why_no_slow_reader: None,
    why_no_confirmation: Some(
        "Mles v1 confirms messages to sessions that ask for positions only (mles-resume)",
    ),
    resumes: false,
    pace: 20e6,
    tables: &[Table::Brokers, Table::Gateway, Table::Positions],
    look: Look::new(["#0b62c4", "#5aa9ff"], "none", CIRCLE),
};

/// Sessions that ask for positions.
pub(super) const TCP_WITH_POSITIONS: Row = Row {
    adapter: |payload_len, keyring| {
        Box::new(MlesAdapter::with_positions(payload_len, keyring.clone()))
    },
    why_no_confirmation: None,
    resumes: true,
    tables: &[Table::Positions, Table::Publish],
    look: Look::new(["#1f8a9c", "#63cfdf"], "3 3", NOTCH),
    ..TCP
};

/// Histories on disk, which are synced behind the messages.
pub(super) const TCP_ON_DISK: Row = Row {
    launch: |program, place, programs| launch::mles_on_disk("100ms", program, place, programs),
    tables: &[Table::Durable],
    look: Look::new(["#56641a", "#bccb62"], "1.5 3 6 3", DISK),
    ..TCP_WITH_POSITIONS
};

/// Histories on disk, where each message is synced before anybody sees it.
pub(super) const TCP_SYNCED: Row = Row {
    launch: |program, place, programs| launch::mles_on_disk("batch", program, place, programs),
    pace: 50e3,
    look: Look::new(["#7d4f00", "#e0ad52"], "1.5 3 1.5 3 6 3", PILLAR),
    ..TCP_ON_DISK
};

/// Three nodes with one order, on a stream of one replica; publishers on the first, subscribers on all.
pub(super) const FLEET: Row = Row {
    program: NATS_2_15.program,
    launch: launch::mles_fleet,
    tables: &[Table::Fleet],
    look: Look::new(["#1b5e4b", "#6cc9ad"], "1.5 3 1.5 3 1.5 6", BARS),
    ..TCP
};

pub(super) const WEBSOCKET_V1: Row = Row {
    adapter: |payload_len, _| Box::new(WebSocketAdapter::v1(payload_len)),
    launch: |program, place, programs| launch::mles(Listener::WebSocket, program, place, programs),
    tables: &[Table::Gateway],
    look: Look::new(["#00779e", "#4cc3ec"], "12 3", RING),
    ..TCP
};

pub(super) const WEBSOCKET_V2: Row = Row {
    adapter: |_, _| Box::new(WebSocketAdapter::V2),
    why_no_confirmation: Some(
        "Mles v2 confirms messages to sessions that ask for positions only (mles-v2-resume)",
    ),
    tables: &[Table::Gateway, Table::Positions],
    look: Look::new(["#3f4fc0", "#99a6ff"], "7 2 2 2", FRAME),
    ..WEBSOCKET_V1
};

/// Sessions that ask for positions.
pub(super) const WEBSOCKET_V2_WITH_POSITIONS: Row = Row {
    adapter: |_, _| Box::new(WebSocketAdapter::V2WithPositions),
    why_no_confirmation: None,
    resumes: true,
    tables: &[Table::Positions, Table::Publish],
    look: Look::new(["#6a3fc0", "#bb99ff"], "7 2 2 2 2 2", STAIRS),
    ..WEBSOCKET_V2
};

/// Subscribers with event streams.
pub(super) const EVENTS: Row = Row {
    adapter: |payload_len, _| Box::new(EventsAdapter::new(payload_len)),
    why_no_confirmation: Some("its publishers are those of mles-v2, which are told nothing"),
    resumes: true,
    tables: &[Table::Positions],
    look: Look::new(["#4d7a3a", "#a3d18c"], "1.5 2", ARROW),
    ..WEBSOCKET_V2
};

/// Publishers with HTTP requests.
pub(super) const HTTP: Row = Row {
    adapter: |_, _| Box::new(HttpAdapter),
    why_no_confirmation: None,
    pace: 100e3,
    tables: &[Table::Publish],
    look: Look::new(["#b0457a", "#f59ac4"], "5 1.5", SLASH),
    ..WEBSOCKET_V2
};

pub(super) const TLS: Row = Row {
    adapter: |payload_len, keyring| {
        Box::new(OverTls(MlesAdapter::new(payload_len, keyring.clone())))
    },
    launch: |program, place, programs| launch::mles(Listener::Tls, program, place, programs),
    tables: &[Table::Gateway],
    look: Look::new(["#2f7d1f", "#85d06f"], "4 2", CROSS),
    ..TCP
};

pub(super) const WEBSOCKET_TLS: Row = Row {
    adapter: |_, _| Box::new(OverTls(WebSocketAdapter::V2)),
    launch: |program, place, programs| {
        launch::mles(Listener::WebSocketTls, program, place, programs)
    },
    tables: &[Table::Gateway],
    look: Look::new(["#a02c93", "#f089e2"], "16 3 2 3", LEFT),
    ..TCP
};

pub(super) const REFERENCE: Row = Row {
    program: Program {
        named: |programs| programs.reference.as_ref(),
        // The latter from the folder of this program in the workspace's `target`.
        places: &[
            Location::Beside("reference-server"),
            Location::Beside("../../interop/target/release/reference-server"),
        ],
        source: ProgramSource::Other(
            " near this program (scripts/setup brings it, or say where with --reference-bin)",
        ),
    },
    launch: |program, place, programs| Ok(launch::reference(program, place, programs)),
    history: HistorySupport::MessagesAndJoins,
    pace: 150e3,
    tables: &[Table::Brokers],
    look: Look::new(["#8a4b2a", "#d9a07f"], "9 3 2 3 2 3", BAR),
    ..TCP
};

pub(super) const REFERENCE_V2: Row = Row {
    program: Program {
        named: |programs| programs.reference_v2.as_ref(),
        places: &[Location::Beside(
            "../../interop/target/reference-v2/bin/mles",
        )],
        source: ProgramSource::Other(
            " near this program (scripts/setup brings it, or say where with --reference-v2-bin)",
        ),
    },
    launch: launch::reference_v2,
    history: HistorySupport::MessagesAndJoins,
    pace: 150e3,
    look: Look::new(["#a13a1e", "#f0906f"], "6 2 2 2 2 2", RIGHT),
    ..WEBSOCKET_TLS
};
