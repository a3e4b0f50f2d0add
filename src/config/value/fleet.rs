//! Values for a fleet: its servers and its name.

use super::kind::{Arity, Description, ValueKind, read_list, write_list};
use super::raw::{RawValue, quoted};
use crate::settings::{FleetName, FleetServer};

/// NATS servers to connect to.
pub(crate) struct FleetServers;

impl ValueKind for FleetServers {
    type Value = Vec<FleetServer>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<FleetServer>> {
        read_list(raw, |item| item.text()?.trim().parse().ok())
    }

    fn write(&self, value: &Vec<FleetServer>) -> String {
        write_list(value)
    }

    /// Leaves out what has a login in it.
    fn found(&self, raw: &RawValue<'_>) -> String {
        let text = raw.to_string();
        if text.contains('@') {
            "an address with a login".to_owned()
        } else {
            text
        }
    }

    fn describe(&self) -> Description {
        let expected = "NATS servers as in \"nats://10.0.0.1:4222\" or \"tls://nats.example\"; a login has \
                        options of its own";
        Description::new("URL", expected).takes(Arity::Many)
    }
}

/// The name of a fleet.
pub(crate) struct FleetNameText;

impl ValueKind for FleetNameText {
    type Value = FleetName;

    fn read(&self, raw: &RawValue<'_>) -> Option<FleetName> {
        raw.text()?.parse().ok()
    }

    fn write(&self, value: &FleetName) -> String {
        quoted(value)
    }

    fn describe(&self) -> Description {
        Description::new("NAME", "a name of at most 32 letters, digits, - and _")
    }
}
