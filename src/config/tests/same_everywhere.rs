//! Every option has a key, a variable and an option of the command line, and every field of the
//! settings has an option.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, file, value};
use crate::access::{NamedKey, TokenKey};
use crate::broker::keep_until_restart;
use crate::config::{
    Applies, Arity, Config, DEFAULT_PORT, OPTIONS, Opt, RawValue, Section, compare,
};
use crate::protocol::Keyring;
use crate::settings::{AdminToken, Settings};

/// Values to try on an option, as TOML; those that are not for it are refused.
fn values(opt: &Opt) -> Vec<String> {
    let description = opt.field.describe();
    let list: &[&str] = match description.value_name.as_str() {
        "ADDR:PORT" => &[r#"["127.0.0.1:1", "[::1]:2"]"#],
        "N" => &["77", "3"],
        "CID" => &["77"],
        "RATE" => &[r#""10/s burst 50""#, "77"],
        "SIZE" => &[r#""20MiB""#, r#""1MiB""#, "77"],
        "DURATION" => &[r#""7s""#, r#""2m""#],
        "DIR" => &[r#""tests/data/store""#],
        "FILE" => &[r#""tests/data/key""#],
        "SECRET" => &[r#""secret""#],
        "TEXT" => &[r#""https://login.example""#],
        "NAME" => &[r#""cubic""#],
        "LEVEL" => &[r#""warn,mles::shard=debug""#],
        "ORIGIN" => &[r#"["https://a.example", "*"]"#],
        "NETWORK" => &[r#"["10.0.0.0/8", "2001:db8::1"]"#],
        "URL" => &[r#"["nats://a", "tls://b:1"]"#],
        "[tls://]HOST[:PORT]" => &[r#"["a", "tls://b:1"]"#],
        "true|false" => &["true", "false"],
        words => {
            let words: Vec<_> = words.split('|').map(|word| format!("{word:?}")).collect();
            return match description.arity {
                Arity::Many => vec![format!("[{}, {}]", words[0], words[1])],
                Arity::One | Arity::Switch => words,
            };
        }
    };
    list.iter().map(ToString::to_string).collect()
}

/// Returns a value that is not the default, as TOML.
fn another(opt: &Opt) -> String {
    let default = value(&file("").ok(), opt.name);
    let is_another = |written: &String| {
        let text = in_file(opt, written);
        let case = by_file(opt, &text);
        let resolved = case.resolve();
        resolved.is_ok_and(|resolved| value(&resolved, opt.name) != default)
    };
    let found = values(opt).into_iter().find(is_another);
    found.unwrap_or_else(|| panic!("no value to try on {opt:?}"))
}

/// Returns the variables to set with an option: those that it needs, and those that it would change.
fn companions(opt: &Opt) -> &'static [(&'static str, &'static str)] {
    match opt.name {
        "listen" => &[("MLES_WS", "9")],
        "tls" | "tls_ws" => &[
            ("MLES_TLS_CERT", "c"),
            ("MLES_TLS_KEY", "k"),
            ("MLES_WS", "9"),
        ],
        "tls_cert" => &[("MLES_TLS_KEY", "k")],
        "tls_key" => &[("MLES_TLS_CERT", "c")],
        "history" => &[("MLES_STORE_DIR", "d")],
        "proxy_protocol" => &[("MLES_TRUSTED_PROXIES", "10.0.0.0/8")],
        "peer_client_cert" => &[("MLES_PEER_CLIENT_KEY", "k")],
        "peer_client_key" => &[("MLES_PEER_CLIENT_CERT", "c")],
        "fleet" => &[
            ("MLES_FLEET_NAME", "demo"),
            ("MLES_MAX_FRAME", "1MiB"),
            ("MLES_WS_MAX_MESSAGE", "1MiB"),
        ],
        "fleet_name" => &[
            ("MLES_FLEET", "nats://a"),
            ("MLES_MAX_FRAME", "1MiB"),
            ("MLES_WS_MAX_MESSAGE", "1MiB"),
        ],
        "fleet_user" => &[("MLES_FLEET_PASSWORD_FILE", "tests/data/key")],
        "fleet_password_file" => &[("MLES_FLEET_USER", "node")],
        "fleet_client_cert" => &[("MLES_FLEET_CLIENT_KEY", "k")],
        "fleet_client_key" => &[("MLES_FLEET_CLIENT_CERT", "c")],
        "max_frame" => &[("MLES_WS_MAX_MESSAGE", "1KiB")],
        _ => &[],
    }
}

/// Returns the case of a file that sets an option, with the variables that go with it.
fn by_file<'a>(opt: &Opt, text: &'a str) -> Case<'a> {
    Case {
        file: text,
        environment: companions(opt),
        ..Case::default()
    }
}

/// Returns a TOML value as words of the command line.
fn words(toml: &str) -> Vec<String> {
    let word = |item: &str| item.trim().trim_matches('"').to_owned();
    // Only lists have brackets around all of it.
    match toml.strip_prefix("[\"") {
        Some(_) => toml[1..toml.len() - 1].split(',').map(word).collect(),
        None => vec![word(toml)],
    }
}

fn in_file(opt: &Opt, value: &str) -> String {
    format!("[{}]\n{} = {value}\n", opt.section.name(), opt.key())
}

#[test]
fn file_environment_and_options_set_the_same() {
    for opt in OPTIONS {
        let default = value(&file("").ok(), opt.name);
        let text = in_file(opt, &another(opt));
        let by_file = by_file(opt, &text);
        let by_file = by_file.ok();
        let expected = value(&by_file, opt.name);
        assert_ne!(expected, default, "{opt:?}");

        let words = words(&another(opt));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (variable, text) = (opt.env(), joined(opt, &words));
        let own = [(variable.as_str(), text.as_str())];
        let by_environment = Case {
            environment: &[companions(opt), &own].concat(),
            ..Case::default()
        };
        assert_eq!(value(&by_environment.ok(), opt.name), expected, "{opt:?}");
        let by_option = Case {
            environment: companions(opt),
            options: &[(opt.name, &words)],
            ..Case::default()
        };
        assert_eq!(value(&by_option.ok(), opt.name), expected, "{opt:?}");
    }
}

fn joined(opt: &Opt, words: &[&str]) -> String {
    match opt.field.describe().arity {
        Arity::Many => words.join(","),
        // A list of levels has commas of its own.
        Arity::One | Arity::Switch => words.concat(),
    }
}

#[test]
fn an_option_sets_nothing_but_its_own_field() {
    let shown = |config: &Config| OPTIONS.iter().map(|opt| opt.field.show(config)).collect();
    let defaults: Vec<_> = shown(&Config::default());
    for opt in OPTIONS {
        let text = in_file(opt, &another(opt));
        let case = by_file(opt, &text);
        let resolved = case.ok();
        let own = |other: &Opt| {
            let mut names = companions(opt).iter();
            other.name == opt.name || names.any(|(name, _)| *name == other.env())
        };
        let values: Vec<_> = shown(&resolved.config);
        for (j, (value, default)) in values.iter().zip(&defaults).enumerate() {
            assert_eq!(
                value != default,
                own(&OPTIONS[j]),
                "{opt:?} and {:?}",
                OPTIONS[j]
            );
        }
    }
}

#[test]
fn names_are_unique_and_follow_the_rule() {
    let names: BTreeSet<_> = OPTIONS.iter().map(|opt| opt.name).collect();
    assert_eq!(names.len(), OPTIONS.len());
    for opt in OPTIONS {
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(opt.name.chars().all(is_plain), "{opt:?}");
    }
    let level = super::opt("log_level");
    assert_eq!(
        (level.key(), level.flag().as_str(), level.env().as_str()),
        ("level", "log-level", "MLES_LOG_LEVEL")
    );
}

#[test]
fn options_are_listed_by_section() {
    let mut sections: Vec<_> = OPTIONS.iter().map(|opt| opt.section).collect();
    sections.dedup();
    assert_eq!(sections, Section::ALL);
}

/// Returns every field of a configuration, however deep, with its value.
fn fields(config: &Config) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<_, String>::new();
    let mut path = Vec::new();
    let text = format!("{config:#?}");
    for line in text.lines() {
        let content = line.trim_start();
        path.truncate((line.len() - content.len()) / 4);
        let (name, value) = content.split_once(": ").unwrap_or(("", content));
        path.push(name);
        let is_brace = content.ends_with('{') || content.starts_with(['}', ']', ')']);
        if !is_brace {
            // A list or an option goes over several lines.
            let field = path.join(".");
            *fields
                .entry(field.trim_matches('.').to_owned())
                .or_default() += value;
        }
    }
    fields
}

#[test]
fn every_field_of_the_settings_has_an_option() {
    let defaults = fields(&Config::default());
    let mut without: BTreeSet<_> = defaults.keys().map(String::as_str).collect();
    for opt in OPTIONS {
        let another = another(opt);
        let words = words(&another);
        let given = RawValue::words(words.iter().map(String::as_str));
        let mut config = Config::default();
        opt.field.set(&mut config, &given).unwrap();
        let set = fields(&config);
        without.retain(|field| set.get(*field) == defaults.get(*field));
    }
    // Rules and named keys are tables of their own; the keyring and the keys of tokens are made of the secrets.
    let others = [
        "secrets.keys",
        "settings.admin.token",
        "settings.channels.patterns",
        "settings.keyring.addr_key",
        "settings.keyring.shared",
        // Passed by a service manager.
        "settings.sockets",
        "settings.keys",
        "settings.peer.keyring",
        "settings.rules",
        "settings.tokens.keys",
    ];
    assert_eq!(without, others.into());
}

#[test]
fn the_default_port_is_that_of_the_settings() {
    let ports: Vec<_> = Settings::default()
        .listen
        .iter()
        .map(|a| a.port())
        .collect();
    assert_eq!(ports, [DEFAULT_PORT]);
}

/// What the table says of reloads is what a running broker does, for each option.
#[test]
fn every_option_is_put_in_force_by_a_reload_or_waits_for_a_restart_as_the_table_says() {
    for opt in OPTIONS {
        let text = in_file(opt, &another(opt));
        let resolved = by_file(opt, &text).resolve().unwrap();
        let (before, mut wanted) = (Config::default(), Config::default());
        opt.field.copy(&resolved.config, &mut wanted);
        let mut taken = wanted.settings.clone();
        keep_until_restart(&before.settings, &mut taken);
        let asked_for = wanted.settings.clone();
        let changes = compare(&before, &mut wanted);
        let name = vec![format!("{}.{}", opt.section.name(), opt.key())];
        match opt.applies {
            Applies::AtReload => {
                assert_eq!(changes.in_force, name);
                assert!(changes.needs_restart.is_empty(), "{opt:?}");
                assert!(taken == asked_for, "a broker does not take {opt:?}");
            }
            Applies::AtRestart => {
                assert_eq!(changes.needs_restart, name);
                assert!(changes.in_force.is_empty(), "{opt:?}");
                assert!(opt.field.is_same(&before, &wanted), "{opt:?}");
                assert!(taken == before.settings, "a broker takes {opt:?}");
            }
        }
    }
}

/// Names stay, and what the files hold is another.
#[test]
fn what_has_changed_in_files_is_named() {
    let changed = |change: fn(&mut Settings)| {
        let (before, mut wanted) = (Config::default(), Config::default());
        change(&mut wanted.settings);
        let changes = compare(&before, &mut wanted);
        // What waits for a restart is named again at the next reload.
        assert_eq!(wanted.settings.peer.keyring, before.settings.peer.keyring);
        assert_eq!(wanted.settings.admin.token, before.settings.admin.token);
        (
            changes.in_force.join(", "),
            changes.needs_restart.join(", "),
        )
    };
    for (change, in_force, needs_restart) in [
        (
            (|s| s.keyring = Keyring::new(Some("other".to_owned()), None)) as fn(&mut Settings),
            "the key in auth.key_file",
            "",
        ),
        (
            |s| s.tokens.keys = TokenKey::parse(b"a secret that is long enough for this").unwrap(),
            "the keys in token.keys",
            "",
        ),
        (
            |s| s.keys = vec![NamedKey::new("web", "other").unwrap()],
            "[[key]] (web)",
            "",
        ),
        (
            |s| s.peer.keyring = Some(Keyring::new(Some("other".to_owned()), None)),
            "",
            "the key in peer.key_file",
        ),
        (
            |s| s.admin.token = Some(AdminToken::new("other token for the listener")),
            "",
            "the token in admin.token_file",
        ),
    ] {
        assert_eq!(
            changed(change),
            (in_force.to_owned(), needs_restart.to_owned())
        );
    }
}

#[test]
fn the_document_lists_what_needs_a_restart() {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let names = OPTIONS
        .iter()
        .filter(|opt| opt.applies == Applies::AtRestart);
    let names = names.map(|opt| format!("`{}.{}`", opt.section.name(), opt.key()));
    let list = names.collect::<Vec<_>>().join(", ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&list), "OPERATIONS.md has to list: {list}");
}
