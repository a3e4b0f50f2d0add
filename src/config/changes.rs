//! What differs between the configuration in force and another one.

use super::model::Config;
use super::option::{Applies, Opt};
use super::table::OPTIONS;

/// Names of what differs, as it is called in the file.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// What can change while a server runs.
    pub(crate) in_force: Vec<String>,
    /// What only a restart can change.
    pub(crate) needs_restart: Vec<String>,
}

/// Compares `wanted` with the configuration in force, and gives it what only a restart can change as it is in force.
pub(crate) fn compare(in_force: &Config, wanted: &mut Config) -> Changes {
    let mut changes = Changes::default();
    for opt in OPTIONS {
        if opt.field.is_same(in_force, wanted) {
            continue;
        }
        match opt.applies {
            Applies::AtReload => changes.in_force.push(name(opt)),
            Applies::AtRestart => {
                opt.field.copy(in_force, wanted);
                changes.needs_restart.push(name(opt));
            }
        }
    }
    let (before, after) = (&in_force.settings, &wanted.settings);
    let is_key =
        |name: &String| ["auth.key", "auth.key_file", "auth.addr_key"].contains(&name.as_str());
    if before.keyring != after.keyring && !changes.in_force.iter().any(is_key) {
        changes.in_force.push("the key in auth.key_file".to_owned());
    }
    for (name, is_same) in [
        ("[[key]]", before.keys == after.keys),
        ("[[rule]]", before.rules == after.rules),
        (
            "[[channel_rule]]",
            before.channels.patterns == after.channels.patterns,
        ),
    ] {
        if !is_same {
            changes.in_force.push(name.to_owned());
        }
    }
    changes
}

fn name(opt: &Opt) -> String {
    format!("{}.{}", opt.section.name(), opt.key())
}
