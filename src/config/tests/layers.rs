//! Which layer wins, what forms values may have, and what becomes of rules.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Case, environment, file, options, value};
use crate::channel::SlowPolicy;
use crate::config::AsToml;
use crate::protocol::Keyring;

#[test]
fn file_then_environment_then_options() {
    let file = "[limits]\nmax_channels = 1\nmax_joining = 1\nmax_uid = 1";
    let all = Case {
        file,
        environment: &[("MLES_MAX_JOINING", "2"), ("MLES_MAX_UID", "2")],
        options: &[("max_uid", &["3"])],
    };
    let resolved = all.ok();
    assert_eq!(value(&resolved, "max_half_closed"), "1024");
    assert_eq!(value(&resolved, "max_channels"), "1");
    assert_eq!(value(&resolved, "max_joining"), "2");
    assert_eq!(value(&resolved, "max_uid"), "3");
}

#[test]
fn a_list_replaces_the_list_below_it() {
    let case = Case {
        file: "[server]\nlisten = [1, 2]",
        environment: &[("MLES_LISTEN", "3, 4")],
        options: &[("listen", &["5"])],
    };
    assert_eq!(case.ok().config.settings.listen.len(), 1);
    let case = Case {
        options: &[],
        ..case
    };
    assert_eq!(
        value(&case.ok(), "listen"),
        r#"["127.0.0.1:3", "127.0.0.1:4"]"#
    );
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let case = Case {
        file: "[auth]\nkey = \"k\"",
        environment: &[("MLES_KEY", "")],
        ..Case::default()
    };
    assert!(case.ok().config.settings.keyring.is_secret());
}

#[test]
fn a_variable_that_looks_misspelt_is_pointed_out() {
    let case = environment(&[
        ("MLES_MAX_FRME", "1"),
        ("MLES_SERVER", "x"),
        ("MLES_UID", "x"),
    ]);
    assert_eq!(
        case.ok().warnings,
        ["MLES_MAX_FRME is not read; did you mean MLES_MAX_FRAME?"]
    );
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("65536", 65_536),
        ("\"65536\"", 65_536),
        ("0x10000", 65_536),
        ("\"512KiB\"", 512 << 10),
        ("\"1 MiB\"", 1 << 20),
        ("\"1MB\"", 1_000_000),
        ("\"1.5MB\"", 1_500_000),
    ] {
        let text = format!("[limits]\nmax_frame = {text}");
        assert_eq!(file(&text).ok().config.settings.limits.max_frame, bytes);
    }
}

#[test]
fn durations() {
    for (text, expected) in [
        ("500ms", Duration::from_millis(500)),
        ("10s", Duration::from_secs(10)),
        ("5m", Duration::from_secs(300)),
        ("1h", Duration::from_secs(3600)),
        ("1m 30s", Duration::from_secs(90)),
    ] {
        let text = format!("[channel]\nwrite_deadline = \"{text}\"");
        let settings = file(&text).ok().config.settings;
        assert_eq!(settings.channels.default.write_deadline, expected);
    }
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("8080", "127.0.0.1:8080"),
        ("\"8080\"", "not an address"),
        ("\"127.0.0.2\"", "127.0.0.2:8077"),
        ("\"::1\"", "[::1]:8077"),
        ("\"[::1]\"", "[::1]:8077"),
        ("\"[::1]:9\"", "[::1]:9"),
        ("\"localhost\"", "127.0.0.1:8077"),
        ("\"localhost:9\"", "127.0.0.1:9"),
        ("\"localhostess\"", "not an address"),
        ("\"example.org:1\"", "not an address"),
        ("70000", "not an address"),
    ] {
        let text = format!("[server]\nlisten = {text}");
        let listen = file(&text).resolve().map(|r| r.config.settings.listen[0]);
        let found = listen.map_or_else(|_| "not an address".to_owned(), |a| a.to_string());
        assert_eq!(found, expected, "{text}");
    }
    // A word of the command line may be a port.
    let case = options(&[("listen", &["9000"])]);
    assert_eq!(value(&case.ok(), "listen"), r#"["127.0.0.1:9000"]"#);
}

#[test]
fn a_browser_is_served_only_until_a_listener_of_any_kind_is_given() {
    let listeners = |text: &str| {
        let settings = file(text).ok().config.settings;
        let ports = |list: &[SocketAddr]| list.iter().map(SocketAddr::port).collect::<Vec<_>>();
        (ports(&settings.listen), ports(&settings.websocket.listen))
    };
    assert_eq!(listeners(""), (vec![8077], vec![8076]));
    assert_eq!(listeners("[server]\nlisten = 1"), (vec![1], vec![]));
    assert_eq!(
        listeners("[ws]\nlisten = \"::1\""),
        (vec![8077], vec![8076])
    );
    assert_eq!(listeners("[ws]\nlisten = []"), (vec![8077], vec![]));
    assert_eq!(
        listeners("[tls]\nlisten = 1\ncert = \"c\"\nkey = \"k\""),
        (vec![8077], vec![])
    );
    let tls_only = "[tls]\nlisten = 1\ncert = \"c\"\nkey = \"k\"\n[server]\nlisten = \"none\"";
    assert_eq!(listeners(tls_only), (vec![], vec![]));
}

#[test]
fn a_message_is_no_larger_than_a_frame_unless_it_is_said_to_be() {
    let settings = file("[limits]\nmax_frame = \"1MiB\"").ok().config.settings;
    assert_eq!(settings.websocket.max_message, 1 << 20);
}

