//! The relay in this program that only copies, started as a process of its own.

use super::look::{FLAT, Look};
use super::mles;
use super::program::{Location, Program, ProgramSource};
use super::row::{HistorySupport, Row, Table};
use crate::null_relay::CONGESTION;
use crate::process::{Recipe, words};

pub(super) const RELAY: Row = Row {
    program: Program {
        named: |_| None,
        places: &[Location::Own],
        source: ProgramSource::Other(""),
    },
    launch: |program, place, programs| {
        let congestion = programs.congestion.as_deref().unwrap_or(CONGESTION);
        let args = [
            "null-relay",
            "--listen",
            &place.listen(),
            "--congestion",
            congestion,
        ];
        let args = words(&args);
        let settings = "copies frames to the channel's members, checks nothing, keeps nothing";
        Ok(Recipe {
            congestion: Some(congestion.to_owned()),
            ..Recipe::new(program, args, settings)
        })
    },
    history: HistorySupport::None("the relay remembers nothing"),
    why_no_slow_reader: Some(
        "the relay reads nothing for a channel while one of its members does not read",
    ),
    tables: &[Table::Brokers],
    look: Look::new(["#5f6b7a", "#9aa7b8"], "2 5", FLAT),
    ..mles::TCP
};
