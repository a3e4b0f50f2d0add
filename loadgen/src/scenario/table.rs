//! Tables of figures: which brokers and scenarios belong together.

use clap::ValueEnum;

use super::Named;
use crate::adapter::Broker;

/// What `compare` runs where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// The figures of the README: other brokers beside mles
    Brokers,
    /// mles over WebSocket and TLS, beside plain TCP and the server mles 2.9.4
    Gateway,
}

impl Table {
    /// Its columns.
    pub(crate) fn brokers(self) -> &'static [Broker] {
        match self {
            Self::Brokers => &[
                Broker::Mles,
                Broker::Nats,
                Broker::Redis,
                Broker::Mosquitto,
                Broker::Rabbitmq,
                Broker::RabbitmqMqtt,
                Broker::Reference,
                Broker::Null,
            ],
            Self::Gateway => &[
                Broker::Mles,
                Broker::MlesWs,
                Broker::MlesV2,
                Broker::MlesTls,
                Broker::MlesWss,
                Broker::ReferenceV2,
            ],
        }
    }

    /// Its lines, in their order.
    pub(crate) fn scenarios(self) -> &'static [Named] {
        match self {
            Self::Brokers => &[
                Named::Fanout,
                Named::FanoutUnbatched,
                Named::FanoutUnbatchedX8,
                Named::Fanout1000,
                Named::Channels,
                Named::Large,
                Named::Idle,
            ],
            Self::Gateway => &[
                Named::Fanout,
                Named::Fanout100,
                Named::Fanout1000,
                Named::Idle,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broker_is_in_a_table() {
        let tables = Table::value_variants().iter();
        let listed: Vec<_> = tables.flat_map(|table| table.brokers()).collect();
        for broker in Broker::value_variants() {
            assert!(listed.contains(&broker), "{}", broker.name());
        }
    }
}
