//! Every option has a key, a variable and an option of the command line, and every field of the
//! settings has an option.

use std::collections::BTreeSet;

use super::{Case, file, value};
use crate::channel::{ChannelRules, ChannelSettings};
use crate::config::form::Arity;
use crate::config::{Config, DEFAULT_PORT, OPTIONS, Opt, Section};
use crate::settings::{
    Limits, PeerSettings, ProxySettings, Settings, TlsSettings, WebSocketSettings,
};
use crate::tls::ClientTlsOptions;

/// A value for each option that is not its default, as TOML.
fn another(opt: &Opt) -> &'static str {
    match opt.name {
        "listen" | "tls" | "tls_ws" | "ws" => r#"["127.0.0.1:1", "[::1]:2"]"#,
        "shards" => "3",
        "pin" | "announce_joins" | "ws_page" => "false",
        "allow_anonymous" | "ws_trust" | "peer_insecure" => "true",
        "ws_origin" => r#"["https://a.example", "*"]"#,
        "trusted_proxies" => r#"["10.0.0.0/8", "2001:db8::1"]"#,
        "proxy_protocol" => r#"["listen", "tls_ws"]"#,
        "ws_ping_timeout" => r#""2m""#,
        "peer" => r#"["a", "tls://b:1"]"#,
        "key" | "addr_key" => r#""secret""#,
        "key_file" => r#""tests/data/key""#,
        "tls_cert" | "tls_key" | "tls_client_ca" | "peer_ca" | "peer_client_cert"
        | "peer_client_key" => r#""src/main.rs""#,
        "slow_policy" => r#""backpressure""#,
        "check_names" => r#""sender""#,
        "log_format" => r#""json""#,
        "log_level" => r#""warn,mles::shard=debug""#,
        "max_frame" => r#""1MiB""#,
        "tcp_congestion" => r#""cubic""#,
        "queue_bytes" | "partial_bytes" | "history_bytes" => r#""20MiB""#,
        _ if opt.field.value_name() == "DURATION" => r#""7s""#,
        _ => "77",
    }
}

/// What else has to be set with an option, or goes another way with it.
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
        "proxy_protocol" => &[("MLES_TRUSTED_PROXIES", "10.0.0.0/8")],
        "peer_client_cert" => &[("MLES_PEER_CLIENT_KEY", "k")],
        "peer_client_key" => &[("MLES_PEER_CLIENT_CERT", "c")],
        "max_frame" => &[("MLES_WS_MAX_MESSAGE", "1KiB")],
        _ => &[],
    }
}

/// A TOML value as words of the command line.
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
        let text = in_file(opt, another(opt));
        let by_file = Case {
            file: &text,
            environment: companions(opt),
            ..Case::default()
        };
        let by_file = by_file.ok();
        let expected = value(&by_file, opt.name);
        assert_ne!(expected, default, "{opt:?}");

        let words = words(another(opt));
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
    match opt.field.arity() {
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
        let text = in_file(opt, another(opt));
        let case = Case {
            file: &text,
            environment: companions(opt),
            ..Case::default()
        };
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

/// Takes a struct apart without `..`, so that a new field does not compile until it is named here.
macro_rules! fields {
    ($type:ident { $($field:ident),* $(,)? }) => {{
        let $type { $($field: _),* } = $type::default();
        [$(stringify!($field)),*]
    }};
}

#[test]
fn every_field_of_the_settings_has_an_option() {
    let limits = fields!(Limits {
        max_frame,
        max_uid,
        max_channel_name,
        max_channels,
        max_connections,
        max_connections_per_address,
        max_joining,
        join_deadline,
        frame_deadline,
        partial_bytes,
        history_bytes_total,
        max_half_closed,
        tcp_timeout,
        tcp_congestion,
        check_names,
    });
    let channel = fields!(ChannelSettings {
        history_frames,
        history_bytes,
        history_age,
        queue_bytes,
        write_deadline,
        slow_policy,
        announce_joins,
        idle_ttl,
    });
    let settings = fields!(Settings {
        listen,
        shards,
        pin,
        keyring,
        allow_anonymous,
        spread_threshold,
        drain_deadline,
        channels,
        limits,
        peer,
        tls,
        websocket,
        proxies,
    });
    let proxies = fields!(ProxySettings { trusted, protocol });
    let peer = fields!(PeerSettings {
        upstreams,
        tls,
        cid,
        backoff,
        backoff_max,
        stable_after,
        connect_timeout,
        linger,
    });
    let peer_tls = fields!(ClientTlsOptions {
        ca,
        insecure,
        cert,
        key,
    });
    let tls = fields!(TlsSettings {
        listen,
        cert,
        key,
        client_ca,
    });
    let websocket = fields!(WebSocketSettings {
        listen,
        tls_listen,
        trust,
        origins,
        page,
        max_message,
        ping_interval,
        ping_timeout,
    });
    // The default and the rules are the sections [channel] and [[channel_rule]].
    let _ = fields!(ChannelRules { default, patterns });
    let in_section = |section, key: &str| {
        let known = |opt: &Opt| opt.section == section && opt.key() == key;
        assert!(OPTIONS.iter().any(known), "{key}");
    };
    peer.into_iter()
        .filter(|field| *field != "tls")
        .for_each(|field| in_section(Section::Peer, field));
    peer_tls.into_iter().for_each(|field| match field {
        "cert" => in_section(Section::Peer, "client_cert"),
        "key" => in_section(Section::Peer, "client_key"),
        same => in_section(Section::Peer, same),
    });
    tls.into_iter()
        .for_each(|field| in_section(Section::Tls, field));
    proxies.into_iter().for_each(|field| match field {
        "trusted" => in_section(Section::Server, "trusted_proxies"),
        other => in_section(Section::Server, &format!("proxy_{other}")),
    });
    websocket.into_iter().for_each(|field| match field {
        "tls_listen" => in_section(Section::Tls, "ws"),
        "origins" => in_section(Section::Ws, "origin"),
        same => in_section(Section::Ws, same),
    });
    for field in limits.into_iter().chain(channel).chain(settings) {
        let names: &[&str] = match field {
            "history_frames" => &["history_limit"],
            "keyring" => &["key", "key_file", "addr_key"],
            "channels" | "limits" | "peer" | "tls" | "websocket" | "proxies" => continue,
            same => &[same],
        };
        for name in names {
            let _ = super::opt(name);
        }
    }
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
