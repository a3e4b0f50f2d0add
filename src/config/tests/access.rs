//! `[[key]]` and `[[rule]]`: what they set, and mistakes in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::{Case, environment, file};
use crate::access::Permissions;
use crate::config::AsToml;

/// A folder with a file for each key: its name, and its content.
fn keys(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&folder.path().join(name), text, 0o600);
    }
    folder
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Replaces `DIR` by the folder.
fn within(folder: &TempDir, text: &str) -> String {
    text.replace("DIR", folder.path().to_str().unwrap())
}

const TWO: &str = r#"
[[key]]
name = "web"
file = "DIR/web"
[[key]]
name = "sensors.eu-1"
file = "DIR/sensors"

[[rule]]
key = "web"
channel = "user.{uid}"
allow = ["subscribe", "history"]
[[rule]]
key = "sensors.eu-1"
uid = "sensor-*"
channel = "telemetry.*"
allow = ["publish"]
[[rule]]
key = "anonymous"
channel = "public"
allow = ["subscribe"]
[[rule]]
key = "token"
allow = ["subscribe"]
[[rule]]
channel = "lobby"
allow = ["publish", "subscribe", "history", "presence", "peer"]
"#;

#[test]
fn keys_and_rules_come_out_as_they_are_written() {
    let folder = keys(&[("web", "s3cret\n"), ("sensors", "other")]);
    let text = within(&folder, TWO);
    let resolved = file(&text).ok();
    assert_eq!(resolved.warnings, [""; 0]);
    let settings = &resolved.config.settings;
    let names: Vec<_> = settings.keys.iter().map(|key| key.name()).collect();
    assert_eq!(names, ["web", "sensors.eu-1"]);
    assert_eq!(settings.keys[0].keyring().shared(), Some("s3cret"));
    assert_eq!(settings.rules.len(), 5);
    let allowed: Vec<_> = settings.rules.iter().map(|rule| rule.allow).collect();
    assert_eq!(allowed[4], Permissions::ALL);
    assert_eq!(allowed[1], Permissions::PUBLISH);
    assert_eq!(settings.rules[0].uid.to_string(), "*");
}

#[test]
fn what_is_printed_is_taken_back_and_has_no_secret() {
    let folder = keys(&[("web", "s3cret\n"), ("sensors", "0ther")]);
    let text = within(&folder, TWO);
    let resolved = file(&text).ok();
    let printed = AsToml(&resolved).to_string();
    let again = file(&printed).ok();
    assert_eq!(again.config.settings.rules, resolved.config.settings.rules);
    assert_eq!(
        AsToml(&again).to_string().lines().count(),
        printed.lines().count()
    );
    for shown in [
        printed,
        format!("{resolved:?}"),
        format!("{:#?}", again.config),
    ] {
        assert!(
            !shown.contains("s3cret") && !shown.contains("0ther"),
            "{shown}"
        );
    }
}

#[test]
fn a_key_with_a_name_lets_the_server_listen_anywhere() {
    let folder = keys(&[("web", "s3cret")]);
    let text = "[server]\nlisten = \"0.0.0.0\"\n[[key]]\nname = \"web\"\nfile = \"DIR/web\"";
    assert_eq!(file(&within(&folder, text)).ok().warnings, [""; 0]);
}

#[track_caller]
fn assert_error(folder: &TempDir, text: &str, expected: &str) {
    let error = file(&within(folder, text)).error();
    assert_eq!(error, within(folder, expected), "{text}");
}

#[test]
fn a_key_that_cannot_be_used_is_told_by_its_line() {
    let folder = keys(&[
        ("web", "s3cret"),
        ("empty", "\n"),
        ("lines", "one\ntwo\n"),
        ("long", &"x".repeat(5000)),
        ("twin", "s3cret\n"),
    ]);
    let key =
        |name: &str, file: &str| format!("[[key]]\nname = \"{name}\"\nfile = \"DIR/{file}\"\n");
    for (text, expected) in [
        (
            key("web", "none"),
            "mles.toml:3: cannot read the key from DIR/none: No such file or directory (os error 2)",
        ),
        (
            key("web", ""),
            "mles.toml:3: cannot read the key from DIR/: Is a directory (os error 21)",
        ),
        (
            key("web", "empty"),
            "mles.toml:3: the key file DIR/empty is empty",
        ),
        (
            key("web", "lines"),
            "mles.toml:3: the key file DIR/lines has several lines; it must hold the key alone, on \
             one line",
        ),
        (
            key("web", "long"),
            "mles.toml:3: cannot read the key from DIR/long: larger than a key can be",
        ),
        (
            key("web", "web") + &key("web", "twin"),
            "mles.toml:5: the key `web` is already in line 2",
        ),
        (
            key("web", "web") + &key("app", "twin"),
            "mles.toml:6: the key in DIR/twin is that of `web` too: each name needs a secret of its \
             own",
        ),
        (
            key("default", "web"),
            "mles.toml:2: `default`, `anonymous` and `token` mean something else: choose another \
             name",
        ),
        (
            key("my key", "web"),
            "mles.toml:2: the name of a key has 1 to 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            "[[key]]\nname = \"web\"".to_owned(),
            "mles.toml:1: this [[key]] has no `file`; expected one such as \"/etc/mles/web.key\"",
        ),
        (
            "[[key]]\nfile = \"DIR/web\"".to_owned(),
            "mles.toml:1: this [[key]] has no `name`; expected one such as \"web\"",
        ),
        (
            "[[key]]\nname = 3\nfile = \"DIR/web\"".to_owned(),
            "mles.toml:2: `name` is an integer; expected a string that is not empty",
        ),
        (
            "[key]\nname = \"web\"".to_owned(),
            "mles.toml:1: `key` is a table; expected tables, each headed [[key]]",
        ),
        (
            "key = \"s3cret\"".to_owned(),
            "mles.toml:1: `key` is a string; expected tables, each headed [[key]]",
        ),
        (
            "[[key]]\nname = \"web\"\nsecret = \"s3cret\"\nfile = \"DIR/web\"".to_owned(),
            "mles.toml:3: unknown key `secret` in [[key]]; known there: name, file",
        ),
    ] {
        assert_error(&folder, &text, expected);
    }
    let text = within(&folder, &key("web", "twin"));
    let case = Case {
        file: &text,
        environment: &[("MLES_KEY", "s3cret")],
        ..Case::default()
    };
    assert!(case.error().contains("that of `default` too"));
}

