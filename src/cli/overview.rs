//! The help of `mles` itself: its commands in groups, each with one line.

use std::fmt::Write as _;

use clap::Command;

/// The commands by what they are for, in the order in which they are shown.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Broker",
        &[
            "serve",
            "check-config",
            "dev-cert",
            "token",
            "store",
            "fleet",
        ],
    ),
    ("Running broker", &["status", "top", "reload", "drain"]),
    ("Clients", &["pub", "sub", "chat"]),
    ("Shell", &["completions", "man"]),
];

/// Replaces clap's flat list of the subcommands by one in groups.
pub(super) fn with_groups(command: Command) -> Command {
    let template = format!(
        "{{about}}\n\nUsage: mles [COMMAND]\n{}\nOptions:\n{{options}}\n\n{{after-help}}\n",
        groups(&command)
    );
    command.help_template(template)
}

fn groups(command: &Command) -> String {
    let mut out = String::new();
    for (heading, names) in GROUPS {
        // Writing to a String does not fail.
        let _ = writeln!(out, "\n{heading}:");
        for name in names {
            let about = command
                .find_subcommand(name)
                .and_then(Command::get_about)
                .map(ToString::to_string);
            let _ = writeln!(out, "  {name:<12}  {}", about.unwrap_or_default());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_has_one_short_line() {
        let command = super::super::command();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        let known: BTreeSet<_> = command.get_subcommands().map(Command::get_name).collect();
        let listed: BTreeSet<_> = grouped.iter().map(|name| **name).collect();
        assert_eq!(listed, known);
        assert_eq!(grouped.len(), known.len(), "{grouped:?}");
        for line in groups(&command).lines() {
            assert!(line.len() <= 80, "{line}");
            let is_command = line.starts_with(' ');
            assert!(!is_command || line.trim().contains("  "), "{line}");
        }
    }
}