#[test]
fn origins_are_taken_as_browsers_write_them() {
    for (text, expected) in [
        ("https://chat.example", Some("https://chat.example")),
        ("HTTPS://Chat.Example:443", Some("https://chat.example")),
        ("http://[::1]:3000", Some("http://[::1]:3000")),
        ("http://localhost:80", Some("http://localhost")),
        ("*", Some("*")),
        ("chat.example", None),
        ("ftp://chat.example", None),
        ("https://chat.example/", None),
        ("https://", None),
    ] {
        let text = format!("[ws]\norigin = \"{text}\"");
        let origins = file(&text)
            .resolve()
            .map(|r| r.config.settings.websocket.origins);
        assert_eq!(
            origins.ok().as_deref(),
            expected.map(|e| vec![e.to_owned()]).as_deref()
        );
    }
}

#[test]
fn certificates_that_nobody_is_shown_are_pointed_out() {
    let warnings = file("[tls]\ncert = \"c\"\nkey = \"k\"").ok().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("[tls] have no effect"), "{warnings:?}");
}

#[test]
fn how_upstreams_are_trusted_is_pointed_out_where_it_matters() {
    let warnings = |text: &str| file(text).ok().warnings;
    let with = |upstream: &str| {
        warnings(&format!(
            "[peer]\nupstreams = \"{upstream}\"\ninsecure = true"
        ))
    };
    let plain = with("a.example");
    assert!(
        plain.len() == 1 && plain[0].contains("no effect"),
        "{plain:?}"
    );
    let tls = with("tls://a.example");
    assert!(
        tls.len() == 1 && tls[0].contains("nobody checks"),
        "{tls:?}"
    );
    assert_eq!(
        warnings("[peer]\nupstreams = \"tls://a.example\"\nca = \"f\""),
        [""; 0]
    );
}

#[test]
fn words_stand_for_what_has_no_number() {
    let set = Case {
        file: "[server]\nshards = 2\n[channel]\nhistory_age = \"1m\"",
        options: &[("shards", &["auto"]), ("history_age", &["unlimited"])],
        ..Case::default()
    };
    let settings = set.ok().config.settings;
    assert_eq!(settings.shards, None);
    assert_eq!(settings.channels.default.history_age, None);
}

const RULES: &str = r#"
[channel]
write_deadline = "3s"
[[channel_rule]]
pattern = "z.*"
slow_policy = "drop-oldest"
[[channel_rule]]
pattern = "a.?"
history_limit = 7
write_deadline = "4s"
"#;

#[test]
fn rules_keep_their_order_and_stand_on_the_resolved_default() {
    let case = Case {
        file: RULES,
        options: &[("history_limit", &["5"]), ("idle_ttl", &["1s"])],
        ..Case::default()
    };
    let patterns = case.ok().config.settings.channels.patterns;
    let names: Vec<_> = patterns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z.*", "a.?"]);
    let (z, a) = (&patterns[0].1, &patterns[1].1);
    assert_eq!((z.history_frames, a.history_frames), (5, 7));
    assert_eq!(z.slow_policy, SlowPolicy::DropOldest);
    assert_eq!(a.slow_policy, SlowPolicy::Disconnect);
    assert_eq!(z.write_deadline, Duration::from_secs(3));
    assert_eq!(a.write_deadline, Duration::from_secs(4));
    assert_eq!(a.idle_ttl, Duration::from_secs(1));
}

#[test]
fn the_key_of_the_highest_layer_wins_whatever_its_form() {
    let key_of = |case: &Case<'_>| {
        let keyring = case.ok().config.settings.keyring;
        keyring.session_key(([127, 0, 0, 1], 1).into(), "u", "c")
    };
    let key = |secret: &str| {
        let keyring = Keyring::new(Some(secret.to_owned()), None);
        keyring.session_key(([127, 0, 0, 1], 1).into(), "u", "c")
    };
    let key_file = KeyFile::new("from the key file\n");
    let path = key_file.0.to_str().unwrap();
    let text = format!("[auth]\nkey_file = '{path}'");
    assert_eq!(key_of(&file(&text)), key("from the key file"));
    let over_file = Case {
        file: &text,
        environment: &[("MLES_KEY", "from the environment")],
        ..Case::default()
    };
    assert_eq!(key_of(&over_file), key("from the environment"));
    let over_all = Case {
        options: &[("key_file", &[path])],
        ..over_file
    };
    assert_eq!(key_of(&over_all), key("from the key file"));
}

#[test]
fn what_has_no_effect_is_pointed_out() {
    let text = "[auth]\nkey = \"k\"\naddr_key = \"a\"\nallow_anonymous = true";
    let warnings = file(text).ok().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("addr_key has no effect"));
    assert!(warnings[1].starts_with("allow_anonymous has no effect"));
}

#[test]
fn what_is_printed_loads_again_and_holds_no_secret() {
    let text =
        format!("{RULES}[auth]\nkey = \"hunter2\"\naddr_key = \"hunter3\"\n[server]\npin = false");
    let case = Case {
        file: &text,
        environment: &[("MLES_LOG_LEVEL", "warn,mles::net=debug")],
        options: &[("max_frame", &["70000"])],
    };
    let resolved = case.ok();
    let printed = AsToml(&resolved).to_string();
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(
        printed.contains("# key = \"<set>\", from mles.toml:12"),
        "{printed}"
    );
    assert!(
        printed.contains("max_frame = 70000 # --max-frame"),
        "{printed}"
    );
    assert!(printed.contains("# MLES_LOG_LEVEL"), "{printed}");
    assert!(!format!("{resolved:?}").contains("hunter"));

    let again = AsToml(&file(&printed).ok()).to_string();
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.split(" # ").next().unwrap_or_default().to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(value).collect()
    };
    assert_eq!(values(&again), values(&printed));
}

/// A key file that is gone when the test is over.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(text: &str) -> Self {
        let name = format!("mles-key-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
