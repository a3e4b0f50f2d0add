//! RabbitMQ: over AMQP 0-9-1 with an adapter and lapin, and over its plugin for MQTT.

mod adapter;
mod frame;
mod launch;
mod library;

use super::look::{DOWN, Look, PLUS};
use super::mqtt::MOSQUITTO;
use super::program::{Location, Program};
use super::row::{HistorySupport, Row, Table};
use adapter::AmqpAdapter;
pub(super) use library::AmqpLibrary;

/// The server itself: the program of that name in Debian's `PATH` is a wrapper.
const PROGRAM: Program = Program::of_package(
    "rabbitmq-server",
    &[Location::At("/usr/lib/rabbitmq/bin/rabbitmq-server")],
);

pub(super) const AMQP: Row = Row {
    adapter: |_, _| Box::new(AmqpAdapter),
    program: PROGRAM,
    launch: |program, place, _| Ok(launch::amqp(program, place)),
    history: HistorySupport::None("a queue begins when it is bound, without a history"),
    why_no_slow_reader: None,
    why_no_confirmation: Some(
        "publisher confirms are another mode of AMQP, which is not used here",
    ),
    resumes: false,
    pace: 200e3,
    tables: &[Table::Brokers],
    look: Look::new(["#00796b", "#3fd0bc"], "14 4", DOWN),
};

pub(super) const MQTT: Row = Row {
    program: PROGRAM,
    launch: |program, place, _| Ok(launch::mqtt(program, place)),
    look: Look::new(["#6b6a00", "#d6cf45"], "5 3", PLUS),
    ..MOSQUITTO
};
