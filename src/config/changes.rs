//! What differs between the configuration in force and another one.

use super::model::Config;
use super::option::{Applies, Opt};
use super::table::OPTIONS;
use crate::access::NamedKey;

/// Names of what differs, as it is called in the file.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Settings that can change while a server runs.
    pub(crate) in_force: Vec<String>,
    /// Settings that only a restart can change.
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
    compare_contents(in_force, wanted, &mut changes);
    let (before, after) = (&in_force.settings, &wanted.settings);
    let keys = other_keys(&before.keys, &after.keys);
    if !keys.is_empty() {
        let keys = keys.join(", ");
        changes.in_force.push(format!("[[key]] ({keys})"));
    }
    for (name, is_same) in [
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

/// Adds what has changed in files whose names have not.
fn compare_contents(in_force: &Config, wanted: &mut Config, changes: &mut Changes) {
    let (before, after) = (&in_force.settings, &mut wanted.settings);
    for (is_same, options, what) in [
        (
            before.keyring == after.keyring,
            &["auth.key", "auth.key_file", "auth.addr_key"][..],
            "the key in auth.key_file",
        ),
        (
            before.tokens.keys == after.tokens.keys,
            &["token.keys"],
            "the keys in token.keys",
        ),
    ] {
        let is_named = |name: &String| options.contains(&name.as_str());
        if !is_same && !changes.in_force.iter().any(is_named) {
            changes.in_force.push(what.to_owned());
        }
    }
    let mut wait = |option: &str, what: &str| {
        if !changes.needs_restart.iter().any(|name| name == option) {
            changes.needs_restart.push(what.to_owned());
        }
    };
    if before.peer.keyring != after.peer.keyring {
        after.peer.keyring.clone_from(&before.peer.keyring);
        wait("peer.key_file", "the key in peer.key_file");
    }
    if before.admin.token != after.admin.token {
        after.admin.token.clone_from(&before.admin.token);
        wait("admin.token_file", "the token in admin.token_file");
    }
}

/// Returns the names of keys that are new, gone, or have another secret.
fn other_keys<'a>(before: &'a [NamedKey], after: &'a [NamedKey]) -> Vec<&'a str> {
    let gone = before.iter().filter(|key| !after.contains(key));
    let new = after.iter().filter(|key| !before.contains(key));
    let names = gone.chain(new).map(NamedKey::name);
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn name(opt: &Opt) -> String {
    format!("{}.{}", opt.section.name(), opt.key())
}