#[test]
fn a_mistake_in_a_rule_is_told_by_its_line() {
    let folder = keys(&[("web", "s3cret")]);
    let rule =
        |lines: &str| format!("[[key]]\nname = \"web\"\nfile = \"DIR/web\"\n[[rule]]\n{lines}");
    for (lines, expected) in [
        (
            "key = \"wbe\"\nallow = [\"publish\"]",
            "mles.toml:5: no key has the name that this rule is for; known: web, anonymous, token",
        ),
        (
            "key = \"default\"\nallow = [\"publish\"]",
            "mles.toml:5: no key has the name that this rule is for; known: web, anonymous, token",
        ),
        (
            "key = \"web\"",
            "mles.toml:4: this [[rule]] has no `allow`; expected one such as [\"subscribe\"]",
        ),
        (
            "allow = [\"publish\", \"subscibe\"]",
            "mles.toml:5: unknown right \"subscibe\" in `allow`; did you mean `subscribe`?",
        ),
        (
            "allow = [\"everything\"]",
            "mles.toml:5: unknown right \"everything\" in `allow`; known there: publish, subscribe, \
             history, presence, peer",
        ),
        (
            "allow = [3]",
            "mles.toml:5: `allow` is an integer; expected a string that is not empty",
        ),
        (
            "allow = \"publish\"",
            "mles.toml:5: `allow` is \"publish\"; expected a list of rights, as in [\"subscribe\"]",
        ),
        (
            "allow = []",
            "mles.toml:5: `allow` is []; expected at least one right; what no rule allows is denied",
        ),
        (
            "channel = \"user.{uid\"\nallow = [\"publish\"]",
            "mles.toml:5: `channel` is \"user.{uid\", which is no pattern: a brace has no partner: \
             {uid} and {key} are placeholders, and {{ and }} are braces",
        ),
        (
            "channel = \"user.{name}\"\nallow = [\"publish\"]",
            "mles.toml:5: `channel` is \"user.{name}\", which is no pattern: there is no placeholder \
             {name}: known are {uid} and {key}",
        ),
        (
            "uid = \"{uid}\"\nallow = [\"publish\"]",
            "mles.toml:5: `uid` is \"{uid}\", which is no pattern: {uid} is what is compared with it",
        ),
        (
            "channel = \"\"\nallow = [\"publish\"]",
            "mles.toml:5: `channel` is empty; expected a string that is not empty",
        ),
        (
            "chanel = \"a\"\nallow = [\"publish\"]",
            "mles.toml:5: unknown key `chanel` in [[rule]]; did you mean `channel`?",
        ),
    ] {
        assert_error(&folder, &rule(lines), expected);
    }
    assert_error(
        &folder,
        "[[rules]]\nallow = []",
        "mles.toml:1: unknown key `rules` outside of any section; did you mean `rule`?",
    );
    assert_error(
        &folder,
        "[rule]\nallow = []",
        "mles.toml:1: `rule` is a table; expected tables, each headed [[rule]]",
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[[key]]\nname = \"web\"\nfile = \"/nonexistent\"\n[[rule]]\nkey = \"web\"\nuid = \
                \"{\"\nchannel = \"}\"\nallow = [\"a\", \"b\"]";
    let error = file(text).error();
    let lines: Vec<_> = error
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    assert_eq!(lines, ["3", "6", "7", "8", "8"], "{error}");
}

#[test]
fn a_key_without_rights_and_an_open_file_are_warnings() {
    let folder = keys(&[]);
    write(&folder.path().join("web"), "s3cret", 0o644);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let text = within(
        &folder,
        "[[key]]\nname = \"web\"\nfile = \"DIR/web\"\n[[rule]]\nkey = \"default\"\nallow = [\"publish\"]",
    );
    let case = Case {
        file: &text,
        environment: &[("MLES_KEY", "another")],
        ..Case::default()
    };
    let warnings = case.ok().warnings;
    let expected = [
        "every user of this machine can read the key file DIR/web; `chmod o= DIR/web` mends that",
        "nobody can join with the key `web`: no [[rule]] is for it",
    ];
    assert_eq!(warnings, expected.map(|text| within(&folder, text)));
}

#[test]
fn the_key_in_the_environment_is_the_default() {
    let text = "[[rule]]\nkey = \"default\"\nallow = [\"publish\"]";
    let error = file(text).error();
    assert!(
        error.starts_with("mles.toml:2: no key has the name"),
        "{error}"
    );
    for variable in ["MLES_KEY", "MLES_ADDR_KEY"] {
        let case = Case {
            file: text,
            environment: &[(variable, "secret")],
            ..Case::default()
        };
        assert_eq!(case.ok().warnings, [""; 0]);
    }
    assert!(
        environment(&[("MLES_KEY", "x")])
            .ok()
            .config
            .settings
            .rules
            .is_empty()
    );
}
