//! MQTT 3.1.1 at QoS 0: mosquitto, an adapter, and rumqttc.

mod adapter;
mod library;

use super::look::{Look, UP};
use super::program::{Location, Program};
use super::row::{HistorySupport, Row, Table};
use crate::process::{Recipe, Version};
use adapter::MqttAdapter;
pub(super) use library::MqttLibrary;

pub(super) const MOSQUITTO: Row = Row {
    adapter: |_, _| Box::new(MqttAdapter),
    program: Program::of_package("mosquitto", &[Location::InPath("mosquitto")]),
    launch: |program, place, _| {
        let config = place.dir.join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             set_tcp_nodelay true\nmax_queued_messages 0\nlog_type error\nlog_type warning\n",
            place.port
        );
        let args = vec!["-c".into(), config.clone().into()];
        let settings = "QoS 0, clean sessions, no persistence, no limit on queued messages";
        Ok(Recipe {
            files: vec![(config, text)],
            version: Version::Printed(&["-h"]),
            ..Recipe::new(program, args, settings)
        })
    },
    history: HistorySupport::None("MQTT keeps one retained message for each topic, no history"),
    why_no_slow_reader: None,
    why_no_confirmation: Some("at QoS 0, MQTT confirms nothing"),
    resumes: false,
    pace: 150e3,
    tables: &[Table::Brokers],
    look: Look::new(["#7a3db8", "#c39bff"], "9 3 2 3", UP),
};
