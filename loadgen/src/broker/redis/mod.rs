//! Redis publish/subscribe: `redis-server`, RESP2, and the crate redis.

mod adapter;
mod library;

use super::look::{DIAMOND, Look};
use super::program::{Location, Program};
use super::row::{HistorySupport, Row, Table};
use crate::process::{Recipe, words};
use adapter::RedisAdapter;
pub(super) use library::RedisLibrary;

pub(super) const REDIS: Row = Row {
    adapter: |_, _| Box::new(RedisAdapter),
    program: Program::of_package("redis-server", &[Location::InPath("redis-server")]),
    launch: |program, place, _| {
        let mut args = words(&["--port", &place.port.to_string(), "--bind", "127.0.0.1"]);
        args.extend(words(&["--save", "", "--appendonly", "no"]));
        args.extend(words(&["--maxclients", "15000", "--dir"]));
        args.push(place.dir.into());
        let settings = "no RDB, no AOF; maxclients raised to 15000; replies to PUBLISH are read";
        Ok(Recipe::new(program, args, settings))
    },
    history: HistorySupport::None("Redis' publish/subscribe keeps no history"),
    why_no_slow_reader: None,
    tables: &[Table::Brokers],
    look: Look::new(["#b3123f", "#ff7a96"], "2.5 2.5", DIAMOND),
};
