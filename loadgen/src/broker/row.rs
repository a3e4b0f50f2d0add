//! One row of the table of brokers.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use mles::protocol::Keyring;

use super::program::{Program, Programs};
use super::{Broker, Look};
use crate::adapter::Adapter;
use crate::process::{Place, Recipe};

/// All that is special about one broker, but for its name and its client library.
pub(super) struct Row {
    /// Makes the adapter for payloads of a length, with the keys of sessions of Mles.
    pub(super) adapter: fn(usize, &Keyring) -> Box<dyn Adapter>,
    /// Where the broker's program comes from.
    pub(super) program: Program,
    /// Makes the recipe that starts the program at a place.
    pub(super) launch: fn(PathBuf, Place<'_>, &Programs) -> io::Result<Recipe>,
    /// Its way of keeping messages for those who join later, if it has one.
    pub(super) history: HistorySupport,
    /// Why a subscriber that stops reading cannot be measured on it, if it cannot.
    pub(super) why_no_slow_reader: Option<&'static str>,
    /// Why publishers cannot have each message confirmed, if they cannot.
    pub(super) why_no_confirmation: Option<&'static str>,
    /// `true` if a subscriber that comes back gets what it missed.
    pub(super) resumes: bool,
    /// About how many small messages it delivers in a second, to tell how long a run is going to take.
    pub(super) pace: f64,
    /// The tables it has a column in.
    pub(super) tables: &'static [Table],
    /// Colours, dashes and marks in plots.
    pub(super) look: Look,
}

/// How a broker keeps messages for those who join later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HistorySupport {
    /// Keeps the last messages of each channel.
    Messages,
    /// Keeps the last messages of each channel and counts every join as one of them.
    MessagesAndJoins,
    /// Keeps none, for this reason.
    None(&'static str),
}

/// A table of figures, whose brokers and scenarios `compare` runs by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// The figures of the README: other brokers beside mles
    Brokers,
    /// mles over WebSocket and TLS, beside plain TCP and the server mles 2.9.4
    Gateway,
    /// mles for sessions that ask for positions, beside those that do not, and event streams
    Positions,
    /// Publishers that wait until each message is confirmed, over HTTP and otherwise
    Publish,
    /// Publishers that wait until each message is on disk
    Durable,
    /// Nodes of a fleet on JetStream, beside JetStream alone
    Fleet,
}

impl Table {
    /// Returns the table's columns.
    pub(crate) fn brokers(self) -> Vec<Broker> {
        let all = Broker::value_variants().iter().copied();
        all.filter(|broker| broker.row().tables.contains(&self))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broker_is_in_a_table() {
        for broker in Broker::value_variants() {
            assert!(!broker.row().tables.is_empty(), "{}", broker.name());
        }
    }
}
